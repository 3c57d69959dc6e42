//! Processes on the log in memory: each a worker of either stage, as `weir process` runs them.

use std::time::Duration;

use weir_analytics::Settings;
use weir_events::{Decoder, Privacy, PrivacySettings};
use weir_stream::{
    log::Error,
    memory::{Broker, Member, MemberOptions},
    results::{self, Results},
    windows::{self, Windows},
    worker::Worker,
};

pub const EVENTS: &str = "events";
pub const BLOCKS: &str = "blocks";
pub const STATE: &str = "state";
pub const DEAD_LETTERS: &str = "dead-letters";
pub const RESULTS: &str = "results";
pub const TOP_PAGES: &str = "top-pages";
pub const GROUPS: [&str; 2] = ["shop.windows", "shop.results"];
/// Members that are silent for longer are expelled.
pub const SESSION: Duration = Duration::from_secs(15);

/// What all processes of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub settings: Settings,
    pub partitions: i32,
    pub result_partitions: i32,
    pub idle_timeout: i64,
    pub snapshot_every: i64,
}

/// A process.
pub struct Process {
    pub name: String,
    pub windows: Worker<Windows, Member>,
    pub results: Worker<Results, Member>,
    /// It does nothing before this moment.
    pub stalled_until: i64,
    /// At some time another process had its name: one of them must end.
    pub contested: bool,
}

/// The transactional id of a process's producer.
pub fn id(stage: usize, name: &str) -> String {
    format!("{}.{name}", GROUPS[stage])
}

impl Process {
    /// Starts one; `lasting`: its groups know it under its name over restarts.
    pub fn start(broker: &Broker, plan: &Plan, name: String, lasting: bool) -> Self {
        let member = |stage: usize, topic: &str| {
            let mut options = MemberOptions::new(GROUPS[stage], topic, &id(stage, &name));
            options.instance = lasting.then(|| name.clone());
            broker.member(options)
        };
        let first = windows::Options {
            settings: plan.settings,
            max_future: 300_000,
            idle_timeout: plan.idle_timeout,
            until_end: false,
            snapshot_every: plan.snapshot_every,
            events: EVENTS.to_owned(),
            blocks: BLOCKS.to_owned(),
            state: STATE.to_owned(),
            live: Some("live".to_owned()),
            dead_letters: DEAD_LETTERS.to_owned(),
            keep_payload: true,
        };
        let second = results::Options {
            settings: plan.settings,
            inputs: plan.partitions,
            results: RESULTS.to_owned(),
            result_partitions: plan.result_partitions,
            top_pages: TOP_PAGES.to_owned(),
        };
        let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
        Self {
            windows: Worker::new(Windows::new(first, Decoder::new(), privacy), member(0, EVENTS)),
            results: Worker::new(Results::new(second), member(1, BLOCKS)),
            name,
            stalled_until: i64::MIN,
            contested: false,
        }
    }

    /// One step of one of its stages.
    pub fn step(&mut self, stage: usize, now: i64) -> Result<(), Error> {
        match stage {
            0 => self.windows.step(now, Duration::ZERO),
            _ => self.results.step(now, Duration::ZERO),
        }
    }
}
