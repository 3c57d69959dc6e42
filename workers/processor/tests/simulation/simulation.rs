//! One run: a log that grows, processes that work on it, and what happens to them, all of it decided by one seed.

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
    dice::Dice,
    found::{self, WatermarkAdvance},
    process::Process,
    setup::{BLOCKS, DEAD_LETTERS, RESULTS, STAGES, STATE, Setup, TOP_PAGES},
    tally::Tally,
    visitors::Visitors,
};

/// Most turns of all processes until everything must be quiet after the last disturbance.
const MAX_TURNS: u32 = 1_200;
/// How long each takes, milliseconds. All together take less than the 300 s after which a group expels a member that does not
/// answer a rebalance.
const TURN: i64 = 200;

/// When the broker's clock starts.
const START: i64 = 1_700_000_000_000;

/// Where a group stands, by partition.
type Group = Vec<Option<Committed>>;

pub struct Simulation {
    pub setup: Setup,
    pub broker: Broker,
    pub dice: Dice,
    pub visitors: RefCell<Visitors>,
    pub processes: RefCell<Vec<Rc<Process>>>,
    pub tally: RefCell<Tally>,
    /// Every transactional id that was ever used.
    pub ids: RefCell<BTreeSet<String>>,
    /// Logged idle decisions, remembered before compaction may take them.
    pub advances: RefCell<BTreeSet<WatermarkAdvance>>,
    /// How far each partition of events was read and committed a while ago.
    pub read_long_ago: RefCell<Vec<i64>>,
    pub names: Cell<u32>,
    /// The most records that a partition of events was ever said to have been read.
    progress: RefCell<BTreeMap<i32, i64>>,
    /// At the end: whether, and with which last window, each process says that it is done.
    pub finished: RefCell<Vec<Option<EndOfLog>>>,
    /// Whether nothing more may happen.
    pub settling: Cell<bool>,
    /// Whether everything that happens is told.
    telling: bool,
    failure: RefCell<Option<String>>,
}

