//! Retention deletes blocks up to the end of a lane: none is missing if stage 1 sealed no more than the lane emitted.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_analytics::{Definitions, Settings};
use weir_events::{ClickstreamEvent, Decoder, EventType, Privacy, PrivacySettings, encode_event};
use weir_log::{Committed, Error, Member as _, ResultsProgress};
use weir_memory::{Broker, Clock, Member, MemberOptions};
use weir_processor::results::{Results, ResultsOptions};
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
const START: i64 = 1_700_000_000_000;

fn broker() -> Broker {
    let broker = Broker::new(Clock::Manual(START));
    let topics =
        [("events", 1), ("blocks", SETTINGS.lanes), ("state", 1), ("dead", 1), ("results", 1), ("top", 1)];
    for (topic, partitions) in topics {
        broker.create_topic(topic, partitions);
    }
    broker.set_compacted("state").unwrap();
    broker
}

fn append(broker: &Broker, from: i64, to: i64) {
    for i in from..to {
        let event = ClickstreamEvent {
            user_id: &format!("user-{}", i % 7),
            session_id: "session",
            event_type: EventType::View,
            page_url: "/",
            product_id: None,
            timestamp: START + i * 1_000,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        };
        let mut value = Vec::new();
        encode_event(&event, &mut value);
        broker.append("events", 0, None, Some(&value), &[]).unwrap();
        broker.advance(Duration::from_secs(1));
    }
}

fn windows(broker: &Broker) -> Worker<Windows, Member> {
    let options = WindowsOptions {
        settings: SETTINGS,
        inputs: 1,
        max_future: 300_000,
        idle_timeout: 3_600_000,
        stamped_by_broker: true,
        until_end: false,
        snapshot_every: 20_000,
        events: "events".to_owned(),
        blocks: "blocks".to_owned(),
        state: "state".to_owned(),
        live: None,
        dead_letters: "dead".to_owned(),
        keep_payload: true,
        cut: None,
    };
    let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
    let member = broker.member(MemberOptions::new("windows", "events", "windows"));
    Worker::new(Windows::new(options, Decoder::new(), privacy), member)
}

fn results(broker: &Broker) -> Worker<Results, Member> {
    results_of("results", broker)
}

fn results_of(group: &str, broker: &Broker) -> Worker<Results, Member> {
    let options = ResultsOptions {
        cut: None,
        ended_by: None,
        settings: SETTINGS,
        inputs: 1,
        windows: "windows".to_owned(),
        events: "events".to_owned(),
        blocks: "blocks".to_owned(),
        results: "results".to_owned(),
        result_partitions: 1,
        top_pages: "top".to_owned(),
    };
    Worker::new(Results::new(options), broker.member(MemberOptions::new(group, "blocks", group)))
}

fn committed(broker: &Broker) -> Vec<Committed> {
    let mut observer = broker.member(MemberOptions::new("results", "blocks", "observer"));
    observer.committed().unwrap().into_iter().map(Option::unwrap).collect()
}

/// Steps both stages for 20 s of the broker's clock.
fn step(
    broker: &Broker,
    windows: &mut Worker<Windows, Member>,
    results: &mut Worker<Results, Member>,
) -> Result<(), Error> {
    for _ in 0..20 {
        broker.advance(Duration::from_secs(1));
        windows.step(broker.now(), Duration::ZERO)?;
        results.step(broker.now(), Duration::ZERO)?;
    }
    Ok(())
}

/// Commits the position after each lane's last record, before its transaction marker.
fn go_back_to_the_last_record(broker: &Broker) {
    let mut lane = 0;
    commit_as(broker, |committed| {
        let last = broker.records("blocks", lane).last().unwrap().offset;
        assert!(last + 1 < committed.offset, "a marker follows");
        lane += 1;
        Committed { offset: last + 1, ..committed }
    });
}

/// Changes each lane's commit.
fn commit_as(broker: &Broker, mut change: impl FnMut(Committed) -> Committed) {
    let mut member = broker.member(MemberOptions::new("results", "blocks", "results"));
    let mut is_assigned = false;
    while !is_assigned {
        broker.advance(Duration::from_secs(1));
        let polled = member.poll(1, Duration::ZERO, &mut |_| ()).unwrap();
        is_assigned = matches!(polled, Some(weir_log::Rebalance::Assigned(_)));
    }
    let offsets: Vec<(i32, Committed)> = (0..).zip(committed(broker).into_iter().map(&mut change)).collect();
    member.begin().unwrap();
    member.commit(&offsets).unwrap();
    member.leave().unwrap();
}

