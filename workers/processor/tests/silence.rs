//! Live values of a silent site become empty by the clock alone. Timestamps in seconds are late, with a hint at the unit.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_analytics::{Definitions, Live, Settings};
use weir_events::{ClickstreamEvent, Decoder, EventType, Privacy, PrivacySettings, encode_event};
use weir_memory::{Broker, Clock, Member, MemberOptions};
use weir_processor::windows::{Windows, WindowsOptions};
use weir_processor::worker::Worker;

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 5_000,
    out_of_orderness: 4_000,
    session_gap: 90_000,
    lanes: 1,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 2,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::NEWEST,
};
const NOW: i64 = 1_700_000_000_000;

fn worker(broker: &Broker, id: &str) -> Worker<Windows, Member> {
    let options = WindowsOptions {
        settings: SETTINGS,
        inputs: 1,
        max_future: 300_000,
        // Long, so that the values are not emptied by sealing for idleness.
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
    let member = broker.member(MemberOptions::new("group", "events", id));
    Worker::new(Windows::new(options, Decoder::new(), privacy), member)
}

fn append(broker: &Broker, user: &str, timestamp: i64) {
    let event = ClickstreamEvent {
        user_id: user,
        session_id: "visit",
        event_type: EventType::View,
        page_url: "/",
        product_id: None,
        timestamp,
        user_agent: "",
        ip_address: "",
        referrer: None,
        session_duration: None,
        ..ClickstreamEvent::EMPTY
    };
    let mut value = Vec::new();
    encode_event(&event, &mut value);
    broker.append("events", 0, None, Some(&value), &[]).unwrap();
}

fn published(broker: &Broker) -> Vec<Live> {
    let values = broker.records("live", 0).into_iter().filter_map(|record| record.value);
    values.map(|value| Live::decode(&value).unwrap()).collect()
}

fn fixture() -> Broker {
    let broker = Broker::new(Clock::Manual(NOW));
    for topic in ["events", "blocks", "state", "live", "dead-letters"] {
        broker.create_topic(topic, 1);
    }
    broker
}

#[test]
fn a_timestamp_in_seconds_is_late_with_a_hint() {
    let broker = fixture();
    append(&broker, "one", NOW);
    append(&broker, "two", NOW / 1_000);
    let mut worker = worker(&broker, "first");
    for _ in 0..100 {
        worker.step(broker.now(), Duration::ZERO).unwrap();
        broker.advance(Duration::from_millis(100));
    }
    let dead = broker.records("dead-letters", 0);
    let header = |name: &str| {
        let headers = &dead[0].headers;
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!((dead.len(), header("reason").as_str()), (1, "late"));
    let detail = header("detail");
    assert!(detail.ends_with("; it looks like seconds, expected are milliseconds"), "{detail}");
}

/// `old`: the age of the events when they are read. Live values of an old log become empty like current ones.
fn falls_silent(old: i64) {
    let broker = fixture();
    let mut first = worker(&broker, "first");
    let run = |worker: &mut Worker<Windows, Member>, seconds: i64| {
        for _ in 0..seconds * 10 {
            worker.step(broker.now(), Duration::ZERO).unwrap();
            broker.advance(Duration::from_millis(100));
        }
    };
    run(&mut first, 10);
    append(&broker, "one", broker.now() - old);
    run(&mut first, 20);
    append(&broker, "two", broker.now() - old);
    run(&mut first, 1);
    assert_eq!(published(&broker).last().unwrap().site.users, 2);
    // 50 s after the first, 30 after the second.
    run(&mut first, 29);
    assert_eq!(published(&broker).last().unwrap().site.users, 2);
    run(&mut first, 20);
    assert_eq!(
        published(&broker).last().unwrap().site.users,
        1,
        "the first visitor has left the last minute"
    );
    run(&mut first, 20);
    let last = published(&broker).pop().unwrap();
    assert_eq!((last.site.users, last.pages.len(), last.earliest), (0, 0, None));
    // Nothing more can change, so nothing more is published.
    let before = published(&broker).len();
    run(&mut first, 60);
    assert_eq!(published(&broker).len(), before);
    // A new owner publishes once, because the previous one may not have.
    first.leave().unwrap();
    run(&mut worker(&broker, "second"), 20);
    assert_eq!(published(&broker).len(), before + 1);
}

#[test]
fn live_values_of_a_silent_site_are_empty_after_a_window() {
    falls_silent(0);
}

#[test]
fn live_values_of_an_old_log_are_empty_after_a_window() {
    falls_silent(365 * 86_400_000);
}
