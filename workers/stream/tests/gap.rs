//! Retention deletes up to the end of a lane: nothing is missing where stage 1 sealed no more than the lane emitted.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_analytics::Settings;
use weir_events::{ClickstreamEvent, Decoder, EventType, Privacy, PrivacySettings, encode_event};
use weir_stream::{
    log::{Committed, Error, Member as _},
    memory::{Broker, Clock, Member, MemberOptions},
    results::{self, Results},
    windows::{self, Windows},
    worker::Worker,
};

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 5_000,
    out_of_orderness: 4_000,
    session_gap: 90_000,
    lanes: 2,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 2,
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
        };
        let mut value = Vec::new();
        encode_event(&event, &mut value);
        broker.append("events", 0, None, Some(&value), &[]).unwrap();
        broker.advance(Duration::from_secs(1));
    }
}

fn windows(broker: &Broker) -> Worker<Windows, Member> {
    let options = windows::Options {
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
    };
    let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
    let member = broker.member(MemberOptions::new("windows", "events", "windows"));
    Worker::new(Windows::new(options, Decoder::new(), privacy), member)
}

fn results(broker: &Broker) -> Worker<Results, Member> {
    results_of("results", broker)
}

fn results_of(group: &str, broker: &Broker) -> Worker<Results, Member> {
    let options = results::Options {
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
    let mut onlooker = broker.member(MemberOptions::new("results", "blocks", "onlooker"));
    onlooker.committed().unwrap().into_iter().map(Option::unwrap).collect()
}

/// Steps both stages for so many seconds of the broker's clock.
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

/// Commits what stage 2 had committed before it met the end: the last record's offset and one.
fn go_back_to_the_last_record(broker: &Broker) {
    let mut member = broker.member(MemberOptions::new("results", "blocks", "results"));
    let mut lanes = None;
    while lanes.is_none() {
        broker.advance(Duration::from_secs(1));
        if let Some(weir_stream::log::Rebalance::Assigned(partitions)) =
            member.poll(1, Duration::ZERO, &mut |_| ()).unwrap()
        {
            lanes = Some(partitions);
        }
    }
    let offsets: Vec<(i32, Committed)> = (0..)
        .zip(committed(broker))
        .map(|(lane, committed)| {
            let last = broker.records("blocks", lane).last().unwrap().offset;
            assert!(last + 1 < committed.offset, "a marker follows");
            (lane, Committed { offset: last + 1, ..committed })
        })
        .collect();
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
fn a_lane_is_committed_up_to_its_end_and_rests_there() {
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
fn a_gap_in_which_no_block_can_have_been_is_none() {
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
    assert!(broker.records("top", 0).len() > windows, "it goes on");
}

#[test]
fn a_gap_in_which_a_block_was_is_told() {
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
    let told = step(&broker, &mut first, &mut results(&broker));
    let Err(Error::Fatal(why)) = told else { panic!("{told:?}") };
    assert!(
        why.contains("retention deleted them before they were read") && why.contains("new name"),
        "{why}"
    );
}

#[test]
fn a_group_whose_offsets_are_gone_emits_no_window_twice() {
    let broker = broker();
    let (mut first, mut second) = (windows(&broker), results(&broker));
    append(&broker, 0, 300);
    step(&broker, &mut first, &mut second).unwrap();
    second.leave().unwrap();
    let (rankings, rows) = (broker.records("top", 0).len(), broker.records("results", 0).len());
    assert!(rankings > 10, "{rankings}");
    // Another name has no offsets, as one whose offsets were deleted.
    let mut second = results_of("without-offsets", &broker);
    step(&broker, &mut first, &mut second).unwrap();
    assert_eq!((broker.records("top", 0).len(), broker.records("results", 0).len()), (rankings, rows));
    append(&broker, 300, 400);
    step(&broker, &mut first, &mut second).unwrap();
    assert!(broker.records("top", 0).len() > rankings, "it goes on");
}
