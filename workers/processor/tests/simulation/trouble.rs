//! Faults of processes and of the log.

use std::rc::Rc;

use weir_memory::Fault;

use crate::{
    faulty_member::{FaultPlan, MemberFault},
    process::Process,
    setup::EVENTS,
    simulation::{Simulation, progress_of},
};

/// Maximum number of processes at a time.
const MAX_PROCESSES: usize = 4;

impl Simulation {
    /// Causes one fault.
    pub fn disturb(self: &Rc<Self>) {
        let dice = &self.dice;
        let Some(process) = self.someone() else { return self.start() };
        let stage = dice.below(2);
        let id = self.transactional_id(&process, stage);
        let fault_plan = &process.fault_plans[stage];
        let soon = Some(dice.between(0, 12) as u32);
        match dice.below(20) {
            0 => {
                self.note("crashes between steps");
                process.die();
                self.remove(&process);
            }
            1 => fault_plan.dies_in.set(soon),
            2 | 3 => self.start(),
            4 => self.leave(&process, "leaves"),
            5 => {
                self.note("stalls between steps");
                let time = self.setup.session_timeout * dice.between(500, 4_000) / 1_000;
                process.asleep_until.set(self.broker.now() + time);
            }
            6 | 7 => fault_plan.stalls_in.set(soon),
            8 if process.is_static => {
                self.note("successors of the living");
                self.start_as(&process.name, true);
            }
            8 | 9 => {
                let (what, fault) = dice.pick(&[
                    ("commits lost", Fault::CommitLost),
                    ("commits unknown", Fault::CommitUnknown),
                    ("commits late", Fault::CommitLate),
                    ("markers late", Fault::MarkersLate),
                ]);
                self.order(&id, what, fault);
            }
            10 | 11 => self.leave_in_doubt(&id, fault_plan),
            12 => fault_plan.after_commit.set(Some(dice.pick(&[MemberFault::Crash, MemberFault::Stall]))),
            13 => self.order(&id, "outages", Fault::Away(dice.between(1, 8) as u32)),
            14 => fault_plan.cut_off_in.set(soon),
            15 => {
                self.note("clock jumps");
                let max_timeout = self.setup.session_timeout.max(self.setup.transaction_timeout);
                self.pass(dice.between(0, max_timeout + 500));
            }
            16 => self.release_commits(),
            17 | 18 => {
                let (what, fault) = dice.pick(&[
                    ("commits sent twice", Fault::CommitTwice),
                    ("commits that hang", Fault::CommitHangs),
                    ("transactions begun twice", Fault::BeginTwice),
                    ("restarts that hang", Fault::RestartHangs),
                ]);
                self.order(&id, what, fault);
            }
            _ => self.shorten(),
        }
    }

    /// The transactional id of a process in its own generation, or of the first that it ends.
    fn transactional_id(&self, process: &Process, stage: usize) -> String {
        let mut begun = self.generations_begun.borrow().iter().max().copied().unwrap_or(1);
        if !process.is_taking_over() {
            begun = process.generation;
        }
        let (group, _) = self.generation(begun.min(process.generation)).stage(stage);
        format!("{group}.{}", process.name)
    }

    /// The next commit is held back, and its process crashes or stalls: so it stays in doubt for the others.
    pub fn leave_in_doubt(&self, id: &str, fault_plan: &FaultPlan) {
        let (what, fault) =
            self.dice.pick(&[("commits late", Fault::CommitLate), ("markers late", Fault::MarkersLate)]);
        self.order(id, what, fault);
        fault_plan.after_commit.set(Some(self.dice.pick(&[MemberFault::Crash, MemberFault::Stall])));
    }

    /// Releases held commits.
    pub fn release_commits(&self) {
        for id in self.ids.borrow().iter() {
            if self.dice.chance(500) && self.broker.release(id) {
                self.note("held commits let go");
            }
        }
    }

    fn order(&self, id: &str, what: &'static str, fault: Fault) {
        self.note(what);
        self.broker.inject(id, fault);
    }

    /// Starts a process, if there are not too many: a static one under one of a few names, or one under a unique name.
    pub fn start(self: &Rc<Self>) {
        if self.processes.borrow().len() >= MAX_PROCESSES {
            return;
        }
        self.note("starts");
        if self.dice.chance(600) {
            let name = self.dice.pick(&["weir-0", "weir-1", "weir-2"]);
            let taken = self.processes.borrow().iter().any(|process| process.name == name);
            if !taken {
                return self.start_as(name, true);
            }
        }
        self.names.set(self.names.get() + 1);
        self.start_as(&format!("{}", self.names.get()), false);
    }

    /// Starts a process under a name, even if another process uses it.
    fn start_as(self: &Rc<Self>, name: &str, is_static: bool) {
        // Some have read what is recorded before the last declaration.
        let newest = self.newest();
        let is_outdated = newest > 1 && !self.is_settling.get() && self.dice.chance(100);
        let generation = if is_outdated { newest - 1 } else { newest };
        let process = Process::start(self, generation, name, is_static);
        for rival in self.processes.borrow().iter().filter(|other| other.name == name) {
            rival.has_rival.set(true);
            process.has_rival.set(true);
        }
        self.processes.borrow_mut().push(Rc::new(process));
    }

    /// Compaction and retention.
    fn shorten(&self) {
        self.collect_advances();
        self.note("compactions");
        for setup in self.generations.borrow().iter() {
            for partition in 0..setup.inputs {
                self.broker.compact(&setup.state(), partition).unwrap();
            }
        }
        // Without its first snapshot a generation needs all events that are there.
        if self.setup.has_generations && !self.setup.deletes_events {
            return;
        }
        let newest = self.generation(self.newest());
        if let Some(committed) = self.committed(&newest, 0) {
            self.note("retentions");
            // Events covered by a snapshot are read again only by an owner that does not yet know of a rebalance.
            let covered = committed.iter().map(progress_of);
            let now = covered.map(|partition| partition["from"].as_i64().unwrap_or_default()).collect();
            for (partition, before) in (0..).zip(self.read_long_ago.replace(now)) {
                self.broker.truncate(EVENTS, partition, before).unwrap();
            }
        }
    }
}
