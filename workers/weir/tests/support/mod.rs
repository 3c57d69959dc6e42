//! A pipeline under test, and the program that runs it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::process::{Child, Command, Stdio};

use weir_broker::Kafka;
use weir_manifest::Pipeline;

/// Options for late, duplicate and malformed events.
pub const FAULTS: [&str; 6] = ["--late", "0.01", "--duplicates", "0.01", "--malformed", "0.005"];

/// A pipeline with its topics, its manifest in a file.
pub struct TestPipeline {
    pub brokers: &'static str,
    pub pipeline: Pipeline,
    file: tempfile::NamedTempFile,
}

impl TestPipeline {
    /// A pipeline on an events topic that it may share. Both names get this process's id, so that they are unique.
    pub fn new(name: &str, events: &str) -> Self {
        Self::on(Kafka::shared(), name, events)
    }

    /// The same on a cluster of its own.
    pub fn on(brokers: &'static str, name: &str, events: &str) -> Self {
        Self::with(brokers, name, events, "", 1)
    }

    /// The same with more of a spec (lines, indented by two), and topics of so many replicas.
    pub fn with(brokers: &'static str, name: &str, events: &str, spec: &str, replicas: i32) -> Self {
        let (name, events) =
            (format!("{name}-{}", std::process::id()), format!("{events}-{}", std::process::id()));
        let manifest = manifest(&name, &events, spec, replicas);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &manifest).unwrap();
        let test = Self { brokers, file, pipeline: Pipeline::from_yaml(&manifest).unwrap() };
        test.run(&["topics", "apply"]);
        test
    }

    /// Changes the spec in the file; `weir topics apply` is not run.
    pub fn respecify(&mut self, spec: &str) {
        let (name, events) = (&self.pipeline.metadata.name, &self.pipeline.spec.topics.events);
        let manifest = manifest(name, &events.name, spec, events.replicas);
        std::fs::write(self.file.path(), &manifest).unwrap();
        self.pipeline = Pipeline::from_yaml(&manifest).unwrap();
    }

    /// The program for this pipeline; its output is dropped.
    pub fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--pipeline").arg(self.file.path()).args(["--brokers", self.brokers]);
        command.stdout(Stdio::null());
        command
    }

    /// Runs it to its end, which must be a success.
    pub fn run(&self, arguments: &[&str]) {
        let status = self.weir(arguments).status().unwrap();
        assert!(status.success(), "weir {arguments:?}: {status}");
    }

    /// Runs it to its end, which must be a success. Returns its output.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "weir {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fills the events topic at once, [`FAULTS`] among the events.
    pub fn generate(&self, events: usize) {
        let events = events.to_string();
        let generate = ["generate", "--events", &events, "--rate", "0", "--start", "2026-01-01T00:00:00Z"];
        self.run(&[&generate[..], &FAULTS[..]].concat());
    }
}

fn manifest(name: &str, events: &str, spec: &str, replicas: i32) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n{spec}  topics:\n    \
         events: {{name: {events}, replicas: {replicas}}}\n    results: {{name: {name}-results, replicas: {replicas}}}\n    \
         topPages: {{name: {name}-top}}\n"
    )
}

/// Sends SIGTERM to a program.
pub fn terminate(program: &Child) {
    let pid = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}
