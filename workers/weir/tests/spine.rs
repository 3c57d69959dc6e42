//! The main path over a real broker: topics, events, processes that come, go and are killed, results.
#![allow(clippy::unwrap_used)]

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use weir_audit::{Audit, Report};
use weir_spec::Pipeline;
use weir_testbed::Kafka;

const KILLS: usize = 6;
/// Everything that goes wrong on a good day.
const FAULTS: [&str; 6] = ["--late", "0.01", "--duplicates", "0.01", "--malformed", "0.005"];

/// A pipeline under test: its manifest in a file.
struct Trial {
    brokers: &'static str,
    file: tempfile::NamedTempFile,
    pipeline: Pipeline,
}

impl Trial {
    /// A pipeline on an events topic that it may share.
    fn new(name: &str, events: &str) -> Self {
        let (name, events) =
            (format!("{name}-{}", std::process::id()), format!("{events}-{}", std::process::id()));
        let manifest = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    \
             events: {{name: {events}}}\n    results: {{name: {name}-results}}\n    topPages: {{name: {name}-top}}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &manifest).unwrap();
        let trial =
            Self { brokers: Kafka::shared(), file, pipeline: Pipeline::from_yaml(&manifest).unwrap() };
        trial.run(&["topics", "apply"]);
        trial
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

    fn generate(&self, events: usize) {
        let events = events.to_string();
        let generate = ["generate", "--events", &events, "--rate", "0", "--start", "2026-01-01T00:00:00Z"];
        self.run(&[&generate[..], &FAULTS[..]].concat());
    }

    fn process(&self, instance: &str) -> Child {
        self.weir(&["process", "--until-end", "--instance", instance]).spawn().unwrap()
    }

    fn audit(&self) -> Report {
        Audit::connect(&self.pipeline, self.brokers).unwrap().compare(true).unwrap()
    }
}

#[test]
fn results_equal_the_oracle_whatever_is_killed() {
    const EVENTS: usize = 500_000;
    let trial = Trial::new("kills", "kills-events");
    trial.generate(EVENTS);

    let mut survivor = trial.process("p0");
    let mut victim = trial.process("p1");
    for kill in 0..KILLS {
        // Not a wait for a condition: the later, the more varied the moment of death.
        std::thread::sleep(Duration::from_millis(300 + 400 * kill as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
        victim = trial.process("p1");
    }
    assert!(survivor.wait().unwrap().success());
    assert!(victim.wait().unwrap().success());

    let report = trial.audit();
    assert_eq!(report.records, EVENTS);
    assert!(report.late > 0 && report.invalid > 0 && report.windows > 400, "{report:?}");
}

#[test]
fn any_number_of_processes_gives_the_same_bytes() {
    const EVENTS: usize = 100_000;
    Trial::new("alone", "shared-events").generate(EVENTS);
    let mut digests = Vec::new();
    for (name, processes) in [("alone", 1), ("pair", 2), ("crowd", 6)] {
        let trial = Trial::new(name, "shared-events");
        let mut running: Vec<Child> = (0..processes).map(|i| trial.process(&format!("p{i}"))).collect();
        for process in &mut running {
            assert!(process.wait().unwrap().success());
        }
        let report = trial.audit();
        assert!(report.records == EVENTS && report.windows > 50, "{report:?}");
        digests.push(report.digest);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}
