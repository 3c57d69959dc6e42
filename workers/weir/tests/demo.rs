//! `weir demo` as a newcomer runs it.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use weir_testbed::Kafka;

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

    /// The next lines that begin with a window's bounds.
    fn windows(&mut self, count: usize) -> Vec<String> {
        let lines = self.lines.by_ref().map(|line| {
            let line = line.unwrap();
            assert!(!line.contains('\x1b'), "control code in a pipe: {line:?}");
            line
        });
        lines.filter(|line| line.ends_with(" UTC")).take(count).collect()
    }

    fn interrupt(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // Its last words must not wait for a reader.
        self.lines.by_ref().for_each(drop);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Nothing to end where it ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn in_order(windows: &[String]) -> bool {
    windows.is_sorted_by(|a, b| a < b)
}

#[test]
fn the_demo_prints_window_after_window_until_it_is_interrupted() {
    let mut demo = Demo::start(&[]);
    let windows = demo.windows(5);
    assert!(windows.len() == 5 && in_order(&windows), "{windows:?}");
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
    // At this speed one lane may be several windows ahead of another: each comes once, nearly in order.
    let windows = demo.windows(12);
    assert_eq!(windows.iter().collect::<BTreeSet<_>>().len(), 12, "{windows:?}");
    demo.interrupt();
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_without_a_word() {
    let output = Command::new("sh")
        .args(["-c", "\"$0\" demo --speed 60 | head -n 3", env!("CARGO_BIN_EXE_weir")])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
