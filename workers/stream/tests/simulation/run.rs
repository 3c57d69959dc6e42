//! One run: a seed decides all of it.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::de::DeserializeOwned;
use weir_analytics::Block;
use weir_audit::Results;
use weir_stream::{
    log::{Error, Member as _, Record},
    memory::{Broker, Clock, Fault, MemberOptions, StoredRecord},
    results::Emitted,
    windows::Standing,
};

use crate::{
    Tally,
    crew::{BLOCKS, DEAD_LETTERS, EVENTS, GROUPS, Plan, Process, RESULTS, SESSION, STATE, TOP_PAGES, id},
    log::{self, Sent},
    reference::{self, Bytes, Raises},
};

/// Rounds of about 100 ms after which a crew that nothing disturbs any more must be done: some sessions and transactions may
/// have to time out one after the other, but not a member that polls and never answers (5 minutes).
const PATIENCE: usize = 1_500;
/// Rounds after all is done, in which nothing more may be written.
const QUIET: usize = 20;
const MOST_PROCESSES: usize = 4;

struct World {
    random: Pcg64Mcg,
    broker: Broker,
    plan: Plan,
    crew: Vec<Process>,
    /// Every name that was ever given.
    names: Vec<String>,
    /// What was sent, by partition.
    log: Vec<Vec<Sent>>,
    raises: Vec<BTreeSet<(i64, i64)>>,
    silent: Option<i32>,
    tally: Tally,
}

