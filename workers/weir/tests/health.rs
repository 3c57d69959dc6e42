//! Health and metrics of processes, as Kubernetes and Prometheus request them.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::TestPipeline;

/// A process with its health endpoint's address.
struct Watched {
    process: Child,
    address: String,
}

impl Watched {
    fn start(mut weir: Command) -> Self {
        let mut process = weir
            .args(["--health", "127.0.0.1:0", "--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            Some(line["fields"]["address"].as_str()?.to_owned())
        });
        thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.unwrap() }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let samples = text.lines().filter(|line| line.starts_with(name));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_unreachable_broker_makes_a_process_unready_but_not_unhealthy() {
    for (command, names) in
        [("process", "not at work: windows, results\n"), ("generate", "not at work: generator\n")]
    {
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.args([command, "--brokers", "127.0.0.1:1"]);
        let watched = Watched::start(weir);
        assert_eq!(watched.get("/readyz"), (503, names.to_owned()));
        assert_eq!(watched.get("/healthz"), (200, "ok\n".to_owned()));
    }
}

#[test]
fn a_process_at_work_is_ready_and_counts() {
    let test = TestPipeline::new("health", "health-events");
    let process = Watched::start(test.weir(&["process"]));
    await_that("ready before there is anything to read", || process.get("/readyz").0 == 200);
    // Paced, so that it still runs during the requests.
    let generator = Watched::start(test.weir(&["generate", "--rate", "1000"]));
    await_that("the generator is ready", || generator.get("/readyz").0 == 200);
    await_that("events were sent and counted", || {
        generator.metric("weir_events_sent_total") > 1_000.0
            && process.metric("weir_events_counted_total") > 1_000.0
    });
    await_that("commits took time", || {
        process.metric("weir_commits_total{stage=\"windows\"}") > 0.0
            && process.metric("weir_commit_seconds_total{stage=\"windows\"}") > 0.0
    });
    assert!(process.metric("weir_events_counted_total") <= process.metric("weir_records_read_total"));
    assert_eq!(process.get("/healthz"), (200, "ok\n".to_owned()));
}
