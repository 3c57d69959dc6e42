//! Requests and messages that no well-meaning client sends: each is refused with its reason, and the next client is served.
#![allow(clippy::unwrap_used)]

mod running;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use tungstenite::{Message, WebSocket, client, protocol::CloseFrame};

use running::{DEADLINE, Running, until};

const END: i64 = 1_700_000_000_000;

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes as they are. Returns what came until the connection was closed.
fn exchange(running: &Running, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(running);
    // The server may refuse what comes first before the rest is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "still open after {DEADLINE:?}"),
    }
    answer
}

fn status(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned()
}

#[test]
fn what_is_no_request_is_refused() {
    let running = Running::start();
    let headers: String = (0..65).map(|i| format!("x-{i}: 1\r\n")).collect();
    let head = |line: &str| {
        format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{line}\r\n\r\n")
    };
    for (name, request, expected) in [
        ("a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("another protocol", "EHLO there\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("another version", "GET / HTTP/9.9\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("NUL in the path", "GET /\0 HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("a header without a colon", head("nothing"), "HTTP/1.1 400"),
        ("NUL in a header", head("x: a\0b"), "HTTP/1.1 400"),
        ("a folded header", head("x: a\r\n b"), "HTTP/1.1 400"),
        ("a negative length", head("content-length: -1"), "HTTP/1.1 400"),
        ("two lengths", head("content-length: 1\r\ncontent-length: 2"), "HTTP/1.1 400"),
        ("a length without end", head("content-length: 99999999999999999999"), "HTTP/1.1 400"),
        ("an unknown encoding", head("transfer-encoding: bomb"), "HTTP/1.1 400"),
        ("too many headers", head(&headers), "HTTP/1.1 431"),
        ("a header without end", head(&format!("x: {}", "x".repeat(400_000))), "HTTP/1.1 431"),
        ("a request", head("x: a"), "HTTP/1.1 200"),
    ] {
        assert_eq!(status(&exchange(&running, request.as_bytes())), expected, "{name}");
    }
}

#[test]
fn bodies_are_neither_read_nor_unpacked() {
    let running = Running::start();
    // A megabyte of zeros in a kilobyte, and so on: nothing here has to unpack it.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 1 << 20]).unwrap();
    let bomb = packer.finish().unwrap();
    for (method, kind, expected) in [
        ("GET", "content-encoding: gzip\r\ncontent-type: application/json", "HTTP/1.1 200"),
        ("POST", "content-encoding: gzip\r\ncontent-type: application/json", "HTTP/1.1 405"),
        ("POST", "content-type: text/xml", "HTTP/1.1 405"),
        ("PUT", "content-type: multipart/form-data", "HTTP/1.1 405"),
        ("DELETE", "content-type: application/x-www-form-urlencoded", "HTTP/1.1 405"),
    ] {
        let head = format!(
            "{method} /api/v1/windows HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        assert_eq!(
            status(&exchange(&running, &[head.as_bytes(), &bomb].concat())),
            expected,
            "{method} {kind}"
        );
    }
}

#[test]
fn no_path_leads_out_of_the_dashboard() {
    let running = Running::start();
    for path in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/..%252f..%252fetc/passwd",
        "/app.js/../../../../etc/passwd",
        "/app.js%00.html",
        "/....//....//etc/passwd",
        "/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/dist/app.js",
        "/api/v1/../../etc/passwd",
        "/api/v1/pages/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let answer = running.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with("there is nothing at /") && detail.ends_with("/docs lists what there is"),
            "{detail}"
        );
    }
    assert_eq!(running.get("/app.js").status, 200);
}

#[test]
fn numbers_are_digits_within_their_bounds() {
    let running = Running::start();
    running.seal(END, &[("/a", 5)]);
    let rows = "expected a whole number from 1 to 1000";
    let offset = "expected a whole number from 0 to 1000000";
    let time = "expected milliseconds since the epoch, or RFC 3339 as in 2026-01-01T12:00:00Z";
    for (query, found, expected) in [
        ("limit=NaN", "limit is `NaN`", rows),
        ("limit=Infinity", "limit is `Infinity`", rows),
        ("limit=1e3", "limit is `1e3`", rows),
        ("limit=0x10", "limit is `0x10`", rows),
        ("limit=%2b5", "limit is `+5`", rows),
        ("limit=+5", "limit is ` 5`", rows),
        ("limit=5.0", "limit is `5.0`", rows),
        ("limit=-0", "limit is `-0`", rows),
        ("limit=", "limit is ``", rows),
        ("limit=%D9%A3", "limit is `\u{663}`", rows),
        ("limit=18446744073709551617", "limit is `18446744073709551617`", rows),
        ("limit=1000&offset=1000001", "offset is `1000001`", offset),
        ("offset=-1", "offset is `-1`", offset),
        ("offset=9223372036854775807", "offset is `9223372036854775807`", offset),
        ("window=NaN", "window is `NaN`", time),
        ("window=99999999999999999999", "window is `99999999999999999999`", time),
        ("window=-9223372036854775808", "window is `-9223372036854775808`", time),
        ("limit=1&limit=2", "more than one parameter `limit`", ""),
        ("limit[]=1", "unknown parameter `limit[]`", ""),
        ("limit%00=1", "unknown parameter `limit\0`", ""),
        ("sort=__proto__", "sort is `__proto__`", "expected one of"),
    ] {
        let answer = running.get(&format!("/api/v1/pages?{query}"));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{query}: {detail}");
        assert!(detail.starts_with(found) && detail.contains(expected), "{query}: {detail}");
    }
    // Leafing beyond the end costs nothing, and says how many there are.
    let beyond = running.get("/api/v1/pages?limit=1000&offset=1000000").json();
    assert_eq!((beyond["total"].as_u64(), beyond["pages"].as_array().map(Vec::len)), (Some(1), Some(0)));
}