/// Runs a seed.
pub fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    let ticks = world.random.random_range(300..1_200);
    for _ in 0..ticks {
        world.tick();
    }
    world.calm_down();
    world.check();
    world.tally
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let plan = Plan {
            settings: log::settings(&mut random),
            partitions: random.random_range(1..5),
            result_partitions: random.random_range(1..3),
            idle_timeout: 3_000,
            snapshot_every: random.random_range(1..40) * 1_000,
        };
        let broker = Broker::new(Clock::Manual(1_700_000_000_000));
        broker.create_topic(EVENTS, plan.partitions);
        broker.create_topic(BLOCKS, plan.settings.lanes);
        broker.create_topic(STATE, plan.partitions);
        broker.set_compacted(STATE).unwrap();
        broker.create_topic(DEAD_LETTERS, 1);
        broker.create_topic(RESULTS, plan.result_partitions);
        broker.create_topic(TOP_PAGES, 1);
        let partitions = plan.partitions as usize;
        Self {
            random,
            broker,
            plan,
            crew: Vec::new(),
            names: Vec::new(),
            log: vec![Vec::new(); partitions],
            raises: vec![BTreeSet::new(); partitions],
            silent: None,
            tally: Tally::default(),
        }
    }

    fn tick(&mut self) {
        match self.random.random_range(0..1_000) {
            0..650 => self.step_one(),
            650..850 => self.send(),
            850..930 => self.advance(0, 400),
            930..940 => self.advance(1_000, 9_000),
            940 => self.advance(16_000, 40_000),
            941..951 => self.start(),
            951..956 => self.crash(),
            956..959 => self.leave(),
            959..965 => self.stall(),
            965..980 => self.order_a_fault(),
            980..990 => self.release_one(),
            990..993 => self.truncate(),
            993..996 => self.compact(),
            _ => {
                self.silent =
                    self.random.random_bool(0.5).then(|| self.random.random_range(0..self.plan.partitions))
            }
        }
    }

    fn one(&mut self) -> Option<usize> {
        (!self.crew.is_empty()).then(|| self.random.random_range(0..self.crew.len()))
    }

    fn step_one(&mut self) {
        let Some(which) = self.one() else { return self.start() };
        let stage = self.random.random_range(0..2);
        self.step(which, stage);
    }

    fn step(&mut self, which: usize, stage: usize) {
        let now = self.broker.now();
        let process = &mut self.crew[which];
        if process.stalled_until > now {
            return;
        }
        match process.step(stage, now) {
            Ok(()) => {}
            Err(Error::Retry(_)) => self.tally.retries += 1,
            Err(Error::Fatal(_)) if process.contested => {
                self.tally.fenced += 1;
                self.crew.remove(which);
            }
            // One that was expelled long ago may find what it was reading deleted.
            Err(Error::Fatal(_)) if process.stalled_until > i64::MIN => {
                self.crew.remove(which);
            }
            Err(error) => panic!("{}, stage {stage}: {error}", process.name),
        }
    }

    fn send(&mut self) {
        for _ in 0..self.random.random_range(1..6) {
            let (now, silent) = (self.broker.now(), self.silent);
            let sent = log::next(&mut self.random, now, self.plan.partitions, silent);
            self.advance(0, 300);
            let Some((partition, sent)) = sent else { continue };
            self.broker.append(EVENTS, partition, None, Some(&sent.value), &[]).unwrap();
            self.log[partition as usize].push(sent);
        }
    }

    fn advance(&mut self, least: u64, most: u64) {
        self.broker.advance(Duration::from_millis(self.random.random_range(least..most)));
    }

    /// A process that is new, or comes back under its name, be its predecessor dead or not.
    fn start(&mut self) {
        if self.crew.len() == MOST_PROCESSES {
            return;
        }
        let again = !self.names.is_empty() && self.random.random_bool(0.6);
        let name = match again {
            true => self.names[self.random.random_range(0..self.names.len())].clone(),
            false => format!("p{}", self.names.len()),
        };
        let mut contested = false;
        for namesake in self.crew.iter_mut().filter(|process| process.name == name) {
            namesake.contested = true;
            contested = true;
        }
        if !again {
            self.names.push(name.clone());
        }
        // Every other name stays known to the group over restarts.
        let lasting = name[1..].parse::<usize>().unwrap() % 2 == 0;
        let mut process = Process::start(&self.broker, &self.plan, name, lasting);
        process.contested = contested;
        self.crew.push(process);
    }

    fn crash(&mut self) {
        if let Some(which) = self.one() {
            drop(self.crew.remove(which));
            self.tally.crashes += 1;
        }
    }

    fn leave(&mut self) {
        let Some(which) = self.one() else { return };
        let process = self.crew.remove(which);
        // An error is as good as a crash here.
        let _ = process.windows.leave();
        let _ = process.results.leave();
        self.tally.leaves += 1;
    }

    fn stall(&mut self) {
        let Some(which) = self.one() else { return };
        let least = SESSION.as_millis() as i64;
        self.crew[which].stalled_until = self.broker.now() + least + self.random.random_range(0..20_000);
        self.tally.stalls += 1;
    }

    fn order_a_fault(&mut self) {
        let Some(which) = self.one() else { return };
        let id = id(self.random.random_range(0..2), &self.crew[which].name);
        let (fault, count) = match self.random.random_range(0..5) {
            0 => (Fault::CommitLost, &mut self.tally.commits_lost),
            1 => (Fault::CommitUnknown, &mut self.tally.commits_unknown),
            2 => (Fault::CommitLate, &mut self.tally.commits_late),
            3 => (Fault::MarkersLate, &mut self.tally.markers_late),
            _ => (Fault::Away(self.random.random_range(1..6)), &mut self.tally.away),
        };
        self.broker.inject(&id, fault);
        *count += 1;
    }

    fn release_one(&mut self) {
        if !self.names.is_empty() {
            let name = self.random.random_range(0..self.names.len());
            let id = id(self.random.random_range(0..2), &self.names[name]);
            self.tally.released += u64::from(self.broker.release(&id));
        }
    }

    /// Retention takes what no restart needs any more.
    fn truncate(&mut self) {
        for (partition, standing) in (0..).zip(self.standings()) {
            if let Some(standing) = standing.filter(|standing| standing.snapshot) {
                self.broker.truncate(EVENTS, partition, standing.from).unwrap();
                self.tally.truncated += 1;
            }
        }
    }

    fn compact(&mut self) {
        self.note_raises();
        for partition in 0..self.plan.partitions {
            self.broker.compact(STATE, partition).unwrap();
        }
        self.tally.compacted += 1;
    }

    /// Compaction forgets the decisions that a snapshot covers: note them before.
    fn note_raises(&mut self) {
        for (partition, noted) in (0..).zip(&mut self.raises) {
            for record in self.broker.records(STATE, partition) {
                let key = String::from_utf8(record.key.unwrap()).unwrap();
                if let (Some(raise), Some(_)) = (key.strip_prefix("raise/"), record.value) {
                    let (offset, watermark) = raise.split_once('/').unwrap();
                    noted.insert((offset.parse().unwrap(), watermark.parse().unwrap()));
                }
            }
        }
    }

    /// Where stage 1 stands, by partition.
    fn standings(&self) -> Vec<Option<Standing>> {
        self.committed(GROUPS[0], EVENTS)
    }

    /// What a group committed beside its offsets, by partition; nothing while a commit is pending.
    fn committed<T: DeserializeOwned>(&self, group: &str, topic: &str) -> Vec<Option<T>> {
        let onlooker = MemberOptions::new(group, topic, "onlooker");
        let committed = self.broker.member(onlooker).committed().unwrap_or_default();
        committed.into_iter().map(|c| c.map(|c| serde_json::from_str(&c.metadata).unwrap())).collect()
    }

    /// Lets go of all disturbances and waits until everything that was sent is processed and sealed.
    fn calm_down(&mut self) {
        if self.crew.is_empty() {
            self.start();
        }
        let (mut written, mut quiet) = ([0; 3], 0);
        for _ in 0..PATIENCE {
            for name in &self.names {
                self.broker.release(&id(0, name));
                self.broker.release(&id(1, name));
            }
            // Backwards, because one that was fenced goes.
            for which in (0..self.crew.len()).rev() {
                let crew = self.crew.len();
                self.step(which, 0);
                if self.crew.len() == crew {
                    self.step(which, 1);
                }
            }
            if self.crew.is_empty() {
                self.start();
            }
            self.advance(50, 150);
            let now = [BLOCKS, RESULTS, TOP_PAGES].map(|topic| self.ends(topic));
            quiet = if now == written && self.all_done() { quiet + 1 } else { 0 };
            written = now;
            if quiet == QUIET {
                return;
            }
        }
        panic!("not done after {PATIENCE} rounds: {:?}", self.standings());
    }

    fn ends(&self, topic: &str) -> i64 {
        let (_, partitions) = self.broker.topics().into_iter().find(|(name, _)| name == topic).unwrap();
        (0..partitions).map(|partition| self.broker.end_offset(topic, partition).unwrap()).sum()
    }

    /// Whether every event was processed and every window that holds one was emitted.
    fn all_done(&self) -> bool {
        let standings: Vec<_> = self.standings().into_iter().flatten().collect();
        let last = standings.iter().filter_map(|standing| standing.last_end).max();
        let sealed = standings.len() == self.log.len()
            && standings.iter().zip(&self.log).all(|(standing, log)| {
                standing.read == log.len() as u64
                    && standing.idle
                    && (last.is_none() || standing.sealed >= last)
            });
        let settings = &self.plan.settings;
        let emitted: Vec<Option<Emitted>> = self.committed(GROUPS[1], BLOCKS);
        let emitted = |end: i64| {
            let lane = emitted.get(settings.lane(end) as usize).copied().flatten();
            lane.is_some_and(|lane| lane.emitted >= Some(end))
        };
        let ends = |last: i64| (0..i64::from(settings.lanes)).map(move |back| last - back * settings.slide);
        sealed && last.is_none_or(|last| ends(last).all(emitted))
    }

    fn check(&mut self) {
        self.note_raises();
        let raises: Raises = self.raises.iter().map(|raises| raises.iter().copied().collect()).collect();
        let (expected, late) = reference::engine(&self.plan, &self.log, &raises);
        let (bytes, results) = self.results();
        let outcome = reference::oracle(&self.plan, &self.log, &raises);
        weir_oracle::compare(&outcome.windows, &results.with_sums(&outcome.windows))
            .unwrap_or_else(|differences| panic!("not the oracle's:\n{differences}"));
        for (place, value) in &expected {
            assert!(bytes.get(place) == Some(value), "{place:?} has other bytes than the engine gives");
        }
        assert_eq!(bytes.len(), expected.len(), "results that nobody expected");

        let poison = self.log.iter().flatten().filter(|sent| sent.event.is_none()).count() as u64;
        let mut sums = Standing::default();
        for standing in self.standings().into_iter().flatten() {
            assert_eq!(standing.read, standing.counted + standing.late + standing.dead);
            sums.late += standing.late;
            sums.dead += standing.dead;
        }
        assert_eq!((sums.late, sums.dead), (late, poison));
        for lane in 0..self.plan.settings.lanes {
            let mut seen = BTreeSet::new();
            for record in self.broker.records(BLOCKS, lane) {
                let block = Block::decode(&record.value.unwrap()).unwrap();
                assert!(seen.insert((block.partition, block.end)), "a second block: {block:?}");
            }
        }
        let letters = self.broker.records(DEAD_LETTERS, 0);
        let places: BTreeSet<_> = letters.iter().map(place).collect();
        assert_eq!((letters.len(), places.len()), ((late + poison) as usize, letters.len()), "dead letters");

        self.tally.raises += raises.iter().map(Vec::len).sum::<usize>() as u64;
        self.tally.late += late;
        self.tally.invalid += poison;
        self.tally.windows += outcome.windows.len() as u64;
        self.tally.trends += outcome.windows.iter().map(|window| window.trending.len() as u64).sum::<u64>();
    }

    /// What the result topics hold: nothing twice, and each lane's windows in order.
    fn results(&self) -> (Bytes, Results) {
        let (mut bytes, mut results) = (Bytes::new(), Results::default());
        let mut last = vec![i64::MIN; self.plan.settings.lanes as usize];
        for record in self.broker.records(TOP_PAGES, 0) {
            results.ranking(&read(0, &record)).unwrap();
            let value = record.value.unwrap();
            let end = weir_events::decode_top_pages(&value).unwrap().window_end;
            let last = &mut last[self.plan.settings.lane(end) as usize];
            assert!(*last < end, "window {end} after {last}");
            *last = end;
            bytes.insert((end, None), value);
        }
        for partition in 0..self.plan.result_partitions {
            for record in self.broker.records(RESULTS, partition) {
                results.row(&read(partition, &record)).unwrap();
                let value = record.value.unwrap();
                let row = weir_events::decode_page_analytics(&value).unwrap();
                bytes.insert((row.window_end, Some(row.page_url)), value);
            }
        }
        (bytes, results)
    }
}

/// The place in the events that a dead letter speaks of.
fn place(letter: &StoredRecord) -> Vec<String> {
    let header = |name: &str| letter.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    ["topic", "partition", "offset"].map(|name| header(name).unwrap()).to_vec()
}

fn read(partition: i32, record: &StoredRecord) -> Record<'_> {
    Record {
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    }
}
