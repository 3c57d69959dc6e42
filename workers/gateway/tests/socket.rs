//! Pushed values over real connections.
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

    fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn next(&mut self) -> Value {
        match self.0.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message that matches.
    fn find(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let message = self.next();
            if matches(&message) {
                return message;
            }
        }
        panic!("no such message within {DEADLINE:?}");
    }

    /// Subscribes to sealed windows from now on, and waits until the subscription is active.
    fn follow(&mut self) {
        self.send(&json!({"type": "subscribe", "topics": ["windows", "site"]}));
        self.find(|message| message["topic"] == "site");
    }

    /// Reads up to the close frame; returns that.
    fn close_frame(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.0.read().unwrap() {
                return frame.unwrap();
            }
        }
    }
}

#[test]
fn a_sealed_window_is_pushed_once_and_whole() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "topics": ["windows", "site"]}));
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
fn a_client_that_reconnects_gets_the_missed_windows() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.follow();
    running.seal(END, &[("/a", 5)]);
    client.find(|message| message["type"] == "sealed");
    drop(client);
    for window in 1..=3 {
        running.seal(END + window * 10_000, &[("/a", 5)]);
    }
    // Rendered before the client is back: only its `after` shows that it missed them.
    let mut observer = Client::open(&running);
    observer.send(&json!({"type": "subscribe", "topics": ["windows"], "after": END}));
    for window in 1..=3 {
        let sealed = observer.find(|message| message["type"] == "sealed");
        assert_eq!(sealed["value"]["window"]["window_end"], END + window * 10_000);
    }
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "topics": ["windows"], "after": END + 10_000}));
    for window in 2..=3 {
        let sealed = client.find(|message| message["type"] == "sealed");
        assert_eq!(sealed["value"]["window"]["window_end"], END + window * 10_000);
    }
}

#[test]
fn clients_can_subscribe_to_pages_and_unsubscribe() {
    let running = Running::start();
    running.seal(END, &[("/a", 5)]);
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "pages": ["/a", "/never seen"]}));
    let unseen = client.find(|message| message["page"] == "/never seen");
    assert_eq!(unseen["value"]["known"], false);
    assert_eq!(
        (&unseen["value"]["now"], &unseen["value"]["sealed"]["view_count"]),
        (&json!(null), &json!(0))
    );
    running.seal(END + 10_000, &[("/a", 6)]);
    let changed = client.find(|m| m["page"] == "/a" && m["value"]["sealed"]["window_end"] == END + 10_000);
    assert_eq!(changed["value"]["sealed"]["view_count"], 6);
    client.send(&json!({"type": "unsubscribe", "pages": ["/a", "/never seen"]}));
    client.send(&json!({"type": "subscribe", "topics": ["windows"], "after": END}));
    client.find(|message| message["type"] == "sealed");
}

#[test]
fn a_client_that_breaks_the_protocol_is_disconnected_with_the_reason() {
    let running = Running::start();
    let many: Vec<String> = (0..21).map(|page| format!("/{page}")).collect();
    for (message, reason) in [
        (json!({"type": "subscribe", "topics": ["secrets"]}), "there is no topic `secrets`"),
        (json!({"type": "dance"}), "unknown variant `dance`, expected `subscribe` or `unsubscribe`"),
        (json!({"type": "subscribe", "topics": ["site"], "page": "/a"}), "unknown field `page`, expected"),
        (json!({"type": "unsubscribe", "after": 1}), "unknown field `after`, expected `topics` or `pages`"),
        (json!({"type": "subscribe"}), "the message names nothing: expected `topics`"),
        (json!({"type": "subscribe", "pages": many}), "more than 20 pages"),
        (json!({"type": "subscribe", "pages": [""]}), "page has 0 characters"),
    ] {
        let mut client = Client::open(&running);
        client.send(&message);
        let close = client.close_frame();
        assert_eq!(u16::from(close.code), 1008);
        assert!(close.reason.contains(reason), "{}", close.reason);
    }
    let mut client = Client::open(&running);
    for _ in 0..51 {
        client.send(&json!({"type": "unsubscribe", "topics": ["site"]}));
    }
    assert!(client.close_frame().reason.contains("more than 50 messages"));
    until("their permits are returned", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
}

#[test]
fn an_oversized_message_closes_the_connection_with_the_reason() {
    let running = Running::start();
    // Below and above the maximum that the server reads.
    for bytes in [17 << 10, 200 << 10] {
        let mut client = Client::open(&running);
        // The server may close the connection before all of it is sent.
        let _ = client.0.send(Message::text("x".repeat(bytes)));
        let close = client.close_frame();
        assert_eq!(u16::from(close.code), 1009, "{bytes} bytes");
        assert!(close.reason.contains("at most 16384 bytes"), "{}", close.reason);
    }
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "topics": ["windows"], "after": 1_700_000_000}));
    assert!(client.close_frame().reason.contains("it looks like seconds"));
}

#[test]
fn a_client_of_windows_alone_receives_heartbeats() {
    let running = Running::start();
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "topics": ["windows"]}));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Values of other topics change all the time.
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
fn a_client_that_never_reads_is_disconnected_with_the_reason() {
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
    until("it is disconnected", || {
        end += 10_000;
        running.seal(end, &pages);
        let message = reader.find(|m| m["value"]["window"]["window_end"] == end || m["type"] == "heartbeat");
        assert_ne!(message["type"], "heartbeat", "the client that reads gets every window");
        running.get("/api/v1/health").json()["held"]["evicted"] == 1
    });
    let close = client.close_frame();
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.contains("too slow"), "{}", close.reason);
}

#[test]
fn the_number_of_clients_is_bounded() {
    let running = Running::start_with(ClientLimits { max_clients: 1, ..ClientLimits::default() });
    let first = Client::open(&running);
    let answer = running.get("/api/v1/stream");
    assert_eq!((answer.status, answer.json()["title"].clone()), (503, json!("Service Unavailable")));
    drop(first);
    until("the permit is returned", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
    Client::open(&running);
}

#[test]
fn connections_from_other_origins_are_refused() {
    let running = Running::start();
    let upgrade = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(running.request("GET", "/api/v1/live", &upgrade).status, 403);
}

#[test]
fn clients_receive_a_close_frame_at_shutdown() {
    let mut running = Running::start();
    let mut client = Client::open(&running);
    client.send(&json!({"type": "subscribe", "topics": ["site"]}));
    client.find(|message| message["topic"] == "site");
    let listening = std::thread::spawn(move || client.close_frame());
    running.stop();
    assert_eq!(u16::from(listening.join().unwrap().code), 1001);
}

#[test]
fn server_sent_events_have_the_same_values() {
    let running = Running::start();
    let mut observer = Client::open(&running);
    observer.follow();
    running.seal(END, &[("/a", 5)]);
    running.seal(END + 10_000, &[("/a", 6)]);
    // Rendered before this client connects: only its header shows that it missed the second.
    observer.find(|message| message["value"]["window"]["window_end"] == END + 10_000);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let query = "topics=windows&page=/a";
    write!(stream, "GET /api/v1/stream?{query} HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {END}\r\n\r\n")
        .unwrap();
    // Heartbeat comments arrive for ever, so the reads need a deadline.
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
