//! The Flink job for comparison: in one JVM, built with Maven.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};

use crate::test_bed::TestBed;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/flink/pom.xml");
const POM: &str = include_str!("../flink/pom.xml");
/// Large enough that garbage collection is not the bottleneck.
const HEAP: &str = "3g";

/// The job, built.
pub(crate) struct Flink {
    classes: String,
}

/// Flink's version, from the pom.
pub(crate) fn version() -> &'static str {
    let after = POM.split_once("<flink.version>").map_or("", |(_, after)| after);
    after.split_once('<').map_or("", |(version, _)| version)
}

impl Flink {
    /// Compiles the job and fetches Flink's packages where they are missing.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let built = weir_broker::target().join("bench/flink");
        let mut maven = Command::new("mvn");
        maven.args([
            "-q",
            "-B",
            "-f",
            PROJECT,
            "compile",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ]);
        maven.arg(format!("-Dweir.built={}", built.display()));
        maven.arg(format!("-DoutputDirectory={}", built.join("packages").display()));
        let status =
            maven.status().context("could not run mvn: install Maven and a JDK, or leave Flink out")?;
        ensure!(status.success(), "mvn: {status}");
        let built = built.canonicalize()?;
        Ok(Self { classes: format!("{0}/classes:{0}/packages/*", built.display()) })
    }

    /// The job, from a topic to a topic that it makes.
    pub(crate) fn job(&self, bed: &TestBed, input: &str, output: &str, by_hand: bool) -> Command {
        let checkpoints = bed.folder().join(output);
        let mut java = Command::new("java");
        java.args([
            &format!("-Xms{HEAP}"),
            &format!("-Xmx{HEAP}"),
            "--add-opens=java.base/java.util=ALL-UNNAMED",
        ]);
        java.args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            &self.classes,
            "dev.weir.bench.Job",
        ]);
        java.args([bed.bootstrap(), input, output]).arg(Path::new(&checkpoints));
        java.arg(if by_hand { "slices" } else { "windows" });
        java
    }
}
