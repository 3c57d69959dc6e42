//! Stage 1 on the in-memory log: idle partitions, bounded logs that continue, wrong clocks, commit metadata.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_analytics::{Block, Settings};
use weir_events::{
    ClickstreamEvent, Decoder, EventType, IdPolicy, Privacy, PrivacySettings, encode_event, partition_of,
};
use weir_log::{Committed, Error, Member as _, Output, PartitionProgress, Rebalance};
use weir_memory::{Broker, Clock, Fault, Member, MemberOptions};
use weir_processor::windows::{EndOfLog, Windows, WindowsOptions};
use weir_processor::worker::Worker;

const START: i64 = 1_700_000_000_000;
/// Duration of a turn, milliseconds.
const TURN: i64 = 500;

struct Fixture {
    broker: Broker,
    inputs: i32,
    /// By how much the processes' clocks are ahead of the broker's.
    skew: i64,
    until_end: bool,
    max_future: i64,
    privacy: PrivacySettings,
    key: &'static str,
    processes: u32,
}

impl Fixture {
    fn new(inputs: i32) -> Self {
        let broker = Broker::new(Clock::Manual(START));
        broker.create_topic("events", inputs);
        broker.create_topic("blocks", 1);
        broker.create_topic("state", inputs);
        broker.set_compacted("state").unwrap();
        broker.create_topic("dead-letters", 1);
        Self {
            broker,
            inputs,
            skew: 0,
            until_end: false,
            max_future: 300_000,
            privacy: PrivacySettings::default(),
            key: "secret",
            processes: 0,
        }
    }

    /// A new process, with default windows.
    fn worker(&mut self) -> Worker<Windows, Member> {
        self.processes += 1;
        let options = WindowsOptions {
            settings: Settings::default(),
            max_future: self.max_future,
            idle_timeout: 30_000,
            inputs: self.inputs,
            stamped_by_broker: true,
            until_end: self.until_end,
            snapshot_every: 300_000,
            events: "events".to_owned(),
            blocks: "blocks".to_owned(),
            state: "state".to_owned(),
            live: None,
            dead_letters: "dead-letters".to_owned(),
            keep_payload: true,
        };
        let privacy = Privacy::new(self.privacy, Some(self.key.as_bytes())).unwrap();
        let id = format!("id-{}", self.processes);
        let member = self.broker.member(MemberOptions::new("group", "events", &id));
        Worker::new(Windows::new(options, Decoder::new(), privacy), member)
    }

    /// Appends a view, by default to its user's partition.
    fn view(&self, user: &str, timestamp: i64, partition: Option<i32>) {
        let partition = partition.unwrap_or_else(|| partition_of(user.as_bytes(), self.inputs));
        self.broker.append("events", partition, None, Some(&encoded(user, timestamp)), &[]).unwrap();
    }

    fn turn(&self, worker: &mut Worker<Windows, Member>) -> Result<(), Error> {
        self.broker.advance(Duration::from_millis(TURN as u64));
        worker.step(self.broker.now() + self.skew, Duration::ZERO)
    }

    fn pass(&self, worker: &mut Worker<Windows, Member>, time: i64) {
        for _ in 0..time / TURN {
            self.turn(worker).unwrap();
        }
    }

    /// Runs `weir process --until-end` to the end of the log. Returns the end of the last window.
    fn end(&mut self) -> Option<i64> {
        self.until_end = true;
        let mut worker = self.worker();
        self.until_end = false;
        for _ in 0..200 {
            self.turn(&mut worker).unwrap();
            if let Some(last) = worker.stage().end_of_log() {
                worker.leave().unwrap();
                return last.last_window_end();
            }
        }
        panic!("not at the end after 200 turns: {:?}", self.progress());
    }

    fn progress(&self) -> Vec<PartitionProgress> {
        let mut observer = self.broker.member(MemberOptions::new("group", "events", "observer"));
        let committed = observer.committed().unwrap().into_iter().flatten();
        committed.map(|committed| serde_json::from_str(&committed.metadata).unwrap()).collect()
    }

    fn total(&self, figure: impl Fn(&PartitionProgress) -> u64) -> u64 {
        self.progress().iter().map(figure).sum()
    }

    /// Views in all sealed windows, and the maximum time that a window was sealed too early, milliseconds.
    fn sealed(&self) -> (u64, i64) {
        let (mut views, mut early) = (0, i64::MIN);
        for record in self.broker.records("blocks", 0) {
            let block = Block::decode(&record.value.unwrap()).unwrap();
            views += block.site.views;
            early = early.max(block.end + Settings::default().out_of_orderness - record.timestamp);
        }
        (views, early)
    }

    /// Commits an offset and metadata as another program or an earlier process would.
    fn commit(&self, offset: i64, metadata: &str) {
        let mut before = self.broker.member(MemberOptions::new("group", "events", "before"));
        for _ in 0..3 {
            if let Some(Rebalance::Assigned(_)) = before.poll(1, Duration::ZERO, &mut |_| ()).unwrap() {
                before.assign(&[(0, 0)]).unwrap();
            }
        }
        before.begin().unwrap();
        before.commit(&[(0, Committed { offset, metadata: metadata.to_owned() })]).unwrap();
        before.leave().unwrap();
    }

    fn journal(&self) -> usize {
        let state = |partition| self.broker.records("state", partition);
        (0..self.inputs).flat_map(state).filter(|record| record.value.is_some()).count()
    }
}

