//! A small pipeline: settings under which a few hundred events make many windows, visits and trends.

use std::time::Duration;

use weir_analytics::{DecisiveSettings, Definitions, Settings};
use weir_events::{Decoder, Privacy, PrivacySettings};
use weir_memory::{Broker, MemberOptions};
use weir_processor::results::{Results, ResultsOptions};
use weir_processor::windows::{Windows, WindowsOptions};

use crate::{dice::Dice, planted::Planted};

pub const EVENTS: &str = "events";
pub const RESULTS: &str = "results";
pub const TOP_PAGES: &str = "top-pages";
pub const GENERATIONS: &str = "shop.generations";

/// How far ahead of its record an event may be where no events are deleted, milliseconds.
const MAX_FUTURE: i64 = 300_000;
/// Sizes of windows in slides, at most.
const MAX_SLIDES: i64 = 8;

/// One pipeline, in one of its generations. Times in milliseconds.
#[derive(Clone)]
pub struct Setup {
    /// The number of the generation, and the end up to which those before told windows.
    pub generation: u32,
    pub cut: Option<i64>,
    pub settings: Settings,
    /// Whether settings change.
    pub has_generations: bool,
    /// Whether events are deleted that a later generation would need.
    pub deletes_events: bool,
    /// How far ahead of its record an event may be.
    pub max_future: i64,
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
    pub planted: Option<Planted>,
}

impl Setup {
    pub fn draw(dice: &Dice) -> Self {
        let is_live = dice.chance(350);
        let has_generations = dice.chance(300);
        let deletes_events = is_live && has_generations && dice.chance(700);
        let settings = Self::settings(dice, is_live, deletes_events);
        Self {
            generation: 1,
            cut: None,
            settings,
            has_generations,
            deletes_events,
            max_future: if deletes_events { dice.pick(&[0, 300, 2_000]) } else { MAX_FUTURE },
            inputs: dice.between(1, 4) as i32,
            result_partitions: dice.between(1, 3) as i32,
            idle_timeout: dice.pick(&[500, 2_000, 6_000]),
            session_timeout: dice.between(2_000, 6_000),
            transaction_timeout: dice.pick(&[1_000, 4_000, 15_000]),
            until_end: !has_generations && dice.chance(150),
            transaction_bytes: dice.pick(&[600, 3_000, 4_000_000]),
            block_bytes: dice.pick(&[1, 150, 900_000]),
            is_live,
            has_transactions: dice.chance(250),
            has_ids: dice.chance(400),
            planted: None,
        }
    }

    /// Settings for one generation.
    fn settings(dice: &Dice, is_live: bool, deletes_events: bool) -> Settings {
        // With live events, silences last many seconds: baselines of short windows would decay below float precision.
        let slide = match () {
            () if deletes_events => 1_000,
            () if is_live => dice.pick(&[1_000, 5_000]),
            () => dice.pick(&[1, 7, 100, 1_000, 1_000, 5_000]),
        };
        // Where events are deleted, so short that windows are out of their reach.
        let reach = if deletes_events { 3 } else { MAX_SLIDES };
        let size = slide * dice.between(1, reach);
        Settings {
            size,
            slide,
            out_of_orderness: slide * dice.between(0, reach.min(3) * 1_000) / 1_000,
            session_gap: slide
                * dice.pick(&[100, 800, 3_000, 10_000, 30_000][..if deletes_events { 3 } else { 5 }])
                / 1_000,
            lanes: dice.between(1, 3) as i32,
            top: dice.between(1, 6) as usize,
            trending_half_life: (size * dice.between(500, 4_000) / 1_000).max(1),
            warm_up: dice.between(0, 3) as u32,
            duplicate_slack: slide * dice.between(0, reach.min(3)),
            page_limit: 100_000,
            definitions: Definitions::NEWEST,
        }
    }

