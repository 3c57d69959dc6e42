//! Idle partitions, step by step: one from the start, one after a while, finally all.

use weir_analytics::Settings;
use weir_memory::{Broker, Clock};
use weir_oracle::{Event, Kind};

use crate::{
    expected::{self, Undisturbed},
    found::{self, WatermarkAdvance},
    setup::{EVENTS, Setup},
    visitors::{Written, encoded},
};

const START: i64 = 1_700_000_000_000;
/// Turns within the idle timeout, and turns until all watermarks are advanced.
const BEFORE: i64 = IDLE_TIMEOUT / Undisturbed::TURN;
const AFTER: i64 = 2 * BEFORE + 10;
const IDLE_TIMEOUT: i64 = 3_000;

struct Fixture {
    setup: Setup,
    broker: Broker,
    process: Undisturbed,
    log: Vec<Written>,
}

impl Fixture {
    fn new() -> Self {
        let setup = Setup {
            generation: 1,
            cut: None,
            has_generations: false,
            deletes_events: false,
            max_future: 300_000,
            settings: Settings {
                size: 2_000,
                slide: 1_000,
                out_of_orderness: 0,
                session_gap: 5_000,
                lanes: 2,
                top: 3,
                trending_half_life: 10_000,
                warm_up: 1,
                duplicate_slack: 0,
                ..Settings::default()
            },
            inputs: 3,
            result_partitions: 2,
            idle_timeout: IDLE_TIMEOUT,
            session_timeout: 2_000,
            transaction_timeout: 2_000,
            transaction_bytes: 4_000_000,
            block_bytes: 900_000,
            until_end: false,
            is_live: false,
            has_transactions: false,
            has_ids: false,
            planted: None,
        };
        let broker = Broker::new(Clock::Manual(START));
        setup.create_topics(&broker);
        let process = Undisturbed::start(&setup, &broker, "first");
        Self { setup, broker, process, log: Vec::new() }
    }

    /// Appends a view to a partition, `timestamp` milliseconds after the start.
    fn view(&mut self, partition: i32, timestamp: i64) {
        let user = format!("u{partition}");
        let event = Event {
            session: user.clone(),
            user: user.clone(),
            kind: Kind::View,
            page: "/".to_owned(),
            timestamp: START + timestamp,
            session_duration: None,
            event_id: None,
        };
        let (key, value) = (user.into_bytes(), Some(encoded(&event)));
        let offset = self.broker.append(EVENTS, partition, Some(&key), value.as_deref(), &[]).unwrap();
        let timestamp = self.broker.now();
        self.log.push(Written { partition, offset, timestamp, key, value, content: Ok(event) });
    }

    /// Turns in each of which partition 0 gets a view, half a second of event time after the last one.
    fn turns_with_views(&mut self, turns: i64) {
        for _ in 0..turns {
            let next = self.log.iter().filter(|record| record.partition == 0).count() as i64 * 500;
            self.view(0, next);
            self.process.turn(&self.broker).unwrap();
        }
    }

    fn turns(&mut self, turns: i64) {
        for _ in 0..turns {
            self.process.turn(&self.broker).unwrap();
        }
    }

    /// The ends of the emitted windows, milliseconds after the start.
    fn ends(&self) -> Vec<i64> {
        let output = found::output(&self.broker, &self.setup).unwrap();
        output.rankings.into_keys().map(|end| end - START).collect()
    }

    fn advances(&self, partition: i32) -> Vec<WatermarkAdvance> {
        let advances = found::advances(&self.broker, &self.setup);
        advances.into_iter().filter(|advance| advance.partition == partition).collect()
    }

    fn late(&self) -> Vec<(i32, i64)> {
        found::output(&self.broker, &self.setup).unwrap().dead_letters.into_keys().collect()
    }

    /// The timestamp of the last view in partition 0.
    fn last(&self) -> i64 {
        (self.log.iter().filter(|record| record.partition == 0).count() as i64 - 1) * 500
    }
}

#[test]
fn idle_partitions_hold_back_results_for_at_most_the_idle_timeout() {
    let mut fixture = Fixture::new();
    fixture.view(1, 250);
    fixture.turns_with_views(BEFORE);
    assert_eq!(fixture.ends(), Vec::<i64>::new(), "partitions 1 and 2 are not idle yet");
    assert!((0..3).all(|partition| fixture.advances(partition).is_empty()));

    fixture.turns_with_views(AFTER);
    let sealed = fixture.advances(1).last().unwrap().watermark - START;
    assert!(
        sealed > 0 && sealed <= fixture.last(),
        "partition 1 follows partition 0, which is at {}",
        fixture.last()
    );
    let expected: Vec<i64> = (1..=sealed / 1_000).map(|end| end * 1_000).collect();
    assert_eq!(fixture.ends(), expected, "all windows that partitions 1 and 2 were advanced over");
    assert_eq!(fixture.advances(0), [], "partition 0 was never idle");

    // Another process takes over and repeats the watermark advances, so the same events are late.
    let taken = (fixture.advances(1), fixture.advances(2));
    fixture.process = Undisturbed::start(&fixture.setup, &fixture.broker, "second");
    let begins_late = sealed / 1_000 * 1_000 - 2_000;
    fixture.view(1, begins_late);
    fixture.turns_with_views(BEFORE);
    assert_eq!((fixture.advances(1), fixture.advances(2)), taken, "no watermark advance is logged again");
    assert_eq!(fixture.late(), [(1, 1)], "events behind an advanced watermark are late");

    // Now all partitions are silent.
    let last_end = fixture.last() / 1_000 * 1_000 + 2_000;
    fixture.turns(AFTER);
    let expected: Vec<i64> = (1..=last_end / 1_000).map(|end| end * 1_000).collect();
    assert_eq!(fixture.ends(), expected, "the last windows are sealed without any further event");
    for partition in 0..3 {
        let last = fixture.advances(partition).last().copied();
        assert_eq!(last.map(|advance| advance.watermark - START), Some(last_end), "partition {partition}");
    }

    // After that nothing more is logged, not even by another process.
    let all = found::advances(&fixture.broker, &fixture.setup);
    fixture.turns(AFTER);
    fixture.process = Undisturbed::start(&fixture.setup, &fixture.broker, "third");
    fixture.turns(AFTER);
    assert_eq!(found::advances(&fixture.broker, &fixture.setup), all);

    let output = found::output(&fixture.broker, &fixture.setup).unwrap();
    expected::by_engine(&fixture.setup, &fixture.log, &all).output.compare(&output).unwrap();
    expected::check_by_oracle(&fixture.setup, &fixture.log, &all, &output, None).unwrap();
}
