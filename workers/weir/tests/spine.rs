//! The main path over a real broker: topics, events, processes that come, go and are killed, results.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

use support::TestPipeline;
use weir_audit::{Audit, Report};
use weir_broker::Kafka;
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_kafka::{Member, Options};
use weir_log::{Member as _, Output};

const KILLS: usize = 6;

fn process(trial: &TestPipeline, instance: &str) -> Child {
    trial.weir(&["process", "--until-end", "--instance", instance]).spawn().unwrap()
}

fn audit(trial: &TestPipeline) -> Report {
    Audit::connect(&trial.pipeline, trial.brokers).unwrap().compare(true).unwrap()
}

#[test]
fn results_equal_the_oracle_whatever_is_killed() {
    const EVENTS: usize = 500_000;
    let trial = TestPipeline::new("kills", "kills-events");
    trial.generate(EVENTS);

    let mut survivor = process(&trial, "p0");
    let mut victim = process(&trial, "p1");
    for kill in 0..KILLS {
        // Not a wait for a condition: the later, the more varied the moment of death.
        std::thread::sleep(Duration::from_millis(300 + 400 * kill as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
        victim = process(&trial, "p1");
    }
    assert!(survivor.wait().unwrap().success());
    assert!(victim.wait().unwrap().success());

    let report = audit(&trial);
    assert_eq!(report.records, EVENTS);
    assert!(report.late > 0 && report.invalid > 0 && report.windows > 400, "{report:?}");
}

#[test]
fn any_number_of_processes_gives_the_same_bytes() {
    const EVENTS: usize = 100_000;
    TestPipeline::new("alone", "shared-events").generate(EVENTS);
    let mut digests = Vec::new();
    for (name, processes) in [("alone", 1), ("pair", 2), ("crowd", 6)] {
        let trial = TestPipeline::new(name, "shared-events");
        let mut running: Vec<Child> = (0..processes).map(|i| process(&trial, &format!("p{i}"))).collect();
        for process in &mut running {
            assert!(process.wait().unwrap().success());
        }
        let report = audit(&trial);
        assert!(report.records == EVENTS && report.windows > 50, "{report:?}");
        digests.push(report.digest);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

/// The figure that a run's summary has in a row.
fn figure(summary: &str, row: &str) -> u64 {
    let line = summary.lines().find_map(|line| line.trim_start().strip_prefix(row));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {row} in {summary}"))
}

#[test]
fn each_run_to_the_end_reads_what_came_since() {
    let trial = TestPipeline::new("ends", "ends-events");
    let run = || trial.printed(&["process", "--until-end"]);
    assert_eq!(figure(&run(), "records read"), 0, "an empty log");
    trial.generate(3_000);
    let summary = run();
    assert_eq!(figure(&summary, "records read"), 3_000);
    let sum = ["counted", "late", "invalid"].map(|row| figure(&summary, row)).iter().sum::<u64>();
    assert!(sum == 3_000 && figure(&summary, "windows emitted") > 30, "{summary}");
    assert_eq!(figure(&summary, "misplaced"), 0);
    // The same again: nearly all of it is late.
    trial.generate(3_000);
    let summary = run();
    assert!(figure(&summary, "records read") == 3_000 && figure(&summary, "late") > 2_500, "{summary}");
    let report = audit(&trial);
    assert_eq!(report.records, 6_000);
    assert_eq!(figure(&run(), "records read"), 0, "nothing is new");
}

#[test]
fn an_audit_takes_what_silence_decided() {
    let spec = "  window: {size: 10s, slide: 1s, outOfOrderness: 1s, idleTimeout: 1s}\n";
    let trial = TestPipeline::with(Kafka::shared(), "silences", "silences-events", spec, 1);
    let generate =
        |start: &str| trial.run(&["generate", "--events", "2000", "--rate", "0", "--start", start]);
    let audit = Audit::connect(&trial.pipeline, trial.brokers).unwrap();
    let mut process = trial.weir(&["process"]).spawn().unwrap();
    let sealed = |records| loop {
        // At any time what is there must be right.
        let report = audit.compare(false).unwrap();
        if report.records == records && report.windows > 20 && report.outstanding == 0 {
            return report;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    generate("2026-01-01T00:00:00Z");
    sealed(2_000);
    // Within the windows that silence has sealed, and beyond.
    generate("2026-01-01T00:00:15Z");
    let report = sealed(4_000);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(report.late > 0 && report.partly_late > 0 && !report.not_whole.is_empty(), "{report:?}");
    assert!(!report.ended);
}

#[test]
fn a_run_to_the_end_waits_for_open_transactions() {
    let trial = TestPipeline::new("held", "held-events");
    trial.generate(500);
    let mut options =
        Options::new(trial.brokers, "producers", trial.pipeline.events_topic(), "held-producer");
    options.transaction_timeout = Duration::from_secs(120);
    let mut producer = Member::connect(options).unwrap();
    producer.begin().unwrap();
    let mut value = Vec::new();
    let event = ClickstreamEvent {
        user_id: "held",
        session_id: "held",
        event_type: EventType::View,
        page_url: "/held",
        product_id: None,
        timestamp: 1_767_225_600_000,
        user_agent: "",
        ip_address: "",
        referrer: None,
        session_duration: None,
        ..ClickstreamEvent::EMPTY
    };
    encode_event(&event, &mut value);
    let partition = partition_of(b"held", trial.pipeline.spec.topics.events.partitions);
    let topic = trial.pipeline.events_topic().to_owned();
    producer.send(Output { topic, partition, key: None, value: Some(value), headers: Vec::new() }).unwrap();

    let mut process = trial.weir(&["process", "--until-end"]);
    let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let waits = log.find(|line| line.as_ref().unwrap().contains("waiting for open transactions"));
    assert!(waits.is_some(), "it ended without what the transaction holds back");
    // What else it says must not fill the pipe.
    let rest = std::thread::spawn(move || log.count());
    producer.commit(&[]).unwrap();
    let output = process.wait_with_output().unwrap();
    rest.join().unwrap();
    assert!(output.status.success());
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!(figure(&summary, "records read"), 501, "{summary}");
    assert!(!summary.contains("not read"), "{summary}");
    producer.leave().unwrap();
}
