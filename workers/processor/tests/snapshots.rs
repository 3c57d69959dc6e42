//! Restarts from snapshots: events before them may be deleted by retention.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_analytics::{Block, Definitions, Settings};
use weir_events::{ClickstreamEvent, Decoder, EventType, Privacy, PrivacySettings, encode_event};
use weir_log::{Error, PartitionProgress};
use weir_memory::{Broker, Clock, Fault, Member, MemberOptions};
use weir_processor::windows::{Windows, WindowsOptions};
use weir_processor::worker::Worker;

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 5_000,
    out_of_orderness: 4_000,
    session_gap: 90_000,
    lanes: 2,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 2,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::NEWEST,
};
const PARTITIONS: i32 = 2;

/// A record's value and headers.
type Written = (Option<Vec<u8>>, Vec<(String, String)>);

struct Fixture {
    broker: Broker,
    settings: Settings,
    group: &'static str,
    processes: u32,
}

impl Fixture {
    fn new() -> Self {
        let broker = Broker::new(Clock::Manual(1_700_000_000_000));
        broker.create_topic("events", PARTITIONS);
        broker.create_topic("blocks", SETTINGS.lanes);
        broker.create_topic("state", PARTITIONS);
        broker.set_compacted("state").unwrap();
        broker.create_topic("dead-letters", 1);
        Self { broker, settings: SETTINGS, group: "group", processes: 0 }
    }

    /// A new process.
    fn worker(&mut self) -> Worker<Windows, Member> {
        self.processes += 1;
        let options = WindowsOptions {
            inputs: PARTITIONS,
            settings: self.settings,
            max_future: 300_000,
            idle_timeout: 3_600_000,
            stamped_by_broker: true,
            until_end: false,
            snapshot_every: 20_000,
            events: "events".to_owned(),
            blocks: "blocks".to_owned(),
            state: "state".to_owned(),
            live: Some("live".to_owned()),
            dead_letters: "dead-letters".to_owned(),
            keep_payload: true,
            cut: None,
        };
        let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
        let id = format!("id-{}", self.processes);
        let member = self.broker.member(MemberOptions::new(self.group, "events", &id));
        Worker::new(Windows::new(options, Decoder::new(), privacy), member)
    }

    /// Appends events `from..to` of an endless log: some late, some in visits over many windows.
    fn append(&self, from: i64, to: i64) {
        for i in from..to {
            let user = i * 7 % 13;
            let behind = if i % 50 == 49 { 120_000 } else { i * 11 % 5 * 1_000 };
            let event = ClickstreamEvent {
                user_id: &format!("user-{user}"),
                session_id: &format!("session-{user}-{}", i / 300),
                event_type: if i % 5 == 0 { EventType::Click } else { EventType::View },
                page_url: &format!("/page/{}", i * i % 9),
                product_id: None,
                timestamp: 1_700_000_000_000 + i * 700 - behind,
                user_agent: "",
                ip_address: "",
                referrer: None,
                session_duration: (i % 3 == 0).then_some((i % 200) as i32),
                ..ClickstreamEvent::EMPTY
            };
            let mut value = Vec::new();
            encode_event(&event, &mut value);
            self.broker.append("events", (user % 2) as i32, None, Some(&value), &[]).unwrap();
            self.broker.advance(Duration::from_millis(700));
        }
    }

    /// Steps until all appended events are committed.
    fn catch_up(&self, worker: &mut Worker<Windows, Member>) -> Result<Vec<PartitionProgress>, Error> {
        for _ in 0..1_000 {
            worker.step(self.broker.now(), Duration::ZERO)?;
            self.broker.advance(Duration::from_millis(100));
            let committed = weir_log::Member::committed(worker.member())?;
            let done = (0..).zip(&committed).all(|(partition, committed)| {
                let end = self.broker.end_offset("events", partition).unwrap();
                committed.as_ref().is_some_and(|committed| committed.offset == end)
            });
            if done {
                let progress = committed.into_iter().flatten();
                return Ok(progress.map(|c| serde_json::from_str(&c.metadata).unwrap()).collect());
            }
        }
        panic!("not caught up after 1,000 steps");
    }

    /// The records of blocks and dead letters.
    fn written(&self) -> [Vec<Written>; 3] {
        [("blocks", 0), ("blocks", 1), ("dead-letters", 0)].map(|(topic, partition)| {
            let records = self.broker.records(topic, partition).into_iter();
            records.map(|record| (record.value, record.headers)).collect()
        })
    }
}

