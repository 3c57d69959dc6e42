//! A pipeline of several generations on the in-memory log, without faults.

use std::time::Duration;

use weir_analytics::{Block, Settings};
use weir_events::{Decoder, Privacy, PrivacySettings, decode_page_analytics, decode_top_pages, encode_event};
use weir_log::{Error, Member as _, PartitionProgress};
use weir_memory::{Broker, Clock, Member, MemberOptions, StoredRecord};
use weir_oracle::{Entry, Event, Kind, Window};
use weir_processor::{
    ending::{self, Ending},
    results::{Results, ResultsOptions},
    windows::{Windows, WindowsOptions},
    worker::Worker,
};

pub const START: i64 = 1_700_000_000_000;
pub const PARTITIONS: i32 = 2;
pub const MAX_FUTURE: i64 = 1_000;

pub struct Fixture {
    pub broker: Broker,
    /// Of processes that start from now on, milliseconds.
    pub idle_timeout: i64,
    /// The logs from their beginnings, also where retention has deleted them.
    logs: Vec<Vec<Entry>>,
    processes: u32,
}

/// One generation, and the end up to which those before it told windows.
#[derive(Clone, Copy)]
pub struct Generation {
    pub number: u32,
    pub settings: Settings,
    pub cut: Option<i64>,
}

/// Both stages of one process.
pub struct Process {
    pub windows: Worker<Windows, Member>,
    pub results: Worker<Results, Member>,
}

impl Generation {
    pub fn windows_group(&self) -> String {
        format!("windows.{}", self.number)
    }

    pub fn results_group(&self) -> String {
        format!("results.{}", self.number)
    }

    pub fn blocks(&self) -> String {
        format!("blocks.{}", self.number)
    }

    pub fn state(&self) -> String {
        format!("state.{}", self.number)
    }

    fn results(&self, ended_by: Option<u32>) -> Results {
        Results::new(ResultsOptions {
            settings: self.settings,
            inputs: PARTITIONS,
            windows: self.windows_group(),
            events: "events".to_owned(),
            blocks: self.blocks(),
            results: "results".to_owned(),
            result_partitions: 1,
            top_pages: "top".to_owned(),
            cut: self.cut,
            ended_by,
        })
    }
}

impl Fixture {
    pub fn new() -> Self {
        let broker = Broker::new(Clock::Manual(START));
        broker.create_topic("events", PARTITIONS);
        broker.create_topic("results", 1);
        broker.create_topic("top", 1);
        broker.create_topic("dead-letters", 1);
        Self {
            broker,
            idle_timeout: 3_600_000_000,
            logs: vec![Vec::new(); PARTITIONS as usize],
            processes: 0,
        }
    }

    /// Declares a generation: its topics are there.
    pub fn generation(&self, number: u32, settings: Settings, cut: Option<i64>) -> Generation {
        let generation = Generation { number, settings, cut };
        self.broker.create_topic(&generation.blocks(), settings.lanes);
        self.broker.create_topic(&generation.state(), PARTITIONS);
        self.broker.set_compacted(&generation.state()).unwrap();
        generation
    }

    pub fn member(&mut self, group: &str, topic: &str) -> Member {
        self.processes += 1;
        // Hours pass between two steps.
        let timeout = Duration::from_secs(1_000_000);
        let id = format!("{group}-{}", self.processes);
        self.broker.member(MemberOptions {
            session_timeout: timeout,
            transaction_timeout: timeout,
            ..MemberOptions::new(group, topic, &id)
        })
    }

    pub fn process(&mut self, generation: &Generation) -> Process {
        let windows = WindowsOptions {
            settings: generation.settings,
            inputs: PARTITIONS,
            max_future: MAX_FUTURE,
            idle_timeout: self.idle_timeout,
            stamped_by_broker: true,
            until_end: false,
            snapshot_every: 60_000,
            events: "events".to_owned(),
            blocks: generation.blocks(),
            state: generation.state(),
            live: None,
            dead_letters: "dead-letters".to_owned(),
            keep_payload: true,
            cut: generation.cut,
        };
        let privacy = Privacy::new(PrivacySettings::default(), None).unwrap();
        let windows = Windows::new(windows, Decoder::new(), privacy);
        Process {
            windows: Worker::new(windows, self.member(&generation.windows_group(), "events")),
            results: Worker::new(
                generation.results(None),
                self.member(&generation.results_group(), &generation.blocks()),
            ),
        }
    }