    /// The next generation after `before`: with other settings, or again with those of an earlier one.
    pub fn next(before: &[Self], dice: &Dice) -> Self {
        let last = &before[before.len() - 1];
        let earlier = &before[dice.below(before.len())];
        let settings = if dice.chance(300) && earlier.settings != last.settings {
            earlier.settings
        } else {
            Self::settings(dice, last.is_live, last.deletes_events)
        };
        Self { generation: last.generation + 1, settings, ..last.clone() }
    }

    /// The generation with its cut.
    pub fn after(&self, cut: Option<i64>) -> Self {
        Self { cut, ..self.clone() }
    }

    fn own(&self, suffix: &str) -> String {
        match self.generation {
            1 => format!("shop.{suffix}"),
            number => format!("shop.{suffix}.{number}"),
        }
    }

    pub fn blocks(&self) -> String {
        self.own("blocks")
    }

    pub fn state(&self) -> String {
        self.own("state")
    }

    pub fn dead_letters(&self) -> String {
        self.own("dead-letters")
    }

    /// A stage's consumer group and input topic.
    pub fn stage(&self, stage: usize) -> (String, String) {
        match stage {
            0 => (self.own("windows"), EVENTS.to_owned()),
            _ => (self.own("results"), self.blocks()),
        }
    }

    /// The settings as text, as they are recorded.
    pub fn decisive(&self) -> String {
        DecisiveSettings::new(&self.settings, self.max_future, &privacy(), self.inputs)
            .committed(true)
            .to_owned()
    }

    /// Creates the topics of the pipeline and of this generation.
    pub fn create_topics(&self, broker: &Broker) {
        broker.create_topic(EVENTS, self.inputs);
        broker.create_topic(&self.blocks(), self.settings.lanes);
        broker.create_topic(&self.state(), self.inputs);
        broker.set_compacted(&self.state()).unwrap();
        broker.create_topic(&self.dead_letters(), 1);
        broker.create_topic(RESULTS, self.result_partitions);
        broker.create_topic(TOP_PAGES, 1);
        if self.generation > 1 {
            broker.create_topic(GENERATIONS, 1);
        }
    }

    pub fn windows(&self) -> Windows {
        let options = WindowsOptions {
            settings: self.settings,
            max_future: self.max_future,
            idle_timeout: self.idle_timeout,
            stamped_by_broker: self.planted != Some(Planted::WatermarkPassesClock),
            until_end: self.until_end,
            snapshot_every: self.settings.size,
            live: None,
            inputs: self.inputs,
            events: EVENTS.to_owned(),
            blocks: self.blocks(),
            state: self.state(),
            dead_letters: self.dead_letters(),
            keep_payload: true,
            cut: self.cut,
        };
        Windows::new(options, Decoder::new(), privacy()).with_block_bytes(self.block_bytes)
    }

    pub fn results(&self, ended_by: Option<u32>) -> Results {
        Results::new(ResultsOptions {
            cut: self.cut,
            ended_by,
            settings: self.settings,
            inputs: self.inputs,
            windows: self.stage(0).0,
            events: EVENTS.to_owned(),
            blocks: self.blocks(),
            results: RESULTS.to_owned(),
            result_partitions: self.result_partitions,
            top_pages: TOP_PAGES.to_owned(),
        })
    }

    /// Members as in `weir process`: static ones keep their name, others never reuse theirs.
    pub fn member(&self, stage: usize, name: &str, is_static: bool) -> MemberOptions {
        let (group, topic) = self.stage(stage);
        MemberOptions {
            instance: is_static.then(|| name.to_owned()),
            session_timeout: Duration::from_millis(self.session_timeout as u64),
            transaction_timeout: Duration::from_millis(self.transaction_timeout as u64),
            ..MemberOptions::new(&group, &topic, &format!("{group}.{name}"))
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

fn privacy() -> Privacy {
    Privacy::new(PrivacySettings::default(), None).unwrap()
}
