//! What `weir serve` answers over a real broker is what the oracle computes, and stays so over a restart.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_audit::{Audit, Results};
use weir_oracle::{Page, Ranked, Site, Trend, Window};
use weir_spec::Pipeline;
use weir_testbed::Kafka;

const EVENTS: usize = 30_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// A pipeline under test: its manifest in a file.
struct Trial {
    brokers: &'static str,
    file: tempfile::NamedTempFile,
    pipeline: Pipeline,
}

impl Trial {
    fn new() -> Self {
        let name = format!("serve-{}", std::process::id());
        let manifest = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    events: {{name: {name}-e}}\n    \
             results: {{name: {name}-r}}\n    topPages: {{name: {name}-t}}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &manifest).unwrap();
        Self { brokers: Kafka::shared(), file, pipeline: Pipeline::from_yaml(&manifest).unwrap() }
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--pipeline").arg(self.file.path()).args(["--brokers", self.brokers]);
        command.stdout(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let status = self.weir(arguments).status().unwrap();
        assert!(status.success(), "weir {arguments:?}: {status}");
    }
}

/// A running `weir serve`; killed when dropped.
struct Serve {
    process: Child,
    address: String,
}

impl Serve {
    fn start(trial: &Trial) -> Self {
        let mut process =
            trial.weir(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_end_matches('/').rsplit("http://").next().unwrap().to_owned();
        let serve = Self { process, address };
        let begun = Instant::now();
        while serve.ask("/readyz").0 != 200 {
            assert!(begun.elapsed() < DEADLINE, "not ready: {}", serve.ask("/readyz").1);
            std::thread::sleep(Duration::from_millis(20));
        }
        serve
    }

    fn ask(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Every window as the API has it. What it does not tell, the sums behind the ratios, is taken from `expected`.
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
                top: list(&top["pages"], |place| Ranked {
                    rank: int(&place["rank"]) as i32,
                    page: text(&place["page_url"]),
                    view_count: int(&place["view_count"]),
                    unique_users: int(&place["unique_users"]) as i32,
                    previous_rank: place["previous_rank"].as_i64().map(|rank| rank as i32),
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
        results.with_sums(expected)
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
fn answers_are_the_oracles_before_and_after_a_restart() {
    let trial = Trial::new();
    trial.run(&["topics", "apply"]);
    let events = EVENTS.to_string();
    let faults = ["--late", "0.01", "--duplicates", "0.01", "--malformed", "0.005"];
    let generate = ["generate", "--events", &events, "--rate", "0", "--start", "2026-01-01T00:00:00Z"];
    trial.run(&[&generate[..], &faults[..]].concat());
    trial.run(&["process", "--until-end"]);
    let audit = Audit::connect(&trial.pipeline, trial.brokers).unwrap();
    let (_, outcome) = audit.expected(true).unwrap();
    let expected = &outcome.windows;
    assert!(expected.len() > 30, "{} windows", expected.len());

    let first = Serve::start(&trial);
    weir_oracle::compare(expected, &first.windows(expected)).unwrap();
    let begun = Instant::now();
    let health = loop {
        let health = first.get("/api/v1/health");
        if !health["partitions"].as_array().unwrap().is_empty() {
            break health;
        }
        assert!(begun.elapsed() < DEADLINE, "nothing is said of the partitions");
        std::thread::sleep(Duration::from_millis(20));
    };
    let late: usize = outcome.late.iter().map(Vec::len).sum();
    assert_eq!((int(&health["late"]), int(&health["lag"])), (late as i64, 0), "{health}");
    assert!(int(&health["dead_letters"]) > 0, "{health}");
    drop(first);

    let second = Serve::start(&trial);
    weir_oracle::compare(expected, &second.windows(expected)).unwrap();
}