    /// A view without a duration of the visit, at a time after the start, in the partition of the user's first letter.
    pub fn view(&mut self, user: &str, page: &str, at: i64) {
        let event = Event {
            user: user.to_owned(),
            session: user.to_owned(),
            kind: Kind::View,
            page: page.to_owned(),
            timestamp: START + at,
            session_duration: None,
            event_id: None,
        };
        let mut value = Vec::new();
        encode_event(&(&event).into(), &mut value);
        let partition = i32::from(user.as_bytes()[0]) % PARTITIONS;
        self.broker.advance(Duration::from_millis((event.timestamp - self.broker.now()).max(0) as u64));
        self.broker.append("events", partition, Some(user.as_bytes()), Some(&value), &[]).unwrap();
        self.logs[partition as usize].push(Entry::Event(event));
    }

    /// Deletes the events that are there now.
    pub fn delete_events(&self) {
        for partition in 0..PARTITIONS {
            let end = self.broker.end_offset("events", partition).unwrap();
            self.broker.truncate("events", partition, end).unwrap();
        }
    }

    /// Deletes the blocks of windows up to an end, and what was written before them.
    pub fn delete_blocks(&self, generation: &Generation, end: i64) {
        for lane in 0..generation.settings.lanes {
            let records = self.broker.records(&generation.blocks(), lane);
            let is_one = |record: &StoredRecord| {
                Block::decode(record.value.as_ref().unwrap()).is_ok_and(|block| block.end <= end)
            };
            let last = records.iter().filter(|record| is_one(record)).map(|record| record.offset).max();
            self.broker.truncate(&generation.blocks(), lane, last.unwrap() + 1).unwrap();
        }
    }

    /// Steps a process until what is there is done.
    pub fn run(&self, process: &mut Process) -> Result<(), Error> {
        for _ in 0..40 {
            self.broker.advance(Duration::from_millis(600));
            process.windows.step(self.broker.now(), Duration::ZERO)?;
            process.results.step(self.broker.now(), Duration::ZERO)?;
        }
        Ok(())
    }

    /// Steps `Ending` for a generation, as a process does that waits for others, and returns its cut.
    pub fn end_stage_one(&mut self, generation: &Generation) -> Result<i64, Error> {
        let by = generation.number + 1;
        let stage = Ending::new("events", &generation.state(), &generation.blocks(), by);
        let mut worker = Worker::new(stage, self.member(&generation.windows_group(), "events"));
        for _ in 0..20 {
            self.broker.advance(Duration::from_millis(600));
            worker.step(self.broker.now(), Duration::ZERO)?;
        }
        let committed = worker.member().committed()?;
        worker.leave()?;
        Ok(ending::ended_at(&committed, by).flatten().unwrap())
    }

    /// Ends a generation, and returns its cut.
    pub fn end(&mut self, generation: &Generation) -> i64 {
        let cut = self.end_stage_one(generation).unwrap();
        self.end_stage_two(generation).unwrap();
        cut
    }

    /// Emits what is complete of a generation of which stage 1 has ended.
    pub fn end_stage_two(&mut self, generation: &Generation) -> Result<(), Error> {
        let by = generation.number + 1;
        let member = self.member(&generation.results_group(), &generation.blocks());
        let mut worker = Worker::new(generation.results(Some(by)), member);
        for _ in 0..20 {
            self.broker.advance(Duration::from_millis(600));
            worker.step(self.broker.now(), Duration::ZERO)?;
            if ending::is_drained(&worker.member().committed()?, by) {
                return worker.leave();
            }
        }
        panic!("generation {} is not drained", generation.number);
    }

