//! A process that is told to stop does, whatever its broker does.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use support::TestPipeline;
use weir_broker::Kafka;

const CONDITION_TIMEOUT: Duration = Duration::from_secs(90);

/// A process that has its partitions, and what it says from then on.
struct Running {
    process: Child,
    said: thread::JoinHandle<String>,
}

impl Running {
    fn start(trial: &TestPipeline, instance: &str) -> Self {
        let mut process =
            trial.weir(&["process", "--instance", instance]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        // Both stages.
        let mut assigned = 0;
        while assigned < 2 {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended");
            assigned += usize::from(line.contains("partitions assigned"));
        }
        let said = thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            said
        });
        Self { process, said }
    }

    fn terminate(&self) {
        support::terminate(&self.process);
    }

    fn ended(mut self) -> (ExitStatus, String) {
        let (ended, end) = mpsc::channel();
        let pid = self.process.id().to_string();
        thread::spawn(move || {
            if end.recv_timeout(CONDITION_TIMEOUT).is_err() {
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
        });
        let status = self.process.wait().unwrap();
        let _ = ended.send(());
        (status, self.said.join().unwrap())
    }
}

#[test]
fn a_process_stops_whatever_its_broker_does() {
    let kafka = Kafka::start(1).unwrap();
    let trial =
        TestPipeline::on(Box::leak(kafka.bootstrap().to_owned().into_boxed_str()), "stops", "stops-events");
    trial.generate(1_000);

    let quietly = Running::start(&trial, "p0");
    quietly.terminate();
    let (status, said) = quietly.ended();
    assert!(status.success(), "{status}: {said}");

    let patient = Running::start(&trial, "p0");
    kafka.broker(0).pause().unwrap();
    patient.terminate();
    let (status, said) = patient.ended();
    assert!(status.code().is_some(), "it had to be killed: {said}");
    assert!(status.success() || said.contains("did not stop within"), "{status}: {said}");
    kafka.broker(0).resume().unwrap();

    let hasty = Running::start(&trial, "p0");
    kafka.broker(0).pause().unwrap();
    hasty.terminate();
    thread::sleep(Duration::from_millis(500)); // two signals at once are one
    hasty.terminate();
    let (status, said) = hasty.ended();
    assert_eq!(status.code(), Some(130), "{said}");
    kafka.broker(0).resume().unwrap();
}
