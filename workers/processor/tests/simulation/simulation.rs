//! One run: a growing log, the processes that work on it, and faults, all determined by one seed.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::Value;
use weir_log::{Committed, Error, Member as _, Output};
use weir_memory::{Broker, Clock, MemberOptions};
use weir_processor::windows::EndOfLog;

use crate::{
    case::Case,
    dice::Dice,
    found::{self, WatermarkAdvance},
    process::Process,
    setup::{RESULTS, Setup, TOP_PAGES},
    tally::Tally,
    visitors::Visitors,
};

/// Maximum turns of all processes until everything is quiet after the last fault.
const MAX_TURNS: u32 = 1_200;
/// Duration of a turn, milliseconds. All turns together take less than the 300 s after which a group expels a member that does
/// not answer a rebalance.
const TURN: i64 = 200;

/// When the broker's clock starts.
const START: i64 = 1_700_000_000_000;

/// A group's commits, by partition.
type Group = Vec<Option<Committed>>;

pub struct Simulation {
    /// The pipeline in its first generation.
    pub setup: Setup,
    /// All declared generations, the first included.
    pub generations: RefCell<Vec<Setup>>,
    /// Those whose stages have begun in some process.
    pub generations_begun: RefCell<BTreeSet<u32>>,
    /// Generations and partitions that were marked as ended.
    pub ended: RefCell<BTreeSet<(u32, i32)>>,
    /// The ends of all windows told, and the offset up to which rankings were looked at.
    pub told: RefCell<BTreeSet<i64>>,
    pub told_to: Cell<i64>,
    pub broker: Broker,
    pub dice: Dice,
    pub visitors: RefCell<Visitors>,
    pub processes: RefCell<Vec<Rc<Process>>>,
    pub tally: RefCell<Tally>,
    /// All transactional ids used so far.
    pub ids: RefCell<BTreeSet<String>>,
    /// Logged watermark advances by generation, collected before compaction deletes them.
    pub advances: RefCell<BTreeMap<u32, BTreeSet<WatermarkAdvance>>>,
    /// An earlier committed position of each partition of events.
    pub read_long_ago: RefCell<Vec<i64>>,
    pub names: Cell<u32>,
    /// The maximum committed number of records read, by generation and partition of events.
    progress: RefCell<BTreeMap<(u32, i32), i64>>,
    /// At the end: the end of the log reported by each process.
    pub finished: RefCell<Vec<Option<EndOfLog>>>,
    /// Whether no more faults may occur.
    pub is_settling: Cell<bool>,
    case: Case,
    /// Number of actions so far.
    pub actions: Cell<u32>,
    /// Whether to print a trace.
    traced: bool,
    failure: RefCell<Option<String>>,
}

impl Simulation {
    pub fn new(case: &Case, traced: bool) -> Rc<Self> {
        let seed = case.seed;
        let dice = Dice::new(2 * seed);
        let setup = Setup { planted: case.planted, ..Setup::draw(&dice) };
        let broker = Broker::new(Clock::Manual(START));
        setup.create_topics(&broker);
        Rc::new(Self {
            visitors: RefCell::new(Visitors::new(&setup, Dice::new(2 * seed + 1))),
            processes: RefCell::default(),
            tally: RefCell::default(),
            ids: RefCell::default(),
            advances: RefCell::default(),
            read_long_ago: RefCell::new(vec![0; setup.inputs as usize]),
            names: Cell::new(0),
            progress: RefCell::default(),
            finished: RefCell::default(),
            is_settling: Cell::new(false),
            case: case.clone(),
            actions: Cell::new(0),
            traced,
            failure: RefCell::default(),
            generations: RefCell::new(vec![setup.clone()]),
            generations_begun: RefCell::default(),
            ended: RefCell::default(),
            told: RefCell::default(),
            told_to: Cell::new(0),
            setup,
            broker,
            dice,
        })
    }

    /// Counts and traces an incident.
    pub fn note(&self, what: &'static str) {
        self.tally.borrow_mut().add(what, 1);
        self.trace(|| format!("* {what}"));
    }

