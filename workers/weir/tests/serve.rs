//! The responses of `weir serve` over a real broker equal the oracle's results, also after a restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::TestPipeline;
use weir_audit::{Audit, Results};
use weir_events::Reason;
use weir_oracle::{Page, Ranked, Site, Trend, Window};

const EVENTS: usize = 30_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `weir serve`; killed when dropped.
struct Serve {
    process: Child,
    address: String,
}

impl Serve {
    fn start(test: &TestPipeline) -> Self {
        let mut process =
            test.weir(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_end_matches('/').rsplit("http://").next().unwrap().to_owned();
        let serve = Self { process, address };
        let begun = Instant::now();
        while serve.request("/readyz").0 != 200 {
            assert!(begun.elapsed() < DEADLINE, "not ready: {}", serve.request("/readyz").1);
            std::thread::sleep(Duration::from_millis(20));
        }
        serve
    }

    fn request(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Every window as in the API. The sums behind the ratios, which it does not have, are taken from `expected`.
    fn windows(&self, expected: &[Window]) -> Vec<Window> {
        let all = self.get("/api/v1/windows?limit=1000");
        let window = |totals: &Value| {
            assert_eq!(totals["complete"], true);
            let end = int(&totals["window_end"]);
            let pages = self.get(&format!("/api/v1/pages?window={end}&sort=page_url&limit=1000"));
            let top = self.get(&format!("/api/v1/top?window={end}"));
            let trending = self.get(&format!("/api/v1/trending?window={end}"));
            let site = &totals["site"];
            Window {
                start: int(&totals["window_start"]),
                end,
                pages: list(&pages["pages"], |page| Page {
                    page: text(&page["page_url"]),
                    view_count: int(&page["view_count"]),
                    unique_users: int(&page["unique_users"]) as i32,
                    click_count: int(&page["click_count"]),
                    conversion_count: int(&page["conversion_count"]),
                    engagement_rate: float(&page["engagement_rate"]),
                    bounce_rate: float(&page["bounce_rate"]),
                    avg_session_duration: float(&page["avg_session_duration"]),
                    visits: 0,
                    bounces: 0,
                    duration_sum_ms: 0,
                }),
                top: list(&top["pages"], |entry| Ranked {
                    rank: int(&entry["rank"]) as i32,
                    page: text(&entry["page_url"]),
                    view_count: int(&entry["view_count"]),
                    unique_users: int(&entry["unique_users"]) as i32,
                    previous_rank: entry["previous_rank"].as_i64().map(|rank| rank as i32),
                }),
                warming_up: trending["warming_up"].as_bool().unwrap(),
                trending: list(&trending["pages"], |trend| Trend {
                    page: text(&trend["page_url"]),
                    view_count: int(&trend["view_count"]),
                    expected: float(&trend["expected"]),
                    score: float(&trend["score"]),
                    unique_users: int(&trend["unique_users"]) as i32,
                }),
                site: Site {
                    views: int(&site["view_count"]),
                    clicks: int(&site["click_count"]),
                    conversions: int(&site["conversion_count"]),
                    unique_users: int(&site["unique_users"]) as i32,
                    visits: int(&site["visits"]),
                    bounces: int(&site["bounces"]),
                },
            }
        };
        let mut results = Results::default();
        results.windows.extend(list(&all["windows"], window).into_iter().map(|window| (window.end, window)));
        results.with_sums(expected, |_| true)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(of).collect()
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn responses_equal_the_oracle_before_and_after_a_restart() {
    let test = TestPipeline::new("serve", "serve-events");
    test.generate(EVENTS);
    test.run(&["process", "--until-end"]);
    let audit = Audit::connect(&test.pipeline, test.brokers).unwrap();
    let (events, outcome) = audit.expected(true).unwrap();
    let expected = &outcome.windows;
    assert!(expected.len() > 30, "{} windows", expected.len());

    let first = Serve::start(&test);
    weir_oracle::compare(expected, &first.windows(expected)).unwrap();
    let begun = Instant::now();
    let health = loop {
        let health = first.get("/api/v1/health");
        if !health["partitions"].as_array().unwrap().is_empty() {
            break health;
        }
        assert!(begun.elapsed() < DEADLINE, "no partition is reported");
        std::thread::sleep(Duration::from_millis(20));
    };
    let late: usize = outcome.late.iter().map(Vec::len).sum();
    assert_eq!((int(&health["late"]), int(&health["lag"])), (late as i64, 0), "{health}");
    assert!(int(&health["dead_letters"]) > 0, "{health}");
    let kept = (events.invalid + late).min(200);
    let begun = Instant::now();
    let letters = loop {
        let letters = first.get("/api/v1/dead-letters?limit=200")["dead_letters"].clone();
        if letters.as_array().unwrap().len() == kept {
            break letters;
        }
        assert!(begun.elapsed() < DEADLINE, "{kept} dead letters are expected: {letters}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let position = |letter: &Value| (int(&letter["partition"]), int(&letter["offset"]));
    let positions: BTreeSet<_> = list(&letters, position).into_iter().collect();
    assert_eq!(positions.len(), kept, "one per record: {letters}");
    let codes = Reason::ALL.map(Reason::as_str);
    for letter in letters.as_array().unwrap() {
        assert!(codes.contains(&letter["reason"].as_str().unwrap()), "{letter}");
        assert!(!letter["detail"].as_str().unwrap().is_empty(), "{letter}");
        assert_eq!(letter["topic"], test.pipeline.events_topic());
    }
    drop(first);

    let second = Serve::start(&test);
    weir_oracle::compare(expected, &second.windows(expected)).unwrap();
}