impl Simulation {
    pub fn new(seed: u64, telling: bool) -> Rc<Self> {
        let dice = Dice::new(2 * seed);
        let setup = Setup::draw(&dice);
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
            settling: Cell::new(false),
            telling,
            failure: RefCell::default(),
            setup,
            broker,
            dice,
        })
    }

    /// Counts something that happened.
    pub fn note(&self, what: &'static str) {
        self.tally.borrow_mut().add(what, 1);
        self.tell(|| format!("* {what}"));
    }

    /// How often it happened so far.
    pub fn count(&self, what: &str) -> u64 {
        self.tally.borrow().of(what)
    }

    /// Says what happens, for whoever looks at one seed.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.telling {
            println!("{} {}", self.broker.now() - START, what());
        }
    }

    /// Plays until the log is written, and then on, undisturbed, until nothing happens any more.
    pub fn run(self: &Rc<Self>) -> Result<(), String> {
        let restlessness = self.dice.pick(&[0, 10, 30, 80, 150]);
        self.settling.set(restlessness == 0);
        let haste = self.dice.pick(&[5, 40, 200]);
        self.start();
        while !self.visitors.borrow().are_done() {
            self.pass(self.dice.between(0, haste));
            match self.dice.between(1, 1000) {
                1..=160 => self.visitors.borrow_mut().write(&self.broker),
                161..=170 => self.pass(self.dice.between(0, 2 * self.setup.idle_timeout)),
                171..=175 => self.quiet(),
                n if n <= 175 + restlessness => self.disturb(),
                _ => {
                    if let Some(process) = self.someone() {
                        self.step(&process, self.dice.below(2));
                    }
                }
            }
            self.check()?;
        }
        self.run_until_quiet()
    }

    /// Nobody writes for longer than the idle timeout, or than a window, while all processes work on.
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

    /// A process chosen by chance.
    pub fn someone(&self) -> Option<Rc<Process>> {
        let processes = self.processes.borrow();
        (!processes.is_empty()).then(|| processes[self.dice.below(processes.len())].clone())
    }

    /// Moves the broker's clock on, milliseconds.
    pub fn pass(&self, time: i64) {
        self.broker.advance(Duration::from_millis(time as u64));
    }

    /// One step of one stage of a process, unless it sleeps.
    pub fn step(&self, process: &Rc<Process>, stage: usize) {
        let now = self.broker.now();
        if now < process.asleep_until.get() {
            return;
        }
        match process.step(stage, now) {
            Ok(()) => self.check_finished(process),
            Err(Error::Retry(_)) => self.note("steps put off"),
            Err(Error::Fatal(_)) if process.is_dead() => self.remove(process),
            Err(Error::Fatal(_)) if process.has_rival.get() => {
                self.note("zombies told to stop");
                process.die();
                self.remove(process);
            }
            Err(error) => self.fail(format!("{}, stage {}: {error:?}", process.name, stage + 1)),
        }
    }

    /// Everybody but whoever stalls goes on, until its session and its transaction may have timed out.
    pub fn meanwhile(&self) {
        let (steps, setup) = (self.dice.between(2, 10), &self.setup);
        let longest = setup.session_timeout.max(setup.transaction_timeout) + 100;
        let time = self.dice.pick(&[longest / 3, longest, 2 * longest]);
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

    /// Remembers the idle decisions that are in the log now.
    pub fn remember_raises(&self) {
        self.advances.borrow_mut().extend(found::advances(&self.broker, self.setup.inputs));
    }

    /// What was committed never goes backwards, not even while a process reads again what others have read.
    pub fn check_progress(&self, id: &str, offsets: &[(i32, Committed)]) {
        for (partition, committed) in offsets.iter().filter(|_| id.starts_with(STAGES[0].0)) {
            let read = standing_of(&Some(committed.clone()))["read"].as_i64().unwrap();
            let before = self.progress.borrow_mut().insert(*partition, read).unwrap_or_default();
            if read < before
                || committed.offset < read
                || !self.setup.has_transactions && committed.offset != read
            {
                self.fail(format!("{id}: partition {partition} was at {before}, is at {committed:?}"));
            }
        }
    }

    /// A decision goes by what the partitions are committed to be: it follows the slowest that is not idle, and when all are, the
    /// last window, but never goes ahead of the broker's clock, whatever the process's own shows. That alone may hold it back.
    pub fn check_decision(&self, id: &str, output: &Output) {
        // Whoever stalled since it looked saw something else.
        let is_sure = self.count("stalls within a step") + self.count("stalls after a commit") == 0;
        let decision = found::decision(output.key.as_deref(), output.value.as_deref()).filter(|_| is_sure);
        let (Some((_, watermark)), Some(committed)) = (decision, self.committed(0)) else { return };
        let standings: Vec<Value> = committed.iter().map(standing_of).collect();
        let busy: Vec<&Value> = standings.iter().filter(|standing| standing["idle"] != true).collect();
        let right = if busy.is_empty() {
            standings.iter().filter_map(|standing| standing["last_end"].as_i64()).max()
        } else if self.setup.until_end {
            None
        } else {
            busy.iter().map(|standing| standing["watermark"].as_i64()).min().flatten()
        };
        let by_the_clock = self.broker.now() - self.setup.settings.out_of_orderness;
        let is_right = match self.setup.until_end {
            true => right == Some(watermark),
            false => {
                // What is advanced by the clock alone is any time up to it: how well a process knows it depends on what it read.
                right.is_some_and(|right| watermark <= right.min(by_the_clock))
                    && (self.setup.is_live || right == Some(watermark))
            }
        };
        if !is_right {
            let (key, partition) = (output.key.as_deref().map(String::from_utf8_lossy), output.partition);
            self.fail(format!("{id} decided {key:?} for partition {partition}, where {right:?} is right"));
        }
    }

    /// Whoever says that all is done up to a window has every partition's word for it.
    fn check_finished(&self, process: &Process) {
        let (Some(EndOfLog::Sealed(last)), Some(committed)) = (process.finished(), self.committed(0)) else {
            return;
        };
        let sealed = |committed| standing_of(committed)["sealed"].as_i64();
        if !committed.iter().all(|committed| sealed(committed) >= Some(last)) {
            self.fail(format!("{} says that all is done up to {last}, but {committed:?}", process.name));
        }
    }

    /// Where a stage's group stands; `None` while that is being decided.
    pub fn committed(&self, stage: usize) -> Option<Group> {
        let (group, topic) = STAGES[stage];
        self.broker.member(MemberOptions::new(group, topic, "onlooker")).committed().ok()
    }

    /// No more disturbances: everything must be done within a bounded number of turns.
    fn run_until_quiet(self: &Rc<Self>) -> Result<(), String> {
        self.settling.set(true);
        for process in self.processes.borrow().iter() {
            process.asleep_until.set(0);
            process.fates.iter().for_each(|fault_plan| fault_plan.spare());
        }
        let Setup { idle_timeout, session_timeout, transaction_timeout, .. } = self.setup;
        // Whatever still waits for something waits for one of these, or for progress to be committed.
        let longest = idle_timeout.max(session_timeout).max(transaction_timeout);
        let quiet = 2 * longest + 3_000;
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
            // What was ordered for commits to come still happens to them.
            let now = self.standing().map(|standing| (standing, self.count("commits without answer")));
            if now.is_none() || now != seen {
                (seen, since) = (now, self.broker.now());
            } else if self.broker.now() - since > quiet && self.has_sealed_all() {
                self.remember_raises();
                *self.finished.borrow_mut() =
                    self.processes.borrow().iter().map(|process| process.finished()).collect();
                return Ok(());
            }
        }
        Err(format!("not quiet after {MAX_TURNS} turns without a disturbance; {:?}", self.standing()))
    }

    /// Whether the last window with an event is sealed, which waits for its time to come.
    fn has_sealed_all(&self) -> bool {
        let Some(committed) = self.committed(0) else { return false };
        let figures = |name: &'static str| committed.iter().map(move |c| standing_of(c)[name].as_i64());
        figures("sealed").min().flatten() >= figures("last_end").max().flatten()
    }

    /// How far everything is: the ends of all topics, and both groups.
    fn standing(&self) -> Option<(Vec<i64>, [Group; 2])> {
        let partitions = |topic: &'static str, count| (0..count).map(move |partition| (topic, partition));
        let ends = partitions(BLOCKS, self.setup.settings.lanes)
            .chain(partitions(STATE, self.setup.inputs))
            .chain(partitions(RESULTS, self.setup.result_partitions))
            .chain([(TOP_PAGES, 0), (DEAD_LETTERS, 0)])
            .map(|(topic, partition)| self.broker.end_offset(topic, partition).unwrap())
            .collect();
        Some((ends, [self.committed(0)?, self.committed(1)?]))
    }

    fn fail(&self, why: String) {
        self.failure.borrow_mut().get_or_insert(why);
    }

    fn check(&self) -> Result<(), String> {
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// What stage 1 committed beside an offset; null where it never did.
pub fn standing_of(committed: &Option<Committed>) -> Value {
    committed.as_ref().map_or(Value::Null, |committed| serde_json::from_str(&committed.metadata).unwrap())
}
