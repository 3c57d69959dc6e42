//! Stage 1 on the in-memory log: idle partitions, bounded logs that continue, wrong clocks, commit metadata.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod definitions;
mod fixture;
mod partly_written;
mod version_2;

use std::time::Duration;

use fixture::{Fixture, START, encoded};
use weir_analytics::Settings;
use weir_events::{IdPolicy, partition_of};
use weir_log::{Error, Member as _, Output, PartitionProgress};
use weir_memory::{Fault, MemberOptions};
use weir_processor::windows::EndOfLog;

/// One event every `every` milliseconds for half an hour, with a process's clock ahead by `skew`.
fn quiet_site(every: i64, skew: i64) {
    let mut fixture = Fixture::new(6);
    fixture.skew = skew;
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    let events = 1_800_000 / every;
    for i in 0..events {
        fixture.view(&format!("u{}", i * 7 % 23), fixture.broker.now() - 2_000 * (i % 10), None);
        fixture.pass(&mut worker, every);
        if i == events / 2 {
            // Another process takes over from the commits.
            worker.leave().unwrap();
            worker = fixture.worker();
        }
    }
    // The last window, and a margin for the delay between a record's timestamp and its reading.
    fixture.pass(&mut worker, 400_000 + every);
    let case = format!("one event every {every} ms, clock ahead by {skew} ms");
    assert_eq!(fixture.total(|partition| partition.counted), events as u64, "{case}");
    assert_eq!(fixture.total(|partition| partition.late + partition.partly_late), 0, "{case}");
    let (views, early) = fixture.sealed();
    assert_eq!(views, events as u64 * 30, "{case}: each event is in each of its 30 windows");
    assert!(early <= 0, "{case}: a window was sealed {early} ms before its time");
    // At most one watermark advance per slide, and a snapshot deletes those before it.
    for partition in 0..6 {
        fixture.broker.compact("state", partition).unwrap();
    }
    assert!(fixture.journal() <= 6 * 34, "{case}: {} records of state", fixture.journal());
}

#[test]
fn events_of_a_quiet_site_are_counted_in_all_their_windows() {
    for every in [20_000, 45_000, 130_000, 450_000] {
        quiet_site(every, 0);
    }
}

#[test]
fn no_window_is_sealed_early_by_a_wrong_clock() {
    quiet_site(45_000, 3_600_000);
    quiet_site(130_000, 20_000);
    quiet_site(45_000, -20_000);
}

#[test]
fn an_event_stamped_ahead_of_the_clock_makes_no_others_late() {
    let mut fixture = Fixture::new(2);
    let mut worker = fixture.worker();
    // Partition 1 is silent, and partition 0 busy with events five minutes ahead of the clock.
    for _ in 0..200 {
        fixture.view("ahead", fixture.broker.now() + 299_000, Some(0));
        fixture.pass(&mut worker, 1_000);
    }
    fixture.view("in time", fixture.broker.now(), Some(1));
    fixture.pass(&mut worker, 1_000);
    assert_eq!(fixture.total(|partition| partition.late + partition.partly_late), 0);
}

#[test]
fn until_end_reads_to_the_current_end_of_the_log() {
    let mut fixture = Fixture::new(3);
    assert_eq!(fixture.end(), None, "an empty log");
    for round in 1..=3 {
        let timestamp = START - 7_200_000 + round * 600_000;
        for user in 0..30 {
            fixture.view(&format!("u{user}"), timestamp + user, None);
        }
        let last = Settings::default().last_window_end(timestamp);
        assert_eq!(fixture.end(), Some(last), "run {round} reads the events since the previous one");
        assert_eq!(fixture.total(|partition| partition.counted), 30 * round as u64);
        assert_eq!(fixture.sealed().0, 30 * 30 * round as u64);
    }
    // A late event is read and counted as late.
    fixture.view("late", START - 7_200_000, None);
    fixture.end();
    assert_eq!(fixture.total(|partition| partition.late), 1);
}

#[test]
fn events_after_the_declared_end_are_counted_as_such() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, None);
    fixture.end();
    assert!(fixture.progress()[0].ended, "sealed ahead of the clock");
    // The log continues: the event misses windows because of the declared end.
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 20_000);
    fixture.view("b", fixture.broker.now(), None);
    fixture.pass(&mut worker, 2_000);
    let partition = fixture.progress().remove(0);
    assert!(
        partition.ended && partition.partly_late == 1 && !partition.not_whole.is_empty(),
        "{partition:?}"
    );
    assert_eq!(worker.stage().committed_outcomes().after_end, 1);
    // The first would have missed all of its windows anyway, the second some of them.
    fixture.view("far too late", START - 3_600_000, None);
    fixture.view("too late", START - 100_000, None);
    fixture.pass(&mut worker, 2_000);
    let partition = fixture.progress().remove(0);
    assert_eq!((partition.late, partition.partly_late), (2, 1), "{partition:?}");
    assert_eq!(
        worker.stage().committed_outcomes().after_end,
        2,
        "the second misses more windows because of the declared end"
    );
    // The clock reaches the declared end.
    fixture.pass(&mut worker, 400_000);
    assert!(!fixture.progress()[0].ended);
    fixture.view("c", fixture.broker.now(), None);
    fixture.pass(&mut worker, 2_000);
    assert_eq!(fixture.progress()[0].partly_late, 1, "later windows miss no events");
}

