//! Stage 1 with default windows on the in-memory log, under a manual clock.

use std::time::Duration;

use weir_analytics::{Block, Definitions, Settings};
use weir_events::{
    ClickstreamEvent, Decoder, EventType, Privacy, PrivacySettings, encode_event, partition_of,
};
use weir_log::{Committed, Error, Member as _, PartitionProgress, Rebalance};
use weir_memory::{Broker, Clock, Member, MemberOptions};
use weir_processor::windows::{Windows, WindowsOptions};
use weir_processor::worker::Worker;

pub const START: i64 = 1_700_000_000_000;
/// Duration of a turn, milliseconds.
const TURN: i64 = 500;

pub struct Fixture {
    pub broker: Broker,
    pub inputs: i32,
    /// By how much the processes' clocks are ahead of the broker's.
    pub skew: i64,
    pub until_end: bool,
    pub max_future: i64,
    pub privacy: PrivacySettings,
    pub key: &'static str,
    /// Those of the processes' release.
    pub definitions: Definitions,
    /// After the first generation: where it begins.
    pub cut: Option<i64>,
    pub page_limit: usize,
    processes: u32,
}

impl Fixture {
    pub fn new(inputs: i32) -> Self {
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
            definitions: Definitions::NEWEST,
            cut: None,
            page_limit: Settings::default().page_limit,
            processes: 0,
        }
    }

    /// A new process, with default windows.
    pub fn worker(&mut self) -> Worker<Windows, Member> {
        self.processes += 1;
        let options = WindowsOptions {
            settings: Settings {
                definitions: self.definitions,
                page_limit: self.page_limit,
                ..Settings::default()
            },
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
            cut: self.cut,
        };
        let privacy = Privacy::new(self.privacy, Some(self.key.as_bytes())).unwrap();
        let id = format!("id-{}", self.processes);
        let member = self.broker.member(MemberOptions::new("group", "events", &id));
        Worker::new(Windows::new(options, Decoder::new(), privacy), member)
    }

    /// Appends a view, by default to its user's partition.
    pub fn view(&self, user: &str, timestamp: i64, partition: Option<i32>) {
        let partition = partition.unwrap_or_else(|| partition_of(user.as_bytes(), self.inputs));
        self.broker.append("events", partition, None, Some(&encoded(user, timestamp)), &[]).unwrap();
    }

    pub fn turn(&self, worker: &mut Worker<Windows, Member>) -> Result<(), Error> {
        self.broker.advance(Duration::from_millis(TURN as u64));
        worker.step(self.broker.now() + self.skew, Duration::ZERO)
    }

    pub fn pass(&self, worker: &mut Worker<Windows, Member>, time: i64) {
        for _ in 0..time / TURN {
            self.turn(worker).unwrap();
        }
    }

    /// Runs `weir process --until-end` to the end of the log. Returns the end of the last window.
    pub fn end(&mut self) -> Option<i64> {
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

    pub fn progress(&self) -> Vec<PartitionProgress> {
        let mut observer = self.broker.member(MemberOptions::new("group", "events", "observer"));
        let committed = observer.committed().unwrap().into_iter().flatten();
        committed.map(|committed| serde_json::from_str(&committed.metadata).unwrap()).collect()
    }

    pub fn total(&self, figure: impl Fn(&PartitionProgress) -> u64) -> u64 {
        self.progress().iter().map(figure).sum()
    }

    /// Views in all sealed windows, and the maximum time that a window was sealed too early, milliseconds.
    pub fn sealed(&self) -> (u64, i64) {
        let (mut views, mut early) = (0, i64::MIN);
        for record in self.broker.records("blocks", 0) {
            let block = Block::decode(&record.value.unwrap()).unwrap();
            views += block.site.views;
            early = early.max(block.end + Settings::default().out_of_orderness - record.timestamp);
        }
        (views, early)
    }

    /// Commits an offset and metadata as another program or an earlier process would.
    pub fn commit(&self, offset: i64, metadata: &str) {
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

    pub fn journal(&self) -> usize {
        let state = |partition| self.broker.records("state", partition);
        (0..self.inputs).flat_map(state).filter(|record| record.value.is_some()).count()
    }
}

pub fn encoded(user: &str, timestamp: i64) -> Vec<u8> {
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
