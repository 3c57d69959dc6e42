//! Partitions that fall silent, step by step: one from the start, one after a while, in the end all.

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
/// Turns in which nothing is decided yet, and in which everything is.
const BEFORE: i64 = IDLE_TIMEOUT / Undisturbed::TURN;
const AFTER: i64 = 2 * BEFORE + 10;
const IDLE_TIMEOUT: i64 = 3_000;

struct Stage {
    setup: Setup,
    broker: Broker,
    process: Undisturbed,
    log: Vec<Written>,
}

impl Stage {
    fn new() -> Self {
        let setup = Setup {
            settings: Settings {
                size: 2_000,
                slide: 1_000,
                out_of_orderness: 0,
                session_gap: 5_000,
                lanes: 2,
                top: 3,
                trending_half_life: 10_000,
                warm_up: 1,
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
        };
        let broker = Broker::new(Clock::Manual(START));
        setup.create_topics(&broker);
        let process = Undisturbed::start(&setup, &broker, "first");
        Self { setup, broker, process, log: Vec::new() }
    }

    /// A view in a partition, so many milliseconds after the start.
    fn view(&mut self, partition: i32, timestamp: i64) {
        let user = format!("u{partition}");
        let event = Event {
            session: user.clone(),
            user: user.clone(),
            kind: Kind::View,
            page: "/".to_owned(),
            timestamp: START + timestamp,
            session_duration: None,
        };
        let (key, value) = (user.into_bytes(), Some(encoded(&event)));
        let offset = self.broker.append(EVENTS, partition, Some(&key), value.as_deref(), &[]).unwrap();
        let timestamp = self.broker.now();
        self.log.push(Written { partition, offset, timestamp, key, value, content: Ok(event) });
    }

    /// So many turns, in each of which partition 0 gets a view, half a second after the last one.
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

    /// The ends of the windows that are out, milliseconds after the start.
    fn ends(&self) -> Vec<i64> {
        let output = found::output(&self.broker, &self.setup).unwrap();
        output.rankings.into_keys().map(|end| end - START).collect()
    }

    fn advances(&self, partition: i32) -> Vec<WatermarkAdvance> {
        let advances = found::advances(&self.broker, self.setup.inputs);
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
fn silent_partitions_hold_nothing_back_for_longer_than_the_idle_timeout() {
    let mut stage = Stage::new();
    stage.view(1, 250);
    stage.turns_with_views(BEFORE);
    assert_eq!(stage.ends(), Vec::<i64>::new(), "partition 2, silent from the start, and 1 may still speak");
    assert!((0..3).all(|partition| stage.advances(partition).is_empty()));

    stage.turns_with_views(AFTER);
    let sealed = stage.advances(1).last().unwrap().watermark - START;
    assert!(
        sealed > 0 && sealed <= stage.last(),
        "partition 1 follows partition 0, which is at {}",
        stage.last()
    );
    let expected: Vec<i64> = (1..=sealed / 1_000).map(|end| end * 1_000).collect();
    assert_eq!(stage.ends(), expected, "all windows that partitions 1 and 2 were advanced over");
    assert_eq!(stage.advances(0), [], "partition 0 never was idle");

    // Another process takes over from the log. It repeats the decisions, and so finds the same events late.
    let taken = (stage.advances(1), stage.advances(2));
    stage.process = Undisturbed::start(&stage.setup, &stage.broker, "second");
    let begins_late = sealed / 1_000 * 1_000 - 2_000;
    stage.view(1, begins_late);
    stage.turns_with_views(BEFORE);
    assert_eq!((stage.advances(1), stage.advances(2)), taken, "no decision is taken, or logged, again");
    assert_eq!(stage.late(), [(1, 1)], "a decision makes late what comes after it");

    // Now all fall silent.
    let last_end = stage.last() / 1_000 * 1_000 + 2_000;
    stage.turns(AFTER);
    let expected: Vec<i64> = (1..=last_end / 1_000).map(|end| end * 1_000).collect();
    assert_eq!(stage.ends(), expected, "the last windows are sealed without any further event");
    for partition in 0..3 {
        let last = stage.advances(partition).last().copied();
        assert_eq!(last.map(|advance| advance.watermark - START), Some(last_end), "partition {partition}");
    }

    // And nothing more happens, neither by itself nor by yet another process.
    let all = found::advances(&stage.broker, stage.setup.inputs);
    stage.turns(AFTER);
    stage.process = Undisturbed::start(&stage.setup, &stage.broker, "third");
    stage.turns(AFTER);
    assert_eq!(found::advances(&stage.broker, stage.setup.inputs), all);

    let output = found::output(&stage.broker, &stage.setup).unwrap();
    expected::by_engine(&stage.setup, &stage.log, &all).output.compare(&output).unwrap();
    expected::check_by_oracle(&stage.setup, &stage.log, &all, &output).unwrap();
}
