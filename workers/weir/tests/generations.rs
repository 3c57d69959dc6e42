//! Settings that change while a pipeline runs, over a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Stdio},
    time::Duration,
};

use support::TestPipeline;
use weir_audit::{Audit, Report};
use weir_broker::Kafka;
use weir_events::decode_top_pages;
use weir_kafka::{Connection, MemberOptions, TopicInspector, admin::Admin};
use weir_log::Generations;

const FIRST: &str = "  window: {size: 5m, slide: 10s}\n";
const SECOND: &str = "  window: {size: 1m, slide: 5s, outOfOrderness: 20s}\n";

fn process(test: &TestPipeline, instance: &str, arguments: &[&str]) -> Child {
    test.weir(&[&["process", "--instance", instance], arguments].concat()).spawn().unwrap()
}

fn audit(test: &TestPipeline) -> Report {
    Audit::connect(&test.pipeline, test.brokers).unwrap().compare(true).unwrap()
}

fn inspector(test: &TestPipeline) -> TopicInspector {
    let options = MemberOptions::new(test.brokers, "generations", test.pipeline.events_topic(), "");
    TopicInspector::connect(&options).unwrap()
}

fn recorded(test: &TestPipeline) -> Generations {
    let (inspector, topic) = (inspector(test), test.pipeline.generations_topic());
    if inspector.topics(&[&topic]).unwrap() == [None] {
        return Generations::default();
    }
    Generations::collect(&topic, |sink| inspector.read(&topic, 0, 0, sink).map(drop)).unwrap()
}

/// The size of each window in the rankings, by its end. Fails where one is there twice.
fn sizes(test: &TestPipeline) -> BTreeMap<i64, i64> {
    let mut sizes = BTreeMap::new();
    let topic = test.pipeline.top_pages_topic();
    inspector(test)
        .read(topic, 0, 0, &mut |record| {
            let top = decode_top_pages(record.value.unwrap()).unwrap();
            assert_eq!(sizes.insert(top.window_end, top.window_end - top.window_start), None);
        })
        .unwrap();
    sizes
}

fn generate(test: &TestPipeline, events: &str, start: &str) {
    let generate = ["generate", "--events", events, "--rate", "0", "--start", start];
    test.run(&[&generate[..], &support::FAULTS[..]].concat());
}

