//! REST over a real connection.
#![allow(clippy::unwrap_used)]

mod running;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;
use weir_gateway::Limits;

use running::Running;

const END: i64 = 1_700_000_000_000;
const MARKUP: &str = "/<script>alert(1)</script>\"'&";
const FORMULA: &str = "/a,=HYPERLINK(\"http://evil.example\")";

fn filled() -> Running {
    let running = Running::start(Limits::default());
    running.seal(END, &[("/a", 5), ("/b", 7)]);
    running.seal(END + 10_000, &[("/a", 6), ("/B/shoe", 9), (MARKUP, 2), (FORMULA, 1)]);
    running
}

#[test]
fn nothing_sealed_is_said_so() {
    let running = Running::start(Limits::default());
    for path in ["pages", "top", "trending", "site"] {
        let answer = running.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("No such window")), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(running.get("/api/v1/windows").json(), json!({"windows": []}));
    assert_eq!(running.get("/api/v1/now").json()["site"], json!(null), "no values, not values of zero");
    assert_eq!(running.get("/api/v1/health").json()["watermark"], json!(null));
    assert_eq!(running.get("/readyz").status, 200);
}

#[test]
fn pages_are_searched_ordered_and_leafed_through() {
    let running = filled();
    let urls = |query: &str| -> Vec<String> {
        let answer = running.get(&format!("/api/v1/pages?{query}")).json();
        answer["pages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["page_url"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(urls(""), ["/B/shoe", "/a", MARKUP, FORMULA]);
    assert_eq!(urls("q=SHOE"), ["/B/shoe"]);
    assert_eq!(urls("sort=page_url"), [MARKUP, "/B/shoe", "/a", FORMULA]);
    assert_eq!(urls("sort=engagement_rate&order=asc&limit=1&offset=1"), ["/a"]);
    assert_eq!(urls(&format!("window={END}")), ["/b", "/a"]);
    assert_eq!(urls("window=2023-11-14T22:13:20Z"), ["/b", "/a"]);
    assert_eq!(running.get("/api/v1/pages?offset=1000000").json()["total"], 4);
}

#[test]
fn a_series_tells_zero_from_nothing() {
    let running = filled();
    let series = running.get("/api/v1/series?page=/b").json();
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!((&points[0]["view_count"], &points[0]["bounce_rate"]), (&json!(7), &json!(0.25)));
    assert_eq!((&points[1]["view_count"], &points[1]["bounce_rate"]), (&json!(0), &json!(null)));
    assert_eq!(running.get("/api/v1/series?page=/unknown").status, 404);
}

#[test]
fn what_is_wrong_is_said_as_a_problem() {
    let running = filled();
    for (path, status) in [
        ("/api/v1/pages?limit=0", 400),
        ("/api/v1/pages?limit=1001", 400),
        ("/api/v1/pages?limit=x", 400),
        ("/api/v1/pages?offset=1000001", 400),
        ("/api/v1/windows?limit=1001", 400),
        ("/api/v1/now?limit=1001", 400),
        ("/api/v1/series?page=/a&limit=10001", 400),
        ("/api/v1/events?limit=201", 400),
        ("/api/v1/events?after=-1", 400),
        ("/api/v1/pages?unknown=1", 400),
        ("/api/v1/pages?window=yesterday", 400),
        ("/api/v1/pages?window=1", 404),
        ("/api/v1/series", 400),
        ("/api/v1/series?page=", 400),
        ("/api/v1/pipelines?x", 400),
        ("/api/v1/stream?topics=secrets", 400),
        ("/api/v1/live", 400),
        ("/nowhere", 404),
    ] {
        let answer = running.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(answer.json()["status"], status, "{path}");
    }
    let long = |bytes| "x".repeat(bytes);
    for (path, most, fits) in [("series?page", 2_048, 404), ("pages?q", 256, 200)] {
        assert_eq!(running.get(&format!("/api/v1/{path}={}", long(most))).status, fits, "{path}");
        assert_eq!(running.get(&format!("/api/v1/{path}={}", long(most + 1))).status, 400, "{path}");
    }
    assert_eq!(running.ask("POST", "/api/v1/pages", &[]).status, 405);
}

#[test]
fn an_endless_head_is_refused() {
    let running = filled();
    let mut stream = TcpStream::connect(running.address).unwrap();
    // It may be refused before all of it is written, and the connection be reset once that was said.
    let _ = stream.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(400_000)).as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[test]
fn a_copy_that_is_good_is_not_sent_again() {
    let running = filled();
    let first = running.get("/api/v1/top");
    let tag = first.header("etag").unwrap().to_owned();
    let again = |tag: &str| running.ask("GET", "/api/v1/top", &[("if-none-match", tag)]);
    assert_eq!((again(&tag).status, again(&tag).body), (304, String::new()));
    assert_eq!(again(&format!("\"other\", W/{tag}")).status, 304);
    assert_eq!(again("*").status, 304);
    assert_eq!(again("\"other\"").status, 200);
    running.seal(END + 20_000, &[("/a", 1)]);
    assert_eq!(again(&tag).status, 200);
    assert_eq!(running.ask("HEAD", "/api/v1/top", &[]).body, "");
}

#[test]
fn tables_hold_no_formula() {
    let running = filled();
    let by_name = running.get("/api/v1/pages?format=csv&sort=view_count&order=asc");
    assert_eq!(by_name.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<_> = by_name.body.lines().collect();
    assert!(lines[0].starts_with("page_url,view_count,unique_users"));
    assert_eq!(lines[1], "\"/a,=HYPERLINK(\"\"http://evil.example\"\")\",1,3,1,0,1,0.25,12.5");
    let by_accept = running.ask("GET", "/api/v1/top", &[("accept", "text/csv")]);
    assert!(
        by_accept.body.starts_with("rank,page_url,view_count,unique_users,previous_rank\r\n1,/a,6,3,\r\n")
    );
    let either = running.ask("GET", "/api/v1/top", &[("accept", "application/json, text/csv")]);
    assert_eq!(either.header("content-type"), Some("application/json"), "what is named first");
}

#[test]
fn text_from_events_is_never_markup() {
    let running = filled();
    for path in ["/api/v1/pages", "/api/v1/pages?format=csv", "/api/v1/top", "/nowhere%3Cscript%3E", "/"] {
        let answer = running.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
        assert!(!(html && answer.body.contains("alert(1)")), "{path}");
    }
}

#[test]
fn pages_of_other_sites_may_not_ask() {
    let running = filled();
    let from = |origin| running.ask("GET", "/api/v1/top", &[("origin", origin)]).status;
    assert_eq!(from("https://evil.example"), 403);
    assert_eq!(from("https://board.example"), 200);
    assert_eq!(from(&format!("http://{}", running.address)), 200);
    assert_eq!(running.ask("GET", "/api/v1/top", &[("host", "evil.example")]).status, 403);
}

#[test]
fn a_record_of_another_version_is_counted_and_left_out() {
    let running = filled();
    let mut batch = weir_gateway::Batch::default();
    batch.record(weir_spec::Role::Results, b"something else");
    running.gateway.apply(batch);
    assert_eq!(running.get("/api/v1/health").json()["held"]["unreadable"], 1);
    assert_eq!(running.get("/api/v1/pages").json()["total"], 4);
}
