//! The gateway as a browser or a script sees it, over the demo.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

/// A demo with its dashboard on a port of its own.
struct Demo {
    process: Child,
    address: String,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["demo", "--speed", "60", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address =
            lines.find_map(|line| Some(line.split_once("http://")?.1.trim_end_matches('/').to_owned()));
        // A pipe that nobody empties would hold the demo up.
        thread::spawn(move || lines.for_each(drop));
        let demo = Self { process, address: address.unwrap() };
        while demo.get("/api/v1/top", &[]).status == 503 {
            thread::sleep(Duration::from_millis(50));
        }
        demo
    }

    fn open(&self, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        socket.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        socket
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = [headers, &[("connection", "close")]].concat();
        let mut text = String::new();
        self.open(path, &headers).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path, &[]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Nothing to end where it ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn numbers_agree_wherever_they_are_asked_for() {
    let demo = Demo::start();
    assert_eq!((demo.get("/healthz", &[]).status, demo.get("/readyz", &[]).status), (200, 200));
    let top = demo.json("/api/v1/top");
    let window = top["window_end"].as_i64().unwrap();
    let first = &top["pages"][0]["page"];
    let url = first["page_url"].as_str().unwrap();
    let pages = demo.json(&format!("/api/v1/pages?window={window}&limit=10000"));
    let listed = pages["pages"].as_array().unwrap();
    assert_eq!(&listed[0], first, "most viewed first");
    assert_eq!(pages["total"], listed.len());
    let series = demo.json(&format!("/api/v1/page?url={url}&from={window}&to={window}"));
    assert_eq!(&series["windows"][0], first);
    let site = demo.json(&format!("/api/v1/site?from={window}&to={window}"));
    let sum = |field: &str| listed.iter().map(|page| page[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!(site["windows"][0]["site"]["view_count"], sum("view_count"));
    assert_eq!(site["windows"][0]["site"]["click_count"], sum("click_count"));
    let csv = demo.get(&format!("/api/v1/pages?window={window}&limit=1&format=csv"), &[]);
    let line = csv.body.lines().nth(1).unwrap();
    assert!(
        line.starts_with(&format!("\"{url}\",")) && line.contains(&format!(",{},", first["view_count"])),
        "{line}"
    );
    let open = demo.json("/api/v1/open");
    assert!(open["provisional"].as_bool().unwrap() && open["end"].as_i64().unwrap() > window);
}

#[test]
fn an_answer_that_did_not_change_is_not_sent_again() {
    let demo = Demo::start();
    let answer = demo.get("/api/v1/site", &[]);
    let tag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    // Another window may have been sealed meanwhile: then the tag is another one.
    let again = demo.get("/api/v1/site", &[("if-none-match", &tag)]);
    assert!(again.status == 304 && again.body.is_empty() || !again.head.contains(&tag), "{}", again.head);
    assert_eq!(demo.get("/api/v1/site", &[("if-none-match", "\"another\"")]).status, 200);
}

#[test]
fn what_makes_no_sense_is_told_as_a_problem() {
    let demo = Demo::start();
    for (path, status, why) in [
        ("/api/v1/pages?sort=colour", 400, "a field of a page"),
        ("/api/v1/pages?limit=-1", 400, "a number of 0 to"),
        ("/api/v1/pages?format=xml", 400, "json or csv"),
        ("/api/v1/pages?colour=red", 400, "unknown field `colour`"),
        ("/api/v1/site?from=2&to=1", 400, "at most to"),
        ("/api/v1/top?window=yesterday", 400, "milliseconds"),
        ("/api/v1/top?window=10000", 404, "no sealed window ends at 10000"),
        ("/api/v1/page", 400, "a page_url"),
        ("/api/v1/page?url=/nowhere", 404, "/nowhere"),
        ("/api/v1/nothing", 404, "docs/api.md"),
    ] {
        let answer = demo.get(path, &[]);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{path}: {}", answer.head);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(why), "{path}: {problem}");
    }
}

#[test]
fn live_messages_come_in_order_to_those_who_may_have_them() {
    let demo = Demo::start();
    let messages = |mut lines: std::io::Lines<BufReader<TcpStream>>, count: usize| {
        let data = std::iter::from_fn(|| lines.next()).map(Result::unwrap);
        let data = data.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
        data.take(count).collect::<Vec<Value>>()
    };
    let told = messages(BufReader::new(demo.open("/api/v1/events", &[])).lines(), 8);
    let numbers: Vec<i64> = told.iter().map(|message| message["sequence"].as_i64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    let kinds: Vec<bool> = told.iter().map(|message| message["provisional"].as_bool().unwrap()).collect();
    assert!(kinds.contains(&true) && kinds.contains(&false), "{kinds:?}");

    let told = messages(BufReader::new(demo.open("/api/v1/events?search=CART", &[])).lines(), 8);
    let mut pages = told.iter().filter_map(|message| message["pages"].as_array()).flatten().peekable();
    assert!(pages.peek().is_some());
    assert!(pages.all(|page| page["url"].as_str().unwrap().contains("cart")));

    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let first_line = |headers: &[(&str, &str)]| {
        let mut line = String::new();
        BufReader::new(demo.open("/api/v1/live", headers)).read_line(&mut line).unwrap();
        line
    };
    assert!(first_line(&upgrade).contains("101"));
    let elsewhere = [&upgrade[..], &[("origin", "http://elsewhere.example")]].concat();
    assert!(first_line(&elsewhere).contains("403"));
}

#[test]
fn the_dashboard_is_there_and_brings_nothing_from_elsewhere() {
    let demo = Demo::start();
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
        let answer = demo.get(path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{}", answer.head);
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
        let elsewhere = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}");
    }
}
