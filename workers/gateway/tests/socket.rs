//! What is pushed, over real connections.
#![allow(clippy::unwrap_used)]

mod running;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client, protocol::CloseFrame};
use weir_gateway::{ClientLimits, store::progress::ProgressView};

use running::{DEADLINE, Running, until};

const END: i64 = 1_700_000_000_000;

struct Client(WebSocket<TcpStream>);

impl Client {
    fn open(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (socket, _) = client(format!("ws://{}/api/v1/live", running.address), stream).unwrap();
        let mut client = Self(socket);
        assert_eq!(client.next()["type"], "hello");
        client
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn next(&mut self) -> Value {
        match self.0.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message that is like this.
    fn find(&mut self, like: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let message = self.next();
            if like(&message) {
                return message;
            }
        }
        panic!("no such message within {DEADLINE:?}");
    }

    /// Subscribes to sealed windows from now on, and waits until that is so.
    fn follow(&mut self) {
        self.say(&json!({"type": "subscribe", "topics": ["windows", "site"]}));
        self.find(|message| message["topic"] == "site");
    }

    /// Everything up to the close frame, and that.
    fn farewell(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.0.read().unwrap() {
                return frame.unwrap();
            }
        }
    }
}

#[test]
fn a_sealed_window_is_told_once_and_in_full() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "topics": ["windows", "site"]}));
    assert_eq!(client.find(|m| m["topic"] == "site")["value"]["now"], json!(null));
    running.seal(END, &[("/a", 5), ("/b", 2)]);
    let sealed = client.find(|message| message["type"] == "sealed");
    assert_eq!(sealed["value"]["window"]["window_end"], END);
    assert_eq!(sealed["value"]["window"]["site"]["view_count"], 7);
    assert_eq!(sealed["value"]["top"][0]["page_url"], "/a");
    running.seal(END + 10_000, &[("/a", 6)]);
    let next = client.find(|message| message["type"] == "sealed");
    assert_eq!(next["value"]["window"]["window_end"], END + 10_000);
    assert!(next["sequence"].as_u64() > sealed["sequence"].as_u64());
}

#[test]
fn who_comes_back_gets_what_he_missed() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.follow();
    running.seal(END, &[("/a", 5)]);
    client.find(|message| message["type"] == "sealed");
    drop(client);
    for window in 1..=3 {
        running.seal(END + window * 10_000, &[("/a", 5)]);
    }
    // Drawn before the client is back: only its word says that it missed them.
    let mut witness = Client::open(&running);
    witness.say(&json!({"type": "subscribe", "topics": ["windows"], "after": END}));
    for window in 1..=3 {
        let sealed = witness.find(|message| message["type"] == "sealed");
        assert_eq!(sealed["value"]["window"]["window_end"], END + window * 10_000);
    }
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "topics": ["windows"], "after": END + 10_000}));
    for window in 2..=3 {
        let sealed = client.find(|message| message["type"] == "sealed");
        assert_eq!(sealed["value"]["window"]["window_end"], END + window * 10_000);
    }
}

#[test]
fn a_page_can_be_watched_and_left() {
    let running = Running::start();
    running.seal(END, &[("/a", 5)]);
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "pages": ["/a", "/never seen"]}));
    let unseen = client.find(|message| message["page"] == "/never seen");
    assert_eq!(unseen["value"]["known"], false);
    assert_eq!(
        (&unseen["value"]["now"], &unseen["value"]["sealed"]["view_count"]),
        (&json!(null), &json!(0))
    );
    running.seal(END + 10_000, &[("/a", 6)]);
    let changed = client.find(|m| m["page"] == "/a" && m["value"]["sealed"]["window_end"] == END + 10_000);
    assert_eq!(changed["value"]["sealed"]["view_count"], 6);
    client.say(&json!({"type": "unsubscribe", "pages": ["/a", "/never seen"]}));
    client.say(&json!({"type": "subscribe", "topics": ["windows"], "after": END}));
    client.find(|message| message["type"] == "sealed");
}

#[test]
fn who_breaks_the_rules_is_disconnected_with_the_reason() {
    let running = Running::start();
    let many: Vec<String> = (0..21).map(|page| format!("/{page}")).collect();
    for (message, reason) in [
        (json!({"type": "subscribe", "topics": ["secrets"]}), "there is no topic `secrets`"),
        (json!({"type": "dance"}), "unknown variant `dance`, expected `subscribe` or `unsubscribe`"),
        (json!({"type": "subscribe", "topics": ["site"], "page": "/a"}), "unknown field `page`, expected"),
        (json!({"type": "unsubscribe", "after": 1}), "unknown field `after`, expected `topics` or `pages`"),
        (json!({"type": "subscribe"}), "the message names nothing: expected `topics`"),
        (json!({"type": "subscribe", "pages": many}), "more than 20 pages"),
        (json!({"type": "subscribe", "pages": [""]}), "page has 0 bytes"),
    ] {
        let mut client = Client::open(&running);
        client.say(&message);
        let farewell = client.farewell();
        assert_eq!(u16::from(farewell.code), 1008);
        assert!(farewell.reason.contains(reason), "{}", farewell.reason);
    }
    let mut client = Client::open(&running);
    for _ in 0..51 {
        client.say(&json!({"type": "unsubscribe", "topics": ["site"]}));
    }
    assert!(client.farewell().reason.contains("more than 50 messages"));
    until("their places are free", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
}

#[test]
fn who_says_too_much_at_once_is_told_so() {
    let running = Running::start();
    // Within what is read to the end, and beyond it.
    for bytes in [17 << 10, 200 << 10] {
        let mut client = Client::open(&running);
        // The rest of it may find the connection closed.
        let _ = client.0.send(Message::text("x".repeat(bytes)));
        let farewell = client.farewell();
        assert_eq!(u16::from(farewell.code), 1009, "{bytes} bytes");
        assert!(farewell.reason.contains("at most 16384 bytes"), "{}", farewell.reason);
    }
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "topics": ["windows"], "after": 1_700_000_000}));
    assert!(client.farewell().reason.contains("it looks like seconds"));
}

