//! A process stops after a signal, whatever its broker does.
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

/// A process with its partitions assigned, and its log from then on.
struct Running {
    process: Child,
    log: thread::JoinHandle<String>,
}

impl Running {
    fn start(test: &TestPipeline, instance: &str) -> Self {
        let mut process =
            test.weir(&["process", "--instance", instance]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        // Both stages.
        let mut assigned = 0;
        while assigned < 2 {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended");
            assigned += usize::from(line.contains("partitions assigned"));
        }
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        Self { process, log }
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
        (status, self.log.join().unwrap())
    }
}

#[test]
fn a_process_stops_whatever_its_broker_does() {
    let kafka = Kafka::start(1).unwrap();
    let test =
        TestPipeline::on(Box::leak(kafka.bootstrap().to_owned().into_boxed_str()), "stops", "stops-events");
    test.generate(1_000);

    let idle = Running::start(&test, "p0");
    idle.terminate();
    let (status, log) = idle.ended();
    assert!(status.success(), "{status}: {log}");

    let once = Running::start(&test, "p0");
    kafka.broker(0).pause().unwrap();
    once.terminate();
    let (status, log) = once.ended();
    assert!(status.code().is_some(), "it had to be killed: {log}");
    assert!(status.success() || log.contains("did not stop within"), "{status}: {log}");
    kafka.broker(0).resume().unwrap();

    let twice = Running::start(&test, "p0");
    kafka.broker(0).pause().unwrap();
    twice.terminate();
    thread::sleep(Duration::from_millis(500)); // two signals at once are one
    twice.terminate();
    let (status, log) = twice.ended();
    assert_eq!(status.code(), Some(130), "{log}");
    kafka.broker(0).resume().unwrap();
}