#[test]
fn a_declared_end_is_kept_while_state_is_restored() {
    // More than one turn reads, so that a tick happens during the replay.
    const EVENTS: i64 = 25_000;
    let mut fixture = Fixture::new(1);
    for _ in 0..EVENTS {
        fixture.view("a", START, None);
    }
    let settings = serde_json::from_str::<PartitionProgress>(NOW).unwrap().settings;
    let sealed = Some(START + 300_000);
    let partition = PartitionProgress {
        settings,
        watermark: sealed,
        sealed,
        last_end: sealed,
        ended: true,
        ..PartitionProgress::default()
    };
    fixture.commit(EVENTS, &serde_json::to_string(&partition).unwrap());
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    fixture.view("b", START, None);
    fixture.pass(&mut worker, 2_000);
    let after = fixture.progress().remove(0);
    assert!(after.read == 1 && after.ended, "{after:?}");
}

#[test]
fn outcomes_of_a_lost_commit_are_counted_once() {
    let mut fixture = Fixture::new(1);
    let mut worker = fixture.worker();
    for fault in [None, Some(Fault::CommitLost), Some(Fault::CommitLost)] {
        let aborts = worker.counts().aborts;
        if let Some(fault) = fault {
            fixture.broker.inject("id-1", fault);
        }
        fixture.view("a", fixture.broker.now(), None);
        // Too old for any window, once the first is read.
        fixture.view("late", START - 86_400_000, None);
        fixture.pass(&mut worker, 20_000);
        assert_eq!(worker.counts().aborts, aborts + u64::from(fault.is_some()));
    }
    let outcomes = worker.stage().committed_outcomes();
    assert_eq!((outcomes.read, outcomes.counted, outcomes.late), (6, 3, 3), "{outcomes:?}");
    assert_eq!(fixture.total(|partition| partition.read), 6);
}

#[test]
fn an_offset_that_another_program_set_is_refused() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, None);
    fixture.commit(0, "");
    let why = refusal(&mut fixture).unwrap();
    assert!(why.contains("events/0 was set by another program") && why.contains("begin afresh"), "{why}");
}

#[test]
fn an_old_log_is_not_sealed_ahead_of_the_clock() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START - 3_600_000, None);
    fixture.end();
    assert!(!fixture.progress()[0].ended);
}

#[test]
fn a_partition_held_back_by_an_open_transaction_is_not_idle() {
    let mut fixture = Fixture::new(2);
    let mut worker = fixture.worker();
    let mut producer = fixture.broker.member(MemberOptions {
        transaction_timeout: Duration::from_secs(900),
        ..MemberOptions::new("producers", "events", "producer")
    });
    fixture.view("other", fixture.broker.now(), Some(1));
    fixture.pass(&mut worker, 2_000);
    producer.begin().unwrap();
    let sent = fixture.broker.now();
    for i in 0..20 {
        let value = encoded("held", fixture.broker.now());
        producer
            .send(Output {
                topic: "events".to_owned(),
                partition: 0,
                key: None,
                value: Some(value),
                headers: Vec::new(),
            })
            .unwrap();
        fixture.view(&format!("other{i}"), fixture.broker.now(), Some(1));
        fixture.pass(&mut worker, 20_000);
    }
    let partition = fixture.progress().remove(0);
    assert!(!partition.idle && partition.sealed.is_none_or(|sealed| sealed <= sent), "{partition:?}");
    producer.commit(&[]).unwrap();
    fixture.pass(&mut worker, 2_000);
    assert_eq!(fixture.total(|partition| partition.late + partition.partly_late), 0);
    assert_eq!(fixture.total(|partition| partition.counted), 41);
}