#[test]
fn who_wants_windows_alone_hears_that_the_connection_lives() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "topics": ["windows"]}));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Something changes all the time, for others.
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                running.state.set_progress(vec![ProgressView { counted: n, ..ProgressView::default() }]);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let mut stream = TcpStream::connect(running.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /api/v1/stream?topics=windows HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let heartbeat = client.0.read();
        let mut lines = BufReader::new(stream).lines();
        let comment = lines.find(|line| line.as_ref().is_ok_and(|line| line == ":") || line.is_err());
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(heartbeat.unwrap().to_text().unwrap().contains("heartbeat"));
        assert!(comment.unwrap().is_ok());
    });
}

#[test]
fn who_never_reads_is_disconnected_with_the_reason() {
    let running = Running::start_with(ClientLimits {
        write_timeout: Duration::from_millis(200),
        ..ClientLimits::default()
    });
    let mut client = Client::open(&running);
    let mut reader = Client::open(&running);
    client.follow();
    reader.follow();
    // Windows of some size, until the kernel takes no more for the one that does not read.
    let urls: Vec<String> = (0..100).map(|page| format!("/{page}/{}", "x".repeat(2_000))).collect();
    let pages: Vec<(&str, i64)> = urls.iter().map(|url| (url.as_str(), 1)).collect();
    let mut end = END;
    until("it is let go", || {
        end += 10_000;
        running.seal(end, &pages);
        let told = reader.find(|m| m["value"]["window"]["window_end"] == end || m["type"] == "heartbeat");
        assert_ne!(told["type"], "heartbeat", "who reads is told meanwhile");
        running.get("/api/v1/health").json()["held"]["evicted"] == 1
    });
    let farewell = client.farewell();
    assert_eq!(u16::from(farewell.code), 1013);
    assert!(farewell.reason.contains("too slow"), "{}", farewell.reason);
}

#[test]
fn there_are_only_so_many_places() {
    let running = Running::start_with(ClientLimits { max_clients: 1, ..ClientLimits::default() });
    let first = Client::open(&running);
    let answer = running.get("/api/v1/stream");
    assert_eq!((answer.status, answer.json()["title"].clone()), (503, json!("Service Unavailable")));
    drop(first);
    until("the place is free", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
    Client::open(&running);
}

#[test]
fn other_sites_may_not_connect() {
    let running = Running::start();
    let upgrade = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(running.ask("GET", "/api/v1/live", &upgrade).status, 403);
}

#[test]
fn clients_hear_that_the_gateway_goes_away() {
    let mut running = Running::start();
    let mut client = Client::open(&running);
    client.say(&json!({"type": "subscribe", "topics": ["site"]}));
    client.find(|message| message["topic"] == "site");
    let listening = std::thread::spawn(move || client.farewell());
    running.stop();
    assert_eq!(u16::from(listening.join().unwrap().code), 1001);
}

#[test]
fn curl_gets_the_same() {
    let running = Running::start();
    let mut witness = Client::open(&running);
    witness.follow();
    running.seal(END, &[("/a", 5)]);
    running.seal(END + 10_000, &[("/a", 6)]);
    // Drawn before curl is there: only its header says that it missed the second.
    witness.find(|message| message["value"]["window"]["window_end"] == END + 10_000);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let query = "topics=windows&page=/a";
    write!(stream, "GET /api/v1/stream?{query} HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {END}\r\n\r\n")
        .unwrap();
    // Comments say that the connection lives: reading alone would never end.
    let begun = Instant::now();
    let lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    let mut lines = lines.take_while(|_| begun.elapsed() < DEADLINE);
    assert!(lines.next().unwrap().contains("200"));
    assert!(lines.any(|line| line == "content-type: text/event-stream"));
    for end in [END + 10_000, END + 20_000] {
        assert!(lines.any(|line| line == "event: sealed"));
        let data = lines.next().unwrap();
        let sealed: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(sealed["window"]["window_end"], end);
        assert_eq!(lines.next().unwrap(), format!("id: {end}"));
        running.seal(end + 10_000, &[("/a", 7)]);
    }
}