fn await_that(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn each_window_is_told_once_by_one_set_of_settings() {
    let mut test = TestPipeline::with(Kafka::shared(), "generations", "generations-events", FIRST, 1);
    generate(&test, "60000", "2026-01-01T00:00:00Z");
    let mut running: Vec<Child> =
        ["p0", "p1", "p2"].iter().map(|instance| process(&test, instance, &[])).collect();
    await_that("some windows are emitted", || sizes(&test).len() > 20);
    running[1].kill().unwrap();
    running[1].wait().unwrap();
    // It has processed what was there before the change.
    await_that("most windows are emitted", || sizes(&test).len() > 40);

    test.respecify(SECOND);
    // Another process may not begin it by itself.
    let refused = test.weir(&["process"]).stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(message.contains("window.size 5m") && message.contains("`weir topics apply`"), "{message}");
    let begun = test.output(&["topics", "apply"]);
    assert!(
        begun.contains("generation 2 of ")
            && begun.contains("window.size 5m")
            && begun.contains("window.size 1m"),
        "{begun}"
    );
    assert_eq!(recorded(&test).newest().unwrap().cut, None, "declared, and nothing has ended yet");
    // Once more changes nothing.
    assert!(!test.output(&["topics", "apply"]).contains("begins"));
    for left in [0, 2] {
        assert!(!running[left].wait().unwrap().success(), "those of the last generation leave");
    }
    generate(&test, "60000", "2026-01-01T00:10:00Z");
    for kill in 0..4 {
        let (mut victim, mut other) = (process(&test, "p1", &[]), process(&test, "p2", &[]));
        // Not a wait for a condition: different delays kill the processes at different points.
        std::thread::sleep(Duration::from_millis(400 + 500 * kill));
        victim.kill().unwrap();
        victim.wait().unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
    }
    let (mut one, mut other) =
        (process(&test, "p1", &["--until-end"]), process(&test, "p2", &["--until-end"]));
    assert!(one.wait().unwrap().success() && other.wait().unwrap().success());
    let cut = recorded(&test).get(2).unwrap().cut.unwrap();
    let told = sizes(&test);
    for (end, size) in &told {
        assert_eq!(
            *size,
            if *end <= cut { 300_000 } else { 60_000 },
            "the window that ends at {end}, cut {cut}"
        );
    }
    assert!(told.contains_key(&cut) && told.contains_key(&(cut + 5_000)), "none is left out: {cut} {told:?}");
    let report = audit(&test);
    assert!(report.records == 120_000 && report.windows == told.len(), "{report:?}");

    // And back.
    test.respecify(FIRST);
    assert!(test.output(&["topics", "apply"]).contains("generation 3 of "));
    generate(&test, "30000", "2026-01-01T00:20:00Z");
    assert!(process(&test, "p1", &["--until-end"]).wait().unwrap().success());
    let (third, told) = (recorded(&test).get(3).unwrap().cut.unwrap(), sizes(&test));
    let size = |end: i64| if cut < end && end <= third { 60_000 } else { 300_000 };
    assert!(third > cut && told.iter().all(|(end, told)| *told == size(*end)), "{cut} {third} {told:?}");
    assert!(told.keys().next_back() > Some(&(third + 100_000)), "{third} {told:?}");
    let report = audit(&test);
    assert!(report.records == 150_000 && report.windows == told.len(), "{report:?}");

    // Twice before any process runs: the fourth ends without having told a window.
    for (spec, begun) in [(SECOND, "generation 4 of "), (FIRST, "generation 5 of ")] {
        test.respecify(spec);
        assert!(test.output(&["topics", "apply"]).contains(begun));
    }
    generate(&test, "30000", "2026-01-01T00:30:00Z");
    assert!(process(&test, "p1", &["--until-end"]).wait().unwrap().success());
    let report = audit(&test);
    assert!(report.records == 180_000 && report.windows == sizes(&test).len(), "{report:?}");

    // Nothing tells what windows were counted with whose generation's topics are deleted.
    let admin = Admin::new(&Connection::new(test.brokers, "generations")).unwrap();
    admin.delete_topics_and_wait(&[&test.pipeline.in_generation(1).state_topic()]).unwrap();
    let left = audit(&test);
    let of_first = sizes(&test).range(..=cut).count();
    assert_eq!((left.not_compared, left.windows), (of_first, report.windows - of_first));
}

/// All bytes of a topic: keys, values, headers.
fn bytes(test: &TestPipeline, topic: &str) -> Vec<u8> {
    let inspector = inspector(test);
    let mut bytes = Vec::new();
    let partitions = inspector.topics(&[topic]).unwrap().pop().flatten().unwrap().partitions;
    for partition in 0..partitions {
        inspector
            .read_headers(topic, partition, 0, |record, headers| {
                bytes.extend_from_slice(record.key.unwrap_or_default());
                bytes.extend_from_slice(record.value.unwrap_or_default());
                for (name, value) in headers {
                    bytes.extend_from_slice(name.as_bytes());
                    bytes.extend_from_slice(value.as_bytes());
                }
            })
            .unwrap();
    }
    bytes
}

#[test]
fn what_a_generation_hides_is_in_none_of_its_topics() {
    let mut test = TestPipeline::with(Kafka::shared(), "hides", "hides-events", "", 1);
    generate(&test, "5000", "2026-01-01T00:00:00Z");
    assert!(process(&test, "p0", &["--until-end"]).wait().unwrap().success());
    let mut ids = BTreeSet::new();
    let decoder = weir_events::Decoder::new();
    for partition in 0..test.pipeline.spec.topics.events.partitions {
        inspector(&test)
            .read(test.pipeline.events_topic(), partition, 0, &mut |record| {
                if let Ok(event) = decoder.decode(record.value.unwrap_or_default()) {
                    ids.extend(
                        [event.user_id.to_owned(), event.session_id.to_owned()].map(String::into_bytes),
                    );
                }
            })
            .unwrap();
    }
    let ids: Vec<Vec<u8>> = ids.into_iter().filter(|id| id.len() > 4).collect();
    let raw = |bytes: &[u8]| ids.iter().filter(|id| bytes.windows(id.len()).any(|some| some == **id)).count();
    let state = bytes(&test, &test.pipeline.state_topic());
    assert!(raw(&state) > 0, "the state of the first generation has ids as they are");

    test.respecify("  pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}\n");
    let key = ("WEIR_PII_KEY", "a key for this test alone");
    let apply = test.weir(&["topics", "apply"]).env(key.0, key.1).stdout(Stdio::piped()).output().unwrap();
    let begun = String::from_utf8(apply.stdout).unwrap();
    assert!(begun.contains("pii.userId Keep") && begun.contains("pii.userId Hash"), "{begun}");
    generate(&test, "5000", "2026-01-01T00:10:00Z");
    let processed = test.weir(&["process", "--until-end"]).env(key.0, key.1).status().unwrap();
    assert!(processed.success());
    for topic in test.pipeline.in_generation(2).topics_of_generation() {
        let bytes = bytes(&test, &topic.name);
        assert!(!bytes.is_empty(), "{} has nothing", topic.name);
        assert_eq!(raw(&bytes), 0, "raw ids in {}", topic.name);
    }
}