fn delete_blocks(broker: &Broker) {
    for lane in 0..SETTINGS.lanes {
        broker.truncate("blocks", lane, broker.end_offset("blocks", lane).unwrap()).unwrap();
    }
}

#[test]
fn a_lane_is_committed_up_to_its_end_once() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    let ends: Vec<i64> = (0..SETTINGS.lanes).map(|lane| broker.end_offset("blocks", lane).unwrap()).collect();
    assert_eq!(committed(&broker).iter().map(|c| c.offset).collect::<Vec<_>>(), ends);
    let commits = second.counts().commits;
    step(&broker, &mut first, &mut second).unwrap();
    assert_eq!(second.counts().commits, commits, "nothing more to commit");
    delete_blocks(&broker);
    second.leave().unwrap();
    step(&broker, &mut first, &mut results(&broker)).unwrap();
}

#[test]
fn a_gap_that_cannot_contain_blocks_is_skipped() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    go_back_to_the_last_record(&broker);
    delete_blocks(&broker);
    let mut second = results(&broker);
    step(&broker, &mut first, &mut second).unwrap();
    let windows = broker.records("top", 0).len();
    append(&broker, 300, 400);
    step(&broker, &mut first, &mut second).unwrap();
    assert!(broker.records("top", 0).len() > windows, "it continues");
}

#[test]
fn a_gap_that_contains_blocks_is_an_error() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    append(&broker, 300, 400);
    for _ in 0..5 {
        broker.advance(Duration::from_secs(1));
        first.step(broker.now(), Duration::ZERO).unwrap();
    }
    delete_blocks(&broker);
    let result = step(&broker, &mut first, &mut results(&broker));
    let Err(Error::Fatal(why)) = result else { panic!("{result:?}") };
    assert!(
        why.contains("retention deleted them before they were read") && why.contains("new name"),
        "{why}"
    );
}

#[test]
fn a_group_without_offsets_emits_no_window_twice() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    let (rankings, rows) = (broker.records("top", 0).len(), broker.records("results", 0).len());
    assert!(rankings > 10, "{rankings}");
    // A new group has no offsets, like one whose offsets were deleted.
    let mut second = results_of("without-offsets", &broker);
    step(&broker, &mut first, &mut second).unwrap();
    assert_eq!((broker.records("top", 0).len(), broker.records("results", 0).len()), (rankings, rows));
    append(&broker, 300, 400);
    step(&broker, &mut first, &mut second).unwrap();
    assert!(broker.records("top", 0).len() > rankings, "it continues");
}

#[test]
fn a_lane_whose_offset_another_program_set_is_refused() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    commit_as(&broker, |committed| Committed { metadata: String::new(), ..committed });
    let Err(Error::Fatal(why)) = step(&broker, &mut first, &mut results(&broker)) else {
        panic!("it continues")
    };
    assert!(why.contains("was set by another program"), "{why}");
}

fn emitted(broker: &Broker) -> Vec<ResultsProgress> {
    committed(broker).iter().map(|committed| serde_json::from_str(&committed.metadata).unwrap()).collect()
}

#[test]
fn results_lost_with_their_topics_are_reported_and_later_ones_written() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    let before = emitted(&broker);
    assert!(before.iter().all(|lane| lane.emitted.is_some() && lane.lost_up_to.is_none()), "{before:?}");
    for topic in ["results", "top"] {
        broker.delete_topic(topic);
        broker.create_topic(topic, 1);
    }
    // It is reported permanently.
    for (from, to) in [(300, 400), (400, 500)] {
        let mut second = results(&broker);
        append(&broker, from, to);
        step(&broker, &mut first, &mut second).unwrap();
        second.leave().unwrap();
        for (before, after) in before.iter().zip(emitted(&broker)) {
            assert_eq!(after.lost_up_to, before.emitted);
            assert!(after.emitted > before.emitted, "it continues");
        }
    }
    let windows = broker.records("top", 0).len();
    assert_eq!(windows, 200_000 / SETTINGS.slide as usize, "no window is missing or duplicated");
}
