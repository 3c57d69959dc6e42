//! Generations: their declaration, the deletion of events between them, and what holds of them at every step.

use std::{collections::BTreeMap, rc::Rc};

use weir_events::decode_top_pages;
use weir_log::{Generation, Generations, PartitionProgress, Record, ResultsProgress, generations};
use weir_memory::MemberOptions;

use crate::{
    setup::{EVENTS, GENERATIONS, Setup, TOP_PAGES},
    simulation::{Simulation, progress_of},
};

/// Maximum number of generations of a run.
const MAX_GENERATIONS: usize = 5;

impl Simulation {
    /// A declared generation, without its cut.
    pub fn generation(&self, number: u32) -> Setup {
        self.generations.borrow()[number as usize - 1].clone()
    }

    /// The number of the newest declared generation.
    pub fn newest(&self) -> u32 {
        self.generations.borrow().len() as u32
    }

    /// What is recorded.
    pub fn recorded(&self) -> Generations {
        let read = |sink: &mut dyn FnMut(Record<'_>)| {
            for record in self.broker.records(GENERATIONS, 0) {
                let (offset, timestamp) = (record.offset, record.timestamp);
                sink(Record { partition: 0, offset, timestamp, key: None, value: record.value.as_deref() });
            }
            Ok(())
        };
        Generations::collect(GENERATIONS, read).unwrap()
    }

    /// The cut of each generation, by number; that of the first is `None`, and of those that have not begun nothing is there.
    pub fn cuts(&self) -> BTreeMap<u32, Option<i64>> {
        let recorded = self.recorded();
        let later = recorded.iter().filter(|generation| generation.number > 1);
        let begun = later.filter_map(|generation| Some((generation.number, Some(generation.cut?))));
        [(1, None)].into_iter().chain(begun).collect()
    }

    /// Other settings begin the next generation.
    pub fn declare(&self) {
        let before = self.generations.borrow().clone();
        if !self.setup.has_generations || before.len() == MAX_GENERATIONS {
            return;
        }
        let next = Setup::next(&before, &self.dice);
        if next.settings == before[before.len() - 1].settings {
            return;
        }
        next.create_topics(&self.broker);
        let expected = self.recorded();
        let now = self.broker.now();
        let first = expected
            .newest()
            .is_none()
            .then(|| Generation::declared(1, &self.setup.decisive(), now).after(0));
        let declared = Generation::declared(next.generation, &next.decisive(), now);
        let declared: Vec<Generation> = first.into_iter().chain([declared]).collect();
        let mut member = self.broker.member(MemberOptions::new(GENERATIONS, GENERATIONS, GENERATIONS));
        if generations::record(&mut member, GENERATIONS, &expected, &declared).is_err() {
            return;
        }
        self.note("generations declared");
        if before.iter().any(|earlier| earlier.settings == next.settings) {
            self.note("settings changed back");
        }
        self.generations.borrow_mut().push(next);
        self.read_long_ago.borrow_mut().fill(0);
        if self.dice.chance(600) {
            self.delete_events();
        }
    }

    /// The stages of a generation begin in a process: those before it have ended by then.
    pub fn begun(&self, number: u32) {
        self.generations_begun.borrow_mut().insert(number);
        for (number, setup) in (1..number).zip(self.generations.borrow().iter()) {
            if let Err(why) = self.check_ended(setup) {
                self.fail(format!(
                    "generation {} begins, and generation {number} has not ended: {why}",
                    number + 1
                ));
            }
        }
    }

    /// Retention deletes events that the next generation would need, before any process of it has begun.
    pub fn delete_events(&self) {
        let newest = self.newest();
        if !self.setup.deletes_events || newest == 1 || self.generations_begun.borrow().contains(&newest) {
            return;
        }
        self.note("events deleted that a generation needs");
        for partition in 0..self.setup.inputs {
            if self.dice.chance(700) {
                // By age, as Kafka does.
                let records = self.broker.records(EVENTS, partition);
                let before = self.broker.now() - self.dice.pick(&[1_000, 3_000, 20_000]);
                let kept = records.iter().find(|record| record.timestamp >= before);
                let end = self.broker.stable_offset(EVENTS, partition).unwrap();
                let first = kept.map_or(end, |record| record.offset);
                self.broker.truncate(EVENTS, partition, first).unwrap();
            }
        }
    }

