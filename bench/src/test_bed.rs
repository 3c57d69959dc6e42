//! The test bed: one broker, pipelines on it, the release programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use weir_broker::Kafka;

use crate::process::{self, Process, Usage, busy};

/// The start of every simulation's event time.
const START: &str = "2026-01-01T00:00:00Z";
/// Event time that a preloaded topic covers, seconds.
const SPAN: u64 = 1_800;

/// What a topic is filled with: a simulated shop (`weir generate`), half an hour of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Its events topic, too.
    pub(crate) name: String,
    pub(crate) users: u32,
    pub(crate) pages: u32,
    pub(crate) events: u64,
}

/// A broker, and a folder for manifests.
pub(crate) struct TestBed {
    kafka: Kafka,
    broker: u32,
    folder: TempDir,
}

/// A pipeline's manifest in a file.
pub(crate) struct Pipeline {
    pub(crate) name: String,
    file: PathBuf,
}

/// A program's usage, and the machine's other load meanwhile.
pub(crate) struct Measured {
    pub(crate) usage: Usage,
    /// Seconds of the broker's CPU.
    pub(crate) broker: f64,
    /// Seconds of CPU that went to neither: other programs of this machine, and the kernel's threads.
    pub(crate) others: f64,
    pub(crate) printed: String,
}

impl TestBed {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let kafka = Kafka::start(1)?;
        let broker =
            *process::descendants(std::process::id(), "java").first().context("no broker in /proc")?;
        Ok(Self { kafka, broker, folder: tempfile::tempdir()? })
    }

    pub(crate) fn bootstrap(&self) -> &str {
        self.kafka.bootstrap()
    }

    /// The process id of the broker.
    pub(crate) fn broker(&self) -> u32 {
        self.broker
    }

    /// Where files may be left until the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a pipeline's topics; several may share the events of one load.
    pub(crate) fn pipeline(&self, name: &str, load: &Load, rate: f64) -> anyhow::Result<Pipeline> {
        let Load { name: events, users, pages, .. } = load;
        let manifest = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    \
             events: {{name: {events}-events}}\n    results: {{name: {name}-results}}\n    topPages: {{name: {name}-top}}\n  \
             generator: {{eventsPerSecond: {rate}, users: {users}, pages: {pages}, profile: Constant}}\n"
        );
        let file = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&file, manifest)?;
        let pipeline = Pipeline { name: name.to_owned(), file };
        self.run(self.weir(&pipeline).args(["topics", "apply"]))?;
        Ok(pipeline)
    }

    /// Fills a load's topic; returns a pipeline on it.
    pub(crate) fn fill(&self, load: &Load) -> anyhow::Result<(Pipeline, Measured)> {
        #[allow(clippy::cast_precision_loss)]
        let rate = load.events as f64 / SPAN as f64;
        let pipeline = self.pipeline(&load.name, load, rate)?;
        let events = load.events.to_string();
        let mut generate = self.weir(&pipeline);
        generate.args(["generate", "--rate", "0", "--start", START, "--events", &events]);
        let filled = self.run(&mut generate)?;
        Ok((pipeline, filled))
    }

    pub(crate) fn weir(&self, pipeline: &Pipeline) -> Command {
        self.program("weir", pipeline)
    }

    pub(crate) fn audit(&self, pipeline: &Pipeline) -> Command {
        self.program("weir-audit", pipeline)
    }

    fn program(&self, name: &str, pipeline: &Pipeline) -> Command {
        // `cargo xtask bench` builds them in release mode.
        let mut command = Command::new(weir_broker::target().join("release").join(name));
        command.arg("--pipeline").arg(&pipeline.file).args(["--brokers", self.bootstrap()]);
        command.env("WEIR_LOG", "warn");
        command
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, command: &mut Command) -> anyhow::Result<Measured> {
        let (broker, all) = (self.broker_cpu()?, busy()?);
        let (usage, printed) = Process::start(command)?.finish()?;
        let broker = self.broker_cpu()? - broker;
        let others = (busy()? - all - broker - usage.cpu).max(0.0);
        Ok(Measured { usage, broker, others, printed })
    }

    /// The broker's CPU time so far, seconds.
    pub(crate) fn broker_cpu(&self) -> anyhow::Result<f64> {
        process::cpu(self.broker).context("the broker is gone")
    }
}

/// Checks that a program's output contains `expected`; otherwise its results are invalid.
pub(crate) fn ensure_output(measured: &Measured, expected: &str) -> anyhow::Result<()> {
    let printed = measured.printed.trim_end();
    ensure!(printed.contains(expected), "expected {expected:?}, the program printed {printed:?}");
    Ok(())
}
