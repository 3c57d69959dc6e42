//! A small pipeline: settings under which a few hundred events make many windows, visits and trends.

use std::time::Duration;

use weir_analytics::{Definitions, Settings};
use weir_events::{Decoder, Privacy, PrivacySettings};
use weir_memory::{Broker, MemberOptions};
use weir_processor::results::{Results, ResultsOptions};
use weir_processor::windows::{Windows, WindowsOptions};

use crate::dice::Dice;

pub const EVENTS: &str = "events";
pub const BLOCKS: &str = "shop.blocks";
pub const STATE: &str = "shop.state";
pub const DEAD_LETTERS: &str = "shop.dead-letters";
pub const RESULTS: &str = "results";
pub const TOP_PAGES: &str = "top-pages";

/// How far ahead of its record an event may be, milliseconds.
pub const MAX_FUTURE: i64 = 300_000;

/// The two stages: consumer group and input topic.
pub const STAGES: [(&str, &str); 2] = [("shop.windows", EVENTS), ("shop.results", BLOCKS)];

/// One pipeline. Times in milliseconds.
pub struct Setup {
    pub settings: Settings,
    pub inputs: i32,
    pub result_partitions: i32,
    pub idle_timeout: i64,
    pub session_timeout: i64,
    pub transaction_timeout: i64,
    /// Whether event times are close to the broker's clock, as on a live site; otherwise they are unrelated.
    pub is_live: bool,
    /// Whether some events are written in transactions, which stay open for a while and may be aborted.
    pub has_transactions: bool,
    /// Whether most events have ids, and some are sent again.
    pub has_ids: bool,
    /// As `weir process --until-end`: partitions are idle at once, and watermarks are advanced once all are.
    pub until_end: bool,
    /// Maximum bytes of a transaction: few, so that the windows sealed by one event need several.
    pub transaction_bytes: usize,
    /// Maximum bytes of a block's record: few, so that some blocks need several.
    pub block_bytes: usize,
}

impl Setup {
    pub fn draw(dice: &Dice) -> Self {
        let is_live = dice.chance(350);
        // With live events, silences last many seconds: baselines of short windows would decay below float precision.
        let slide =
            if is_live { dice.pick(&[1_000, 5_000]) } else { dice.pick(&[1, 7, 100, 1_000, 1_000, 5_000]) };
        let size = slide * dice.between(1, 8);
        Self {
            settings: Settings {
                size,
                slide,
                out_of_orderness: slide * dice.between(0, 3_000) / 1_000,
                session_gap: slide * dice.pick(&[100, 800, 3_000, 10_000, 30_000]) / 1_000,
                lanes: dice.between(1, 3) as i32,
                top: dice.between(1, 6) as usize,
                trending_half_life: (size * dice.between(500, 4_000) / 1_000).max(1),
                warm_up: dice.between(0, 3) as u32,
                duplicate_slack: slide * dice.between(0, 3),
                page_limit: 100_000,
                definitions: Definitions::NEWEST,
            },
            inputs: dice.between(1, 4) as i32,
            result_partitions: dice.between(1, 3) as i32,
            idle_timeout: dice.pick(&[500, 2_000, 6_000]),
            session_timeout: dice.between(2_000, 6_000),
            transaction_timeout: dice.pick(&[1_000, 4_000, 15_000]),
            until_end: dice.chance(150),
            transaction_bytes: dice.pick(&[600, 3_000, 4_000_000]),
            block_bytes: dice.pick(&[1, 150, 900_000]),
            is_live,
            has_transactions: dice.chance(250),
            has_ids: dice.chance(400),
        }
    }

    pub fn create_topics(&self, broker: &Broker) {
        broker.create_topic(EVENTS, self.inputs);
        broker.create_topic(BLOCKS, self.settings.lanes);
        broker.create_topic(STATE, self.inputs);
        broker.set_compacted(STATE).unwrap();
        broker.create_topic(DEAD_LETTERS, 1);
        broker.create_topic(RESULTS, self.result_partitions);
        broker.create_topic(TOP_PAGES, 1);
    }

    pub fn windows(&self) -> Windows {
        let options = WindowsOptions {
            settings: self.settings,
            max_future: MAX_FUTURE,
            idle_timeout: self.idle_timeout,
            stamped_by_broker: true,
            until_end: self.until_end,
            snapshot_every: self.settings.size,
            live: None,
            inputs: self.inputs,
            events: EVENTS.to_owned(),
            blocks: BLOCKS.to_owned(),
            state: STATE.to_owned(),
            dead_letters: DEAD_LETTERS.to_owned(),
            keep_payload: true,
            cut: None,
        };
        Windows::new(options, Decoder::new(), Privacy::new(PrivacySettings::default(), None).unwrap())
            .with_block_bytes(self.block_bytes)
    }

    pub fn results(&self) -> Results {
        Results::new(ResultsOptions {
            cut: None,
            ended_by: None,
            settings: self.settings,
            inputs: self.inputs,
            windows: STAGES[0].0.to_owned(),
            events: EVENTS.to_owned(),
            blocks: BLOCKS.to_owned(),
            results: RESULTS.to_owned(),
            result_partitions: self.result_partitions,
            top_pages: TOP_PAGES.to_owned(),
        })
    }

    /// Members as in `weir process`: static ones keep their name, others never reuse theirs.
    pub fn member(&self, (group, topic): (&str, &str), name: &str, is_static: bool) -> MemberOptions {
        MemberOptions {
            instance: is_static.then(|| name.to_owned()),
            session_timeout: Duration::from_millis(self.session_timeout as u64),
            transaction_timeout: Duration::from_millis(self.transaction_timeout as u64),
            ..MemberOptions::new(group, topic, &format!("{group}.{name}"))
        }
    }

    pub fn oracle(&self) -> weir_oracle::Settings {
        let Settings {
            size,
            slide,
            out_of_orderness,
            session_gap,
            lanes: _,
            top,
            trending_half_life,
            warm_up,
            duplicate_slack,
            page_limit,
            definitions,
        } = self.settings;
        weir_oracle::Settings {
            size,
            slide,
            out_of_orderness,
            session_gap,
            top,
            trending_half_life,
            warm_up,
            duplicate_slack,
            page_limit: Some(page_limit).filter(|_| definitions >= Definitions::V2),
            visits_span_users: definitions < Definitions::V2,
        }
    }
}
