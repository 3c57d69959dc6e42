//! The main path over a real broker: topics, events, processes that start, stop and are killed, results.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

use support::TestPipeline;
use weir_audit::{Audit, Report};
use weir_broker::Kafka;
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_generator::{Generator, GeneratorOptions};
use weir_kafka::{Member, MemberOptions};
use weir_log::{Member as _, Output};

const KILLS: usize = 6;

fn process(test: &TestPipeline, instance: &str) -> Child {
    test.weir(&["process", "--until-end", "--instance", instance]).spawn().unwrap()
}

fn audit(test: &TestPipeline) -> Report {
    Audit::connect(&test.pipeline, test.brokers).unwrap().compare(true).unwrap()
}

#[test]
fn results_equal_the_oracle_after_kills() {
    const EVENTS: usize = 500_000;
    let test = TestPipeline::new("kills", "kills-events");
    test.generate(EVENTS);

    let mut survivor = process(&test, "p0");
    let mut victim = process(&test, "p1");
    for kill in 0..KILLS {
        // Not a wait for a condition: different delays kill the process at different points.
        std::thread::sleep(Duration::from_millis(300 + 400 * kill as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
        victim = process(&test, "p1");
    }
    assert!(survivor.wait().unwrap().success());
    assert!(victim.wait().unwrap().success());

    let report = audit(&test);
    assert_eq!(report.records, EVENTS);
    assert!(report.late > 0 && report.invalid > 0 && report.windows > 400, "{report:?}");
}

#[test]
fn any_number_of_processes_gives_the_same_bytes() {
    const EVENTS: usize = 100_000;
    TestPipeline::new("alone", "shared-events").generate(EVENTS);
    let mut digests = Vec::new();
    for (name, processes) in [("alone", 1), ("pair", 2), ("crowd", 6)] {
        let test = TestPipeline::new(name, "shared-events");
        let mut running: Vec<Child> = (0..processes).map(|i| process(&test, &format!("p{i}"))).collect();
        for process in &mut running {
            assert!(process.wait().unwrap().success());
        }
        let report = audit(&test);
        assert!(report.records == EVENTS && report.windows > 50, "{report:?}");
        digests.push(report.digest);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

/// Events with ids, in the order in which a producer sends them. With `repeats` one in ten is sent again, as a producer without idempotence
/// does: some at once, some thousands of events later, some so late that all their windows are sealed.
fn events_with_ids(count: u64, repeats: bool) -> Vec<(i32, Vec<u8>)> {
    let mut generator = Generator::new(GeneratorOptions::default()).unwrap();
    let mut records = Vec::new();
    let mut pending: BTreeMap<u64, Vec<(i32, Vec<u8>)>> = BTreeMap::new();
    for number in 0..count {
        let arrival = generator.next_event();
        let id = format!("{number:x}");
        let mut value = Vec::new();
        encode_event(&ClickstreamEvent { event_id: Some(&id), ..arrival.event }, &mut value);
        let record = (arrival.partition, value);
        if repeats && number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < (1 << 32) / 10 {
            let later = [1, 40, 700, 9_000, 42_000][number as usize % 5];
            pending.entry(number + later).or_default().push(record.clone());
        }
        records.push(record);
        records.extend(pending.remove(&number).into_iter().flatten());
    }
    records
}

fn send(test: &TestPipeline, records: Vec<(i32, Vec<u8>)>) {
    let topic = test.pipeline.events_topic().to_owned();
    let options = MemberOptions::new(test.brokers, "producers", &topic, &format!("{topic}-producer"));
    let mut producer = Member::connect(options).unwrap();
    for some in records.chunks(2_000) {
        producer.begin().unwrap();
        for (partition, value) in some.iter().cloned() {
            let topic = topic.clone();
            producer
                .send(Output { topic, partition, key: None, value: Some(value), headers: Vec::new() })
                .unwrap();
        }
        producer.commit(&[]).unwrap();
    }
    producer.leave().unwrap();
}

#[test]
fn events_that_are_sent_again_change_no_result() {
    const EVENTS: u64 = 60_000;
    let clean = TestPipeline::new("once", "once-events");
    send(&clean, events_with_ids(EVENTS, false));
    assert!(process(&clean, "p0").wait().unwrap().success());
    let expected = audit(&clean);
    assert_eq!((expected.records, expected.duplicates), (EVENTS as usize, 0));

    let repeated = TestPipeline::new("again", "again-events");
    let records = events_with_ids(EVENTS, true);
    let count = records.len();
    send(&repeated, records);
    // What is remembered survives processes that do not.
    for kill in 0..KILLS as u64 {
        let mut victim = process(&repeated, "p0");
        // Not a wait for a condition: different delays kill the process at different points.
        std::thread::sleep(Duration::from_millis(200 + 250 * kill));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    assert!(process(&repeated, "p0").wait().unwrap().success());
    let report = audit(&repeated);
    assert_eq!(report.records, count);
    assert!(
        report.duplicates > EVENTS as usize / 20 && report.late > 100 && report.invalid == 0,
        "{report:?}"
    );
    assert_eq!(report.duplicates + report.late, count - EVENTS as usize, "{report:?}");
    assert_eq!(report.digest, expected.digest);
}

/// The count in a row of a run's summary.
fn count(summary: &str, row: &str) -> u64 {
    let line = summary.lines().find_map(|line| line.trim_start().strip_prefix(row));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {row} in {summary}"))
}

#[test]
fn each_run_to_the_end_reads_the_new_events() {
    let test = TestPipeline::new("ends", "ends-events");
    let run = || test.output(&["process", "--until-end"]);
    assert_eq!(count(&run(), "records read"), 0, "an empty log");
    test.generate(3_000);
    let summary = run();
    assert_eq!(count(&summary, "records read"), 3_000);
    let sum =
        ["counted", "late", "duplicates", "invalid"].map(|row| count(&summary, row)).iter().sum::<u64>();
    assert!(sum == 3_000 && count(&summary, "windows emitted") > 30, "{summary}");
    assert_eq!(count(&summary, "misplaced"), 0);
    // The same again: nearly all of it is late.
    test.generate(3_000);
    let summary = run();
    assert!(count(&summary, "records read") == 3_000 && count(&summary, "late") > 2_500, "{summary}");
    let report = audit(&test);
    assert_eq!(report.records, 6_000);
    assert_eq!(count(&run(), "records read"), 0, "nothing is new");
}

#[test]
fn an_audit_includes_decisions_about_silence() {
    let spec = "  window: {size: 10s, slide: 1s, outOfOrderness: 1s, idleTimeout: 1s}\n";
    let test = TestPipeline::with(Kafka::shared(), "silences", "silences-events", spec, 1);
    let generate = |start: &str| test.run(&["generate", "--events", "2000", "--rate", "0", "--start", start]);
    let audit = Audit::connect(&test.pipeline, test.brokers).unwrap();
    let mut process = test.weir(&["process"]).spawn().unwrap();
    let sealed = |records| loop {
        // The results must be right at any time.
        let report = audit.compare(false).unwrap();
        if report.records == records && report.windows > 20 && report.outstanding == 0 {
            return report;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    generate("2026-01-01T00:00:00Z");
    sealed(2_000);
    // Within the windows that were sealed by silence, and after them.
    generate("2026-01-01T00:00:15Z");
    let report = sealed(4_000);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(report.late > 0 && report.partly_late > 0 && !report.not_whole.is_empty(), "{report:?}");
    assert!(!report.ended);
}

#[test]
fn a_run_to_the_end_waits_for_open_transactions() {
    let test = TestPipeline::new("held", "held-events");
    test.generate(500);
    let mut options =
        MemberOptions::new(test.brokers, "producers", test.pipeline.events_topic(), "held-producer");
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
    let partition = partition_of(b"held", test.pipeline.spec.topics.events.partitions);
    let topic = test.pipeline.events_topic().to_owned();
    producer.send(Output { topic, partition, key: None, value: Some(value), headers: Vec::new() }).unwrap();

    let mut process = test.weir(&["process", "--until-end"]);
    let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let is_waiting = log.find(|line| line.as_ref().unwrap().contains("waiting for open transactions"));
    assert!(is_waiting.is_some(), "it ended without the events of the open transaction");
    // Drains the log, which would otherwise fill the pipe.
    let rest = std::thread::spawn(move || log.count());
    producer.commit(&[]).unwrap();
    let output = process.wait_with_output().unwrap();
    rest.join().unwrap();
    assert!(output.status.success());
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!(count(&summary, "records read"), 501, "{summary}");
    assert!(!summary.contains("not read"), "{summary}");
    producer.leave().unwrap();
}