struct Client(WebSocket<TcpStream>);

impl Client {
    fn open(running: &Running) -> Self {
        let (socket, _) = client(format!("ws://{}/api/v1/live", running.address), connect(running)).unwrap();
        Self(socket)
    }

    /// Sends a message. Returns the close frame that answers it.
    fn refused(mut self, message: Message) -> CloseFrame {
        self.0.send(message).unwrap();
        self.close_frame()
    }

    fn close_frame(&mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.0.read().unwrap() {
                return frame.unwrap();
            }
        }
    }
}

#[test]
fn messages_that_cannot_be_read_close_the_connection_with_the_reason() {
    let running = Running::start();
    let long = "\u{1f6d2}".repeat(1_000);
    let deep = "[".repeat(8_000);
    let deep_field = format!(r#"{{"type":"subscribe","topics":{deep}"#);
    for (message, reason) in [
        ("", "not understood: EOF while parsing a value"),
        ("null", "not understood: invalid type: null"),
        ("NaN", "not understood: expected value"),
        ("[]", "not understood: "),
        ("{}", "not understood: missing field `type`"),
        (&deep, "not understood: invalid type: sequence"),
        (&deep_field, "not understood: recursion limit exceeded"),
        (r#"{"type":"subscribe","topics":["site"],"after":NaN}"#, "not understood: expected value"),
        (r#"{"type":"subscribe","topics":["site"],"after":1e999}"#, "not understood: number out of range"),
        (
            r#"{"type":"subscribe","topics":["site"],"after":1.5}"#,
            "not understood: invalid type: floating point `1.5`",
        ),
        (
            r#"{"type":"subscribe","topics":["site"],"after":9223372036854775808}"#,
            "not understood: invalid value: integer",
        ),
        (
            r#"{"type":"subscribe","topics":["site"],"after":1700000000000000}"#,
            "after is 1700000000000000, expected milliseconds",
        ),
        (
            r#"{"type":"subscribe","topics":"site"}"#,
            "not understood: invalid type: string \"site\", expected a sequence",
        ),
        (
            r#"{"type":"subscribe","topics":["site"],"topics":["top"]}"#,
            "not understood: duplicate field `topics`",
        ),
        (r#"{"type":"subscribe","topics":["\ud800"]}"#, "not understood: "),
        (r#"{"type":"subscribe","topics":["site"]} {}"#, "not understood: trailing characters"),
        (&format!(r#"{{"type":"{long}"}}"#), "not understood: unknown variant `\u{1f6d2}"),
        (&format!(r#"{{"type":"subscribe","{long}":1}}"#), "not understood: unknown field `\u{1f6d2}"),
        (&format!(r#"{{"type":"subscribe","topics":["{long}"]}}"#), "there is no topic `\u{1f6d2}"),
    ] {
        let close = Client::open(&running).refused(Message::text(message));
        let shown: String = message.chars().take(60).collect();
        assert_eq!(u16::from(close.code), 1008, "{shown}");
        assert!(close.reason.contains(reason), "{shown}: {}", close.reason);
    }
    let close = Client::open(&running).refused(Message::binary(r#"{"type":"subscribe","topics":["site"]}"#));
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "messages are JSON text"));
    until("their permits are returned", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
}

#[test]
fn frames_that_break_the_protocol_end_the_connection() {
    let running = Running::start();
    let key = [0; 4];
    for (name, frame) in [
        ("compressed without agreement", [&[0xC1, 0x81][..], &key, b"x"].concat()),
        ("unmasked", b"\x81\x01x".to_vec()),
        ("a reserved kind", [&[0x83, 0x81][..], &key, b"x"].concat()),
        ("a long ping", [&[0x89, 0xFE, 0, 126][..], &key, &[0; 126]].concat()),
        ("a continuation of nothing", [&[0x80, 0x81][..], &key, b"x"].concat()),
        ("no UTF-8", [&[0x81, 0x81][..], &key, &[0xff]].concat()),
        // Half of the address space: nothing may be reserved for it.
        (
            "a length without end",
            [&[0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..], &key].concat(),
        ),
        ("a part without end", [&[0x01, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0][..], &key].concat()),
    ] {
        let mut client = Client::open(&running);
        client.0.get_mut().write_all(&frame).unwrap();
        let ended = std::iter::repeat_with(|| client.0.read()).find_map(|read| match read {
            Ok(Message::Close(close)) => Some(close.map(|close| u16::from(close.code))),
            Ok(_) => None,
            Err(error) => {
                let waits =
                    matches!(&error, tungstenite::Error::Io(error) if error.kind() == ErrorKind::WouldBlock);
                assert!(!waits, "{name}: still open after {DEADLINE:?}");
                Some(None)
            }
        });
        let length = name.ends_with("without end");
        assert!(
            ended == Some(None) && !length || ended == Some(Some(if length { 1009 } else { 1002 })),
            "{name}: {ended:?}"
        );
    }
    until("their permits are returned", || running.get("/api/v1/health").json()["held"]["clients"] == 0);
}