    /// Another generation of the same settings with the blocks of one, changed, and its commits of stage 1.
    pub fn copy(&mut self, of: &Generation, number: u32, change: impl Fn(&mut Block)) -> Generation {
        let copy = self.generation(number, of.settings, of.cut);
        for lane in 0..of.settings.lanes {
            for record in self.broker.records(&of.blocks(), lane) {
                let mut block = Block::decode(&record.value.unwrap()).unwrap();
                change(&mut block);
                for record in block.encode().unwrap() {
                    self.broker.append(&copy.blocks(), lane, None, Some(&record), &[]).unwrap();
                }
            }
        }
        let committed = self.member(&of.windows_group(), "events").committed().unwrap();
        let mut member = self.member(&copy.windows_group(), "events");
        while member.poll(1, Duration::ZERO, &mut |_| ()).unwrap().is_none() {}
        member.assign(&[]).unwrap();
        member.begin().unwrap();
        let commits: Vec<_> = (0..).zip(committed).filter_map(|(number, at)| Some((number, at?))).collect();
        member.commit(&commits).unwrap();
        member.leave().unwrap();
        copy
    }

    /// What stage 1 of a generation has committed.
    pub fn progress(&mut self, generation: &Generation) -> Vec<Option<PartitionProgress>> {
        let committed = self.member(&generation.windows_group(), "events").committed().unwrap();
        let progress = committed.iter().map(|committed| committed.as_ref().map(|it| &it.metadata));
        progress.map(|text| text.map(|text| serde_json::from_str(text).unwrap())).collect()
    }

    /// The end up to which a generation tells no window.
    pub fn told_after(&mut self, generation: &Generation) -> i64 {
        let progress = self.progress(generation);
        assert!(progress.iter().flatten().all(|partition| partition.reach.is_none()), "{progress:?}");
        progress.iter().map(|partition| partition.as_ref().unwrap().told_after.unwrap()).max().unwrap()
    }

    /// The ends of the windows told after `after`.
    pub fn told_ends(&self, after: i64) -> Vec<i64> {
        self.told(after, &[]).iter().map(|window| window.end).collect()
    }

    /// The windows in the results that end after `after`.
    fn told(&self, after: i64, expected: &[Window]) -> Vec<Window> {
        let rows: Vec<_> = self
            .broker
            .records("results", 0)
            .into_iter()
            .map(|record| decode_page_analytics(&record.value.unwrap()).unwrap())
            .collect();
        let mut told = Vec::new();
        for record in self.broker.records("top", 0) {
            let window: Window = decode_top_pages(&record.value.unwrap()).unwrap().into();
            let own = rows.iter().filter(|row| row.window_end == window.end);
            let window = Window { pages: own.cloned().map(Into::into).collect(), ..window };
            let sums = expected.iter().find(|expected| expected.end == window.end);
            told.push(window.with_sums(sums));
        }
        told.retain(|window| window.end > after);
        told.sort_by_key(|window| window.end);
        told
    }

    /// Checks that the windows told after `after` are those of the whole log with these settings; returns their ends, from the start.
    pub fn check_told(&self, settings: &Settings, after: i64) -> Vec<i64> {
        self.check_told_between(settings, after, i64::MAX)
    }

    /// As [`check_told`](Self::check_told), of a generation that has ended at `until`.
    pub fn check_told_between(&self, settings: &Settings, after: i64, until: i64) -> Vec<i64> {
        let settings = weir_oracle::Settings {
            size: settings.size,
            slide: settings.slide,
            out_of_orderness: settings.out_of_orderness,
            session_gap: settings.session_gap,
            top: settings.top,
            trending_half_life: settings.trending_half_life,
            warm_up: settings.warm_up,
            duplicate_slack: settings.duplicate_slack,
            page_limit: None,
            visits_span_users: false,
        };
        let mut expected = weir_oracle::compute(&self.logs, &settings).windows;
        expected.retain(|window| window.end > after && window.end <= until);
        let told = self.told(after, &expected);
        weir_oracle::compare(&expected, &told).unwrap();
        told.iter().map(|window| window.end - START).collect()
    }
}