fn encoded(user: &str, timestamp: i64) -> Vec<u8> {
    let mut value = Vec::new();
    encode_event(
        &ClickstreamEvent {
            user_id: user,
            session_id: user,
            event_type: EventType::View,
            page_url: "/",
            product_id: None,
            timestamp,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        },
        &mut value,
    );
    value
}

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
    assert!(why.contains("max future 300000 ms") && why.contains("max future 60000 ms"), "{why}");
    assert!(!why.contains("slide"), "only what differs: {why}");
    fixture.max_future = 300_000;

    for topic in ["events", "state"] {
        fixture.broker.add_partitions(topic, 2).unwrap();
    }
    fixture.inputs = 2;
    let why = refusal(&mut fixture).unwrap();
    assert!(why.contains("event partitions 1") && why.contains("event partitions 2"), "{why}");
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
    assert!(why.contains("user_id Hash") && why.contains("user_id Keep"), "{why}");
    fixture.privacy.user_id = IdPolicy::Hash;
    assert_eq!(refusal(&mut fixture), None);
}

/// The metadata committed by release 0.1 and by this one, without and with a declared end.
const EARLIER: &str = include_str!("../../log/tests/golden/partition-progress-1.json");
const NOW: &str = include_str!("../../log/tests/golden/partition-progress-2.json");
const ENDED: &str = include_str!("../../log/tests/golden/partition-progress-3.json");

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

/// A view with an id, which makes it an event of version 2.
fn encoded_with_id(user: &str, event_id: &str, timestamp: i64) -> Vec<u8> {
    let mut value = Vec::new();
    encode_event(
        &ClickstreamEvent {
            user_id: user,
            session_id: user,
            page_url: "/",
            timestamp,
            event_id: Some(event_id),
            ..ClickstreamEvent::EMPTY
        },
        &mut value,
    );
    value
}

/// A commit of this release, with what it has beyond earlier ones.
const VERSION_2: &str = include_str!("../../log/tests/golden/partition-progress-4.json");

#[test]
fn a_stored_commit_after_version_2_is_read() {
    let stored: PartitionProgress = serde_json::from_str(VERSION_2).unwrap();
    assert_eq!((stored.duplicates, stored.version_2_from), (1, Some(2)));
    assert_eq!(serde_json::to_string(&stored).unwrap(), VERSION_2.trim());
}

#[test]
fn version_2_events_that_an_earlier_release_refused_stay_refused() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, Some(0));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    worker.leave().unwrap();
    let before = fixture.progress().remove(0);
    assert!(before.counted == 1 && before.from <= 1, "a restart reads again what comes now: {before:?}");
    // As a release that knows version 1 alone: invalid, and committed as that.
    fixture.broker.append("events", 0, None, Some(&encoded_with_id("b", "1", START + 1_000)), &[]).unwrap();
    let refused = PartitionProgress { read: before.read + 1, dead: before.dead + 1, ..before };
    fixture.commit(2, &serde_json::to_string(&refused).unwrap());
    // From here on they are counted, once each, and releases before refuse to continue.
    for _ in 0..2 {
        fixture
            .broker
            .append("events", 0, None, Some(&encoded_with_id("c", "1", START + 2_000)), &[])
            .unwrap();
    }
    fixture.end();
    let progress = fixture.progress().remove(0);
    assert_eq!(
        (progress.read, progress.counted, progress.dead, progress.duplicates),
        (4, 2, 1, 1),
        "{progress:?}"
    );
    let stored: PartitionProgress = serde_json::from_str(VERSION_2).unwrap();
    assert_eq!(progress.settings, stored.settings, "{progress:?}");
    assert_eq!((progress.version_2_from, fixture.sealed().0), (Some(2), 2 * 30), "{progress:?}");
}

#[test]
fn they_stay_refused_after_version_2_was_read() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, Some(0));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    // The next snapshot is due five minutes of event time after this one, so that what comes now is read again each time.
    drop(worker);
    fixture.broker.advance(Duration::from_secs(60));
    let before = fixture.progress().remove(0);
    assert_eq!((before.counted, before.from, before.snapshot), (1, 1, true));
    fixture.broker.append("events", 0, None, Some(&encoded_with_id("b", "1", START + 1_000)), &[]).unwrap();
    let refused = PartitionProgress { read: before.read + 1, dead: before.dead + 1, ..before };
    fixture.commit(2, &serde_json::to_string(&refused).unwrap());
    fixture.broker.append("events", 0, None, Some(&encoded_with_id("c", "1", START + 1_000)), &[]).unwrap();
    for _ in 0..2 {
        let mut worker = fixture.worker();
        fixture.pass(&mut worker, 5_000);
        drop(worker);
        fixture.broker.advance(Duration::from_secs(60));
    }
    let progress = fixture.progress().remove(0);
    assert_eq!((progress.from, progress.version_2_from), (1, Some(2)), "it is read again: {progress:?}");
    fixture.end();
    let progress = fixture.progress().remove(0);
    let counts = (progress.read, progress.counted, progress.dead, progress.duplicates);
    assert_eq!((counts, fixture.sealed().0), ((3, 2, 1, 0), 2 * 30), "{progress:?}");
}

#[test]
fn duplicates_do_not_end_a_silence() {
    let mut fixture = Fixture::new(2);
    let mut worker = fixture.worker();
    // A monitor that gives all its events one id. Only the first counts, and none of the others moves the watermark.
    for _ in 0..60 {
        // Two at a time: between them the end of the log is not seen.
        for _ in 0..2 {
            let value = encoded_with_id("monitor", "always", fixture.broker.now());
            fixture.broker.append("events", 0, None, Some(&value), &[]).unwrap();
        }
        fixture.pass(&mut worker, 10_000);
    }
    let progress = fixture.progress().remove(0);
    assert_eq!((progress.counted, progress.duplicates), (1, 119), "{progress:?}");
    let (views, early) = fixture.sealed();
    assert_eq!(views, 30, "the window is sealed by the clock, as in a silence");
    assert!(early <= 0, "{early}");
}