#[test]
fn a_log_does_not_end_in_an_open_transaction() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, None);
    let mut producer = fixture.broker.member(MemberOptions::new("producers", "events", "producer"));
    producer.begin().unwrap();
    let value = encoded("held", START);
    let output = Output {
        topic: "events".to_owned(),
        partition: 0,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    };
    producer.send(output).unwrap();
    fixture.until_end = true;
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 10_000);
    assert_eq!(worker.stage().end_of_log(), None);
    assert_eq!(worker.stage().committed_outcomes().held_back, [(0, 1)]);
    // The broker aborts it after 15 s.
    fixture.pass(&mut worker, 10_000);
    assert_eq!(
        worker.stage().end_of_log(),
        Some(EndOfLog::Sealed(Settings::default().last_window_end(START)))
    );
    assert_eq!(
        (worker.stage().committed_outcomes().counted, worker.stage().committed_outcomes().held_back.len()),
        (1, 0)
    );
}

#[test]
fn misplaced_events_are_counted_once() {
    let mut fixture = Fixture::new(4);
    fixture.privacy.user_id = IdPolicy::Hash;
    for i in 0..40 {
        let user = format!("u{i}");
        let own = partition_of(user.as_bytes(), 4);
        fixture.view(&user, START, Some(if i % 4 == 0 { (own + 1) % 4 } else { own }));
    }
    for _ in 0..3 {
        let mut worker = fixture.worker();
        fixture.pass(&mut worker, 3_000);
        worker.leave().unwrap();
    }
    assert_eq!(
        fixture.total(|partition| partition.misplaced),
        10,
        "by the raw id, and not again after a restart"
    );
}

/// Starts a process over existing state, and returns why it refuses.
fn refusal(fixture: &mut Fixture) -> Option<String> {
    let mut worker = fixture.worker();
    let refused = (0..10).find_map(|_| fixture.turn(&mut worker).err());
    let _ = worker.leave();
    match refused {
        Some(Error::Fatal(why)) => Some(why.to_string()),
        Some(other) => panic!("{other}"),
        None => None,
    }
}

#[test]
fn a_change_of_decisive_settings_is_refused_by_name() {
    let mut fixture = Fixture::new(1);
    fixture.privacy.user_id = IdPolicy::Hash;
    fixture.view("a", START, None);
    assert_eq!(refusal(&mut fixture), None);
    let metadata = serde_json::to_string(&fixture.progress()).unwrap();
    assert!(!metadata.contains(fixture.key));

    fixture.max_future = 60_000;
    let why = refusal(&mut fixture).unwrap();
    assert!(why.contains("maxFuture 5m") && why.contains("maxFuture 1m"), "{why}");
    assert!(!why.contains("slide"), "only what differs: {why}");
    fixture.max_future = 300_000;

    for topic in ["events", "state"] {
        fixture.broker.add_partitions(topic, 2).unwrap();
    }
    fixture.inputs = 2;
    let why = refusal(&mut fixture).unwrap();
    assert!(why.contains("events.partitions 1") && why.contains("events.partitions 2"), "{why}");
}

#[test]
fn another_key_is_refused_without_revealing_it() {
    let mut fixture = Fixture::new(1);
    fixture.privacy.user_id = IdPolicy::Hash;
    fixture.view("a", START, None);
    assert_eq!(refusal(&mut fixture), None);
    fixture.key = "another";
    let why = refusal(&mut fixture).unwrap();
    assert!(
        why.matches("pii key").count() == 2 && !why.contains("another") && !why.contains("secret"),
        "{why}"
    );
    fixture.key = "secret";

    fixture.privacy.user_id = IdPolicy::Keep;
    let why = refusal(&mut fixture).unwrap();
    assert!(why.contains("pii.userId Hash") && why.contains("pii.userId Keep"), "{why}");
    fixture.privacy.user_id = IdPolicy::Hash;
    assert_eq!(refusal(&mut fixture), None);
}

/// The metadata committed by release 0.1 and by this one, without and with a declared end.
const EARLIER: &str = include_str!("../../../log/tests/golden/partition-progress-1.json");
const NOW: &str = include_str!("../../../log/tests/golden/partition-progress-2.json");
const ENDED: &str = include_str!("../../../log/tests/golden/partition-progress-3.json");

#[test]
fn a_commit_of_the_previous_release_is_read_and_upgraded() {
    let mut fixture = Fixture::new(1);
    fixture.commit(0, EARLIER.trim());
    fixture.view("a", START, Some(0));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 2_000);
    let partition = fixture.progress().remove(0);
    let now: PartitionProgress = serde_json::from_str(NOW).unwrap();
    assert_eq!((partition.read, &partition.settings), (1, &now.settings));
    let ended: PartitionProgress = serde_json::from_str(ENDED).unwrap();
    assert_eq!(ended.before_end, Some(1_699_999_960_000));
    for (partition, golden) in [(now, NOW), (ended, ENDED)] {
        assert_eq!(serde_json::to_string(&partition).unwrap(), golden.trim(), "the format is unchanged");
    }
}
