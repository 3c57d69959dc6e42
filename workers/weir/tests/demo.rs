//! `weir demo` as a newcomer runs it.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

use weir_broker::Kafka;

/// A demo that ends with the test.
struct Demo {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["demo", "--speed", "60"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next lines that begin with a window's bounds. At such a speed one lane may be several windows ahead of another, so
    /// each is printed once, but not quite in order.
    fn windows(&mut self, count: usize) -> Vec<String> {
        let lines = self.lines.by_ref().map(|line| {
            let line = line.unwrap();
            assert!(!line.contains('\x1b'), "control code in a pipe: {line:?}");
            line
        });
        lines.filter(|line| line.ends_with(" UTC")).take(count).collect()
    }

    /// The responses of its dashboard's API, once it has printed the address.
    fn get(&mut self, paths: &[&str]) -> Vec<serde_json::Value> {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        let address = lines.find_map(|line| {
            Some(line.split_once("the dashboard is at http://")?.1.trim_end_matches('/').to_owned())
        });
        let address = address.unwrap();
        let get = |path: &&str| {
            let mut socket = TcpStream::connect(&address).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
            let answer = std::io::read_to_string(socket).unwrap();
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        };
        paths.iter().map(get).collect()
    }

    fn interrupt(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // The last lines must be read, or their write would block.
        self.lines.by_ref().for_each(drop);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn distinct(windows: &[String]) -> usize {
    windows.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn the_demo_prints_window_after_window_until_it_is_interrupted() {
    let mut demo = Demo::start(&[]);
    let windows = demo.windows(12);
    assert_eq!(distinct(&windows), 12, "{windows:?}");
    demo.interrupt();
}

#[test]
fn the_demo_has_two_hours_of_history_when_it_opens() {
    let mut demo = Demo::start(&[]);
    let answers = demo.get(&["/api/v1/windows?limit=1000", "/api/v1/trending", "/api/v1/health"]);
    let [windows, trending, health] = answers.try_into().unwrap();
    // Two hours with a window every 10 s, less those of the first events.
    let complete =
        windows["windows"].as_array().unwrap().iter().filter(|window| window["complete"] == true).count();
    assert!(complete >= 710, "{complete}");
    assert_eq!(trending["warming_up"], false);
    assert_eq!(health["simulated"], 60.0);
    assert_eq!((&health["late"], &health["dead_letters"]), (&0.into(), &0.into()));
    demo.interrupt();
}

#[test]
fn the_demo_runs_on_kafka_too() {
    let name = format!("demo-{}", std::process::id());
    let manifest = format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    \
         events: {{name: {name}-events}}\n    results: {{name: {name}-results}}\n    topPages: {{name: {name}-top}}\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let mut demo = Demo::start(&["--brokers", Kafka::shared(), "--pipeline", &file.path().to_string_lossy()]);
    let windows = demo.windows(12);
    assert_eq!(distinct(&windows), 12, "{windows:?}");
    demo.interrupt();
}

#[test]
fn a_closed_pipe_ends_the_demo_without_an_error() {
    let output = Command::new("sh")
        .args(["-c", "\"$0\" demo --speed 60 | head -n 3", env!("CARGO_BIN_EXE_weir")])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
