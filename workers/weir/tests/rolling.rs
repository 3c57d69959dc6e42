//! Three brokers are restarted one after the other under load: processing goes on after each, and the results equal the oracle's.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

use support::TestPipeline;
use weir_audit::Audit;
use weir_broker::Kafka;
use weir_kafka::{MemberOptions, TopicInspector};

const CONDITION_TIMEOUT: Duration = Duration::from_secs(120);
const EVENTS_PER_SECOND: &str = "300";
/// Short windows, so that there is something to seal between two restarts.
const SPEC: &str = "  window: {size: 20s, slide: 2s, outOfOrderness: 2s, idleTimeout: 10s}\n";
const REPLICAS: i32 = 3;

/// The sum of a group's committed offsets; `None` while they are unavailable.
fn committed(
    inspector: &mut Option<TopicInspector>,
    test: &TestPipeline,
    (stage, topic): (&str, &str),
) -> Option<i64> {
    let group = format!("{}.{stage}", test.pipeline.metadata.name);
    if inspector.is_none() {
        *inspector = TopicInspector::connect(&MemberOptions::new(test.brokers, &group, topic, "test")).ok();
    }
    let committed = inspector.as_ref()?.committed().ok()?;
    Some(committed.into_iter().flatten().map(|committed| committed.offset).sum())
}

#[test]
fn processing_goes_on_while_brokers_are_restarted_one_by_one() {
    let kafka = Kafka::start(3).unwrap();
    let brokers: &'static str = Box::leak(kafka.bootstrap().to_owned().into_boxed_str());
    let test = TestPipeline::with(brokers, "rolling", "rolling-events", SPEC, REPLICAS);
    let (events, blocks) = (test.pipeline.events_topic().to_owned(), test.pipeline.blocks_topic());
    let stages = [("windows", events.as_str()), ("results", blocks.as_str())];
    let mut inspectors = [None, None];
    let mut generator = test.weir(&["generate", "--rate", EVENTS_PER_SECOND, "--seed", "7"]).spawn().unwrap();
    let start = |n: usize| test.weir(&["process", "--instance", &format!("p{n}")]).spawn().unwrap();
    let mut processes = [start(0), start(1)];

    // Both stages have committed more than before, several times in a row, so that it is no leftover of before.
    let mut progresses = |processes: &mut [Child; 2], what: &str| {
        let mut highest = [None; 2];
        let mut steps = [0; 2];
        let deadline = Instant::now() + CONDITION_TIMEOUT;
        while steps.iter().any(|steps| *steps < 3) {
            for process in processes.iter_mut() {
                assert_eq!(process.try_wait().unwrap(), None, "{what}: a process ended");
            }
            for (n, stage) in stages.into_iter().enumerate() {
                let now = committed(&mut inspectors[n], &test, stage);
                if now > highest[n] {
                    steps[n] += usize::from(highest[n].is_some());
                    highest[n] = now;
                }
            }
            assert!(Instant::now() < deadline, "{what}: no progress, {highest:?} after {steps:?} steps");
            thread::sleep(Duration::from_millis(100));
        }
    };
    progresses(&mut processes, "before");
    for broker in kafka.brokers() {
        broker.stop().unwrap();
        progresses(&mut processes, &format!("without {}", broker.address()));
        broker.start().unwrap();
        progresses(&mut processes, &format!("with {} again", broker.address()));
    }
    support::terminate(&generator);
    assert!(generator.wait().unwrap().success());
    for process in &mut processes {
        support::terminate(process);
    }
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    test.run(&["process", "--until-end", "--instance", "p0"]);
    let report = Audit::connect(&test.pipeline, test.brokers).unwrap().compare(true).unwrap();
    assert!(report.records > 3_000 && report.windows > 10, "{report:?}");
}