#[test]
fn each_process_continues_from_the_previous_ones_snapshot() {
    let mut undisturbed = Fixture::new();
    undisturbed.append(0, 2_000);
    let mut worker = undisturbed.worker();
    undisturbed.catch_up(&mut worker).unwrap();

    let mut fixture = Fixture::new();
    let mut replayed = 0;
    for round in 0..40 {
        fixture.append(round * 50, (round + 1) * 50);
        let mut worker = fixture.worker();
        let progress = fixture.catch_up(&mut worker).unwrap();
        for (partition, partition_progress) in (0..).zip(progress) {
            // One partition is saved per turn, so the first commit may have one snapshot only.
            assert!(partition_progress.snapshot || round < 2);
            replayed += fixture.broker.end_offset("events", partition).unwrap() - partition_progress.from;
            fixture.broker.truncate("events", partition, partition_progress.from).unwrap();
        }
        if round % 2 == 0 {
            worker.leave().unwrap();
        } else {
            drop(worker);
            fixture.broker.advance(Duration::from_secs(20));
        }
    }
    assert!(replayed > 100, "restarts had {replayed} events to read again");
    assert_eq!(fixture.written()[2].len(), undisturbed.written()[2].len());
    // Sorted: the transactions, and so the order among partitions, may differ.
    let sorted = |fixture: &Fixture| {
        let mut written = fixture.written();
        written.iter_mut().for_each(|topic| topic.sort());
        written
    };
    assert!(sorted(&undisturbed)[0].len() > 100);
    assert!(sorted(&fixture) == sorted(&undisturbed));
}

#[test]
fn events_deleted_before_a_snapshot_covered_them_are_an_error() {
    let mut fixture = Fixture::new();
    fixture.append(0, 400);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    // Too few for another snapshot.
    fixture.append(400, 410);
    let progress = fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    let end = fixture.broker.end_offset("events", 0).unwrap();
    assert!(progress[0].from < end - 1);
    fixture.broker.truncate("events", 0, end - 1).unwrap();
    let mut worker = fixture.worker();
    let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else { panic!("went on without them") };
    assert!(why.contains("events/0") && why.contains("retention"), "{why}");
}

#[test]
fn another_window_over_the_same_state_is_refused() {
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    fixture.settings.slide = 10_000;
    let mut worker = fixture.worker();
    let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else { panic!("mixed two kinds of windows") };
    assert!(why.contains("window.slide 5s") && why.contains("window.slide 10s"), "{why}");
}

#[test]
fn state_without_a_commit_is_refused() {
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    fixture.group = "another";
    let mut worker = fixture.worker();
    let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else { panic!("counted everything again") };
    assert!(why.contains("state/0") && why.contains("no commit"), "{why}");
}

/// Deletes the topics of events and state, and with the former the group's offsets, and makes them anew.
fn lose_events_and_state(broker: &Broker) {
    for topic in ["events", "state"] {
        broker.delete_topic(topic);
        broker.create_topic(topic, PARTITIONS);
    }
}

#[test]
fn blocks_without_a_commit_and_state_are_refused() {
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    lose_events_and_state(&fixture.broker);
    fixture.append(100, 200);
    let written = fixture.written();
    let mut worker = fixture.worker();
    let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else {
        panic!("began anew beside old blocks")
    };
    assert!(why.contains("blocks holds blocks") && why.contains("no commit for events/0"), "{why}");
    assert!(why.contains("begin afresh"), "{why}");
    assert!(fixture.written() == written);
}

#[test]
fn another_partitions_blocks_are_refused_where_no_partition_has_a_commit() {
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    lose_events_and_state(&fixture.broker);
    let blocks = fixture.written();
    fixture.broker.delete_topic("blocks");
    fixture.broker.create_topic("blocks", SETTINGS.lanes);
    for (lane, records) in (0..SETTINGS.lanes).zip(&blocks) {
        let of_the_second = |value: &&[u8]| Block::decode(value).unwrap().partition == 1;
        for value in records.iter().filter_map(|(value, _)| value.as_deref()).filter(of_the_second) {
            fixture.broker.append("blocks", lane, None, Some(value), &[]).unwrap();
        }
    }
    let mut worker = fixture.worker();
    let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else {
        panic!("began anew beside old blocks")
    };
    assert!(why.contains("blocks holds blocks") && why.contains("no commit for events/0"), "{why}");
}