    /// How often an incident occurred so far.
    pub fn count(&self, what: &str) -> u64 {
        self.tally.borrow().of(what)
    }

    /// Prints a line of the trace.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.traced {
            println!("{} {}", self.broker.now() - START, what());
        }
    }

    /// Runs until the log is written, and then without faults until everything is quiet.
    pub fn run(self: &Rc<Self>) -> Result<(), String> {
        let fault_rate = self.dice.pick(&[0, 10, 30, 80, 150]);
        self.is_settling.set(fault_rate == 0);
        let max_pause = self.dice.pick(&[5, 40, 200]);
        self.start();
        loop {
            let action = self.actions.get();
            if self.case.ends_before(action).unwrap_or_else(|| self.visitors.borrow().are_done()) {
                break;
            }
            self.actions.set(action + 1);
            self.pass(self.dice.between(0, max_pause));
            let what = self.dice.between(1, 1000);
            // Each with a stream of its own, so that others stay the same where one does not take place.
            self.dice.apart(|| {
                if self.case.takes(action) {
                    self.act(what, fault_rate);
                }
            });
            self.check()?;
        }
        self.run_until_quiet()
    }

    fn act(self: &Rc<Self>, what: i64, fault_rate: i64) {
        match what {
            1..=160 => self.visitors.borrow_mut().write(&self.broker),
            161..=170 => self.pass(self.dice.between(0, 2 * self.setup.idle_timeout)),
            171..=175 => self.quiet(),
            176..=183 => self.declare(),
            184..=190 => self.delete_events(),
            n if n <= 190 + fault_rate => self.disturb(),
            _ => {
                if let Some(process) = self.someone() {
                    self.step(&process, self.dice.below(2));
                }
            }
        }
    }

    /// All processes run for longer than the idle timeout, or than a window, without new records.
    fn quiet(self: &Rc<Self>) {
        self.note("quiet phases");
        let Setup { idle_timeout, settings, .. } = self.setup;
        let time = idle_timeout + self.dice.between(0, settings.size + settings.out_of_orderness);
        for _ in 0..20 {
            self.pass(time / 20 + 1);
            let processes = self.processes.borrow().clone();
            for process in processes {
                self.step(&process, 0);
                self.step(&process, 1);
            }
        }
    }

    /// A random process.
    pub fn someone(&self) -> Option<Rc<Process>> {
        let processes = self.processes.borrow();
        (!processes.is_empty()).then(|| processes[self.dice.below(processes.len())].clone())
    }

    /// Advances the broker's clock, milliseconds.
    pub fn pass(&self, time: i64) {
        self.broker.advance(Duration::from_millis(time as u64));
    }

    /// One step of one stage of a process, unless it is stalled.
    pub fn step(self: &Rc<Self>, process: &Rc<Process>, stage: usize) {
        let now = self.broker.now();
        if now < process.asleep_until.get() {
            return;
        }
        let is_superseded = process.generation < self.newest();
        if is_superseded && (self.is_settling.get() || self.dice.chance(60)) {
            return self.leave(process, "superseded processes left");
        }
        match process.step(self, stage, now) {
            Ok(()) => self.check_finished(process),
            Err(Error::Retry(_)) => self.note("steps put off"),
            Err(Error::Fatal(_)) if process.is_dead() => self.remove(process),
            Err(Error::Fatal(_)) if process.has_rival.get() => {
                self.note("zombies told to stop");
                process.die();
                self.remove(process);
            }
            Err(Error::Fatal(why)) if is_superseded && is_refusal(&why) => {
                self.note("refused processes");
                process.die();
                self.remove(process);
            }
            Err(error) => self.fail(format!("{}, stage {}: {error:?}", process.name, stage + 1)),
        }
    }

    /// A process leaves, unless it is within a step.
    pub fn leave(&self, process: &Rc<Process>, what: &'static str) {
        if let Some(left) = process.leave() {
            self.note(what);
            self.remove(process);
            if left.is_err() {
                self.note("leaves that failed");
            }
        }
    }

    /// All other processes run while one stalls, until its session and its transaction may have timed out.
    pub fn meanwhile(self: &Rc<Self>) {
        let (steps, setup) = (self.dice.between(2, 10), &self.setup);
        let max_timeout = setup.session_timeout.max(setup.transaction_timeout) + 100;
        let time = self.dice.pick(&[max_timeout / 3, max_timeout, 2 * max_timeout]);
        for _ in 0..steps {
            self.pass(time / steps + 1);
            if self.dice.chance(300) {
                self.visitors.borrow_mut().write(&self.broker);
            }
            if self.dice.chance(200) {
                self.release_commits();
            }
            let processes = self.processes.borrow().clone();
            for process in processes {
                self.step(&process, 0);
                self.step(&process, 1);
            }
        }
    }

    pub fn remove(&self, process: &Rc<Process>) {
        self.processes.borrow_mut().retain(|other| !Rc::ptr_eq(process, other));
    }

    /// Collects the watermark advances that are in the log now.
    pub fn collect_advances(&self) {
        for setup in self.generations.borrow().iter() {
            let mut advances = self.advances.borrow_mut();
            advances.entry(setup.generation).or_default().extend(found::advances(&self.broker, setup));
        }
    }

    /// Committed progress never moves backwards, not even during a replay.
    pub fn check_progress(self: &Rc<Self>, id: &str, generation: u32, offsets: &[(i32, Committed)]) {
        for (partition, committed) in offsets {
            self.check_not_ended(id, generation, *partition, committed);
            let read = progress_of(&Some(committed.clone()))["read"].as_i64().unwrap();
            let before =
                self.progress.borrow_mut().insert((generation, *partition), read).unwrap_or_default();
            let is_dense = !self.setup.has_transactions && !self.setup.deletes_events;
            if read < before || committed.offset < read || is_dense && committed.offset != read {
                self.fail(format!("{id}: partition {partition} was at {before}, is at {committed:?}"));
            }
        }
    }

    /// A watermark advance follows from the committed progress: the slowest partition that is not idle, or if all are, the last
    /// window, but never beyond the broker's clock, whatever the process's clock shows.
    pub fn check_decision(&self, id: &str, generation: u32, output: &Output) {
        let setup = self.generation(generation);
        // A process that stalled since it read the progress saw older values.
        let is_sure = self.count("stalls within a step") + self.count("stalls after a commit") == 0;
        let decision = found::decision(output.key.as_deref(), output.value.as_deref()).filter(|_| is_sure);
        let (Some((_, watermark)), Some(committed)) = (decision, self.committed(&setup, 0)) else { return };
        let progress: Vec<Value> = committed.iter().map(progress_of).collect();
        let busy: Vec<&Value> = progress.iter().filter(|partition| partition["idle"] != true).collect();
        let expected = if busy.is_empty() {
            progress.iter().filter_map(|partition| partition["last_end"].as_i64()).max()
        } else if setup.until_end {
            None
        } else {
            busy.iter().map(|partition| partition["watermark"].as_i64()).min().flatten()
        };
        let by_the_clock = self.broker.now() - setup.settings.out_of_orderness;
        let is_right = match setup.until_end {
            true => expected == Some(watermark),
            false => {
                // An advance by the clock may be anything up to it: a process's bound of the clock depends on what it read.
                expected.is_some_and(|expected| watermark <= expected.min(by_the_clock))
                    && (setup.is_live || expected == Some(watermark))
            }
        };
        if !is_right {
            let (key, partition) = (output.key.as_deref().map(String::from_utf8_lossy), output.partition);
            self.fail(format!("{id} decided {key:?} for partition {partition}, expected {expected:?}"));
        }
    }

    /// A process reports the end of the log only if every partition has committed it as sealed.
    fn check_finished(&self, process: &Process) {
        let (Some(EndOfLog::Sealed(last)), Some(committed)) =
            (process.finished(), self.committed(&self.setup, 0))
        else {
            return;
        };
        let sealed = |committed| progress_of(committed)["sealed"].as_i64();
        if !committed.iter().all(|committed| sealed(committed) >= Some(last)) {
            self.fail(format!(
                "{} reports that all is sealed up to {last}, but {committed:?} is committed",
                process.name
            ));
        }
    }

    /// The commits of a stage's group in a generation; `None` while a commit is in progress.
    pub fn committed(&self, setup: &Setup, stage: usize) -> Option<Group> {
        let (group, topic) = setup.stage(stage);
        self.broker.member(MemberOptions::new(&group, &topic, "observer")).committed().ok()
    }

    /// Without further faults, everything must be done within a bounded number of turns.
    fn run_until_quiet(self: &Rc<Self>) -> Result<(), String> {
        self.is_settling.set(true);
        for process in self.processes.borrow().iter() {
            process.asleep_until.set(0);
            process.fault_plans.iter().for_each(|fault_plan| fault_plan.clear());
        }
        let Setup { idle_timeout, session_timeout, transaction_timeout, .. } = self.setup;
        // The maximum of all timeouts, plus time for progress to be committed.
        let max_timeout = idle_timeout.max(session_timeout).max(transaction_timeout);
        let quiet = 2 * max_timeout + 3_000;
        self.visitors.borrow_mut().end(&self.broker);
        let (mut seen, mut since) = (None, self.broker.now());
        for _ in 0..MAX_TURNS {
            self.pass(TURN);
            if self.processes.borrow().is_empty() {
                self.start();
            }
            let processes = self.processes.borrow().clone();
            for process in processes {
                self.step(&process, 0);
                self.step(&process, 1);
            }
            self.check()?;
            for id in self.ids.borrow().iter() {
                self.broker.release(id);
            }
            // Faults planned for later commits still occur.
            let now = self.position().map(|position| (position, self.count("commits without answer")));
            if now.is_none() || now != seen {
                (seen, since) = (now, self.broker.now());
            } else if self.broker.now() - since > quiet && self.has_sealed_all() {
                self.collect_advances();
                *self.finished.borrow_mut() =
                    self.processes.borrow().iter().map(|process| process.finished()).collect();
                return Ok(());
            }
        }
        Err(format!("not quiet after {MAX_TURNS} turns without faults; {:?}", self.position()))
    }

    /// Whether the last window with an event is sealed.
    fn has_sealed_all(&self) -> bool {
        let newest = self.generation(self.newest());
        let Some(committed) = self.committed(&newest, 0) else { return false };
        if committed.iter().any(Option::is_none) {
            return false;
        }
        let figures = |name: &'static str| committed.iter().map(move |c| progress_of(c)[name].as_i64());
        figures("sealed").min().flatten() >= figures("last_end").max().flatten()
    }

    /// The ends of all topics, and the commits of both groups.
    fn position(&self) -> Option<(Vec<i64>, [Group; 2])> {
        let newest = self.generation(self.newest());
        let partitions = |topic: &str, count| -> Vec<(String, i32)> {
            (0..count).map(|partition| (topic.to_owned(), partition)).collect()
        };
        let ends = partitions(&newest.blocks(), newest.settings.lanes)
            .into_iter()
            .chain(partitions(&newest.state(), newest.inputs))
            .chain(partitions(RESULTS, newest.result_partitions))
            .chain([(TOP_PAGES.to_owned(), 0), (newest.dead_letters(), 0)])
            .map(|(topic, partition)| self.broker.end_offset(&topic, partition).unwrap())
            .collect();
        Some((ends, [self.committed(&newest, 0)?, self.committed(&newest, 1)?]))
    }

    pub fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
    }

    fn check(&self) -> Result<(), String> {
        self.check_told();
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// Whether an error is one for a process of a generation that has ended: its commits are marked, or it needs events that are deleted.
fn is_refusal(why: &str) -> bool {
    ["ended the one of this process", "is gone, the log has", "retention deleted it"]
        .iter()
        .any(|refusal| why.contains(refusal))
}

/// Stage 1's commit metadata; null without a commit.
pub fn progress_of(committed: &Option<Committed>) -> Value {
    committed.as_ref().map_or(Value::Null, |committed| serde_json::from_str(&committed.metadata).unwrap())
}