    /// All partitions and lanes of a generation are marked as ended, and the recorded cut is the smallest sealed end.
    fn check_ended(&self, ended: &Setup) -> Result<(), String> {
        let cuts = self.cuts();
        let by = Some(ended.generation + 1);
        let cut = cuts.get(&(ended.generation + 1)).copied().flatten().ok_or("it has no cut")?;
        let before = cuts.get(&ended.generation).copied().flatten().unwrap_or(0);
        let (Some(windows), Some(results)) = (self.committed(ended, 0), self.committed(ended, 1)) else {
            // A zombie's transaction is pending.
            return Ok(());
        };
        let progress = |committed: &Option<weir_log::Committed>| -> Option<PartitionProgress> {
            serde_json::from_str(&committed.as_ref()?.metadata).ok()
        };
        let windows: Vec<_> = windows.iter().map(progress).collect();
        if windows.iter().any(|progress| progress.as_ref().is_none_or(|progress| progress.ended_by != by)) {
            return Err(format!("committed is {windows:?}"));
        }
        let sealed = windows.iter().flatten().map(|progress| progress.sealed).min().flatten();
        if sealed.unwrap_or(before).max(before) != cut {
            return Err(format!("its cut is {cut}, of {windows:?}"));
        }
        let lane = |committed: &Option<weir_log::Committed>| -> Option<ResultsProgress> {
            serde_json::from_str(&committed.as_ref()?.metadata).ok()
        };
        let lanes: Vec<_> = results.iter().map(lane).collect();
        let is_open = |lane: &Option<ResultsProgress>| lane.as_ref().is_none_or(|lane| lane.ended_by != by);
        if cut > before && lanes.iter().any(is_open) {
            return Err(format!("committed is {lanes:?}"));
        }
        Ok(())
    }

    /// Each window that was told since the last look is told once, by the generation whose cuts it lies between.
    pub fn check_told(&self) {
        let records = self.broker.records_from(TOP_PAGES, 0, self.told_to.get());
        if records.is_empty() {
            return;
        }
        let cuts = self.cuts();
        for record in records {
            self.told_to.set(record.offset + 1);
            let top = decode_top_pages(&record.value.unwrap()).unwrap();
            let (end, size) = (top.window_end, top.window_end - top.window_start);
            if !self.told.borrow_mut().insert(end) {
                self.fail(format!("the window that ends at {end} is told twice"));
            }
            let number = cuts.iter().rfind(|(_, cut)| **cut < Some(end)).map_or(1, |(number, _)| *number);
            let settings = self.generation(number).settings;
            if size != settings.size || end % settings.slide != 0 {
                self.fail(format!(
                    "a window of {size} ms ends at {end}: it is not of generation {number}, cuts are {cuts:?}"
                ));
            }
        }
    }

    /// All generations but the newest have ended and stay so.
    pub fn check_all_ended(&self) -> Result<(), String> {
        let generations = self.generations.borrow();
        let ended = &generations[..generations.len() - 1];
        ended.iter().try_for_each(|setup| {
            self.check_ended(setup).map_err(|why| format!("generation {}: {why}", setup.generation))
        })
    }

    /// A process of a generation that has ended commits nothing.
    pub fn check_not_ended(
        self: &Rc<Self>,
        id: &str,
        generation: u32,
        partition: i32,
        committed: &weir_log::Committed,
    ) {
        let is_marked = !progress_of(&Some(committed.clone()))["ended_by"].is_null();
        let mut ended = self.ended.borrow_mut();
        if is_marked {
            ended.insert((generation, partition));
        } else if ended.contains(&(generation, partition)) {
            self.fail(format!("{id} has committed in partition {partition}, which had ended: {committed:?}"));
        }
    }
}