#[test]
fn without_its_blocks_a_pipeline_begins_anew() {
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    worker.leave().unwrap();
    lose_events_and_state(&fixture.broker);
    fixture.broker.delete_topic("blocks");
    fixture.broker.create_topic("blocks", SETTINGS.lanes);
    fixture.append(100, 200);
    let mut worker = fixture.worker();
    let progress = fixture.catch_up(&mut worker).unwrap();
    assert_eq!(progress.iter().map(|partition| partition.read).sum::<u64>(), 100);
}

#[test]
fn a_partition_begins_beside_the_blocks_of_others() {
    let mut fixture = Fixture::new();
    // The commits of the first are lost, until it dies.
    let (mut dies, mut stays) = (fixture.worker(), fixture.worker());
    while !(stays.partitions().len() == 1 && dies.partitions().len() == 1) {
        fixture.broker.inject("id-1", Fault::CommitLost);
        dies.step(fixture.broker.now(), Duration::ZERO).unwrap();
        stays.step(fixture.broker.now(), Duration::ZERO).unwrap();
        fixture.broker.advance(Duration::from_millis(100));
    }
    drop(dies);
    fixture.append(0, 20);
    while fixture.written()[..2].iter().all(Vec::is_empty) {
        stays.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    let committed = weir_log::Member::committed(stays.member()).unwrap();
    assert_eq!(committed.iter().flatten().count(), 1, "{committed:?}");
    drop(stays);
    let mut worker = fixture.worker();
    fixture.catch_up(&mut worker).unwrap();
    assert_eq!(worker.partitions(), [0, 1]);
}

#[test]
fn a_recreated_topic_is_refused() {
    for topic in ["state", "blocks", "events"] {
        let mut fixture = Fixture::new();
        // Few events, so that less time passes than the worker's session timeout.
        fixture.append(0, if topic == "events" { 4 } else { 100 });
        let mut worker = fixture.worker();
        fixture.catch_up(&mut worker).unwrap();
        let partitions = if topic == "blocks" { SETTINGS.lanes } else { PARTITIONS };
        if topic != "events" {
            worker.leave().unwrap();
            fixture.broker.delete_topic(topic);
            fixture.broker.create_topic(topic, partitions);
        } else {
            // While a worker commits once more, which restores the offsets deleted with the topic.
            fixture.broker.delete_topic(topic);
            fixture.broker.create_topic(topic, partitions);
            fixture.append(0, 12);
            for _ in 0..30 {
                worker.step(fixture.broker.now(), Duration::ZERO).unwrap();
                fixture.broker.advance(Duration::from_millis(100));
            }
            worker.leave().unwrap();
        }
        let mut worker = fixture.worker();
        let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else {
            panic!("took {topic} for the old one")
        };
        let expected = format!("topic {topic} was deleted and made anew");
        assert!(why.contains(&expected) && why.contains("begin afresh"), "{why}");
    }
}

#[test]
fn added_partitions_are_refused() {
    for topic in ["events", "state", "blocks"] {
        let mut fixture = Fixture::new();
        fixture.append(0, 100);
        let mut worker = fixture.worker();
        fixture.catch_up(&mut worker).unwrap();
        worker.leave().unwrap();
        fixture.broker.add_partitions(topic, 7).unwrap();
        let mut worker = fixture.worker();
        let Err(Error::Fatal(why)) = fixture.catch_up(&mut worker) else { panic!("went on with {topic}") };
        assert!(why.contains(&format!("topic {topic} has 7 partitions")), "{why}");
    }
}

#[test]
fn a_commit_of_an_earlier_version_gets_the_ids_of_the_topics() {
    let earlier = r#"{"settings":"s","from":0,"snapshot":false,"journal":0,"watermark":null,"sealed":null,"last_end":null,
        "idle":false,"read":0,"counted":0,"late":0,"dead":0}"#;
    let partition_progress: PartitionProgress = serde_json::from_str(earlier).unwrap();
    assert!(partition_progress.topics.is_empty());
    let mut fixture = Fixture::new();
    fixture.append(0, 100);
    let mut worker = fixture.worker();
    let progress = fixture.catch_up(&mut worker).unwrap();
    for partition_progress in progress {
        let roles: Vec<&str> = partition_progress.topics.keys().map(String::as_str).collect();
        assert_eq!(roles, ["blocks", "events", "state"]);
        assert!(serde_json::to_string(&partition_progress).unwrap().len() < 1_000);
    }
}
