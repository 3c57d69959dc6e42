//! A group member whose process may crash or stall before any of its calls.

use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Duration,
};

use weir_log::{Committed, Error, Item, Member, Output, Rebalance, Record, TopicDescription};

use crate::{
    planted::{self, Planted},
    simulation::Simulation,
};

/// The planned faults of one stage of a process.
#[derive(Default)]
pub struct FaultPlan {
    /// Crashes after this many further calls.
    pub dies_in: Cell<Option<u32>>,
    /// Stalls after this many further calls, while the other processes run.
    pub stalls_in: Cell<Option<u32>>,
    /// Cannot reach the broker for a while after this many further calls.
    pub cut_off_in: Cell<Option<u32>>,
    /// Crashes or stalls when its next commit has returned, before it can handle the result.
    pub after_commit: Cell<Option<MemberFault>>,
    /// Crashed: no call reaches the log any more.
    pub dead: Cell<bool>,
}

impl FaultPlan {
    pub fn clear(&self) {
        self.dies_in.set(None);
        self.stalls_in.set(None);
        self.cut_off_in.set(None);
        self.after_commit.set(None);
    }
}

/// A fault that ends a step.
#[derive(Clone, Copy)]
pub enum MemberFault {
    Crash,
    Stall,
}

/// A member of the in-memory log, and its fault plan.
pub struct FaultyMember {
    member: weir_memory::Member,
    id: String,
    /// The generation that its group and topics are of, and the stage.
    role: (u32, Option<usize>),
    fault_plan: Rc<FaultPlan>,
    simulation: Weak<Simulation>,
    planted: Option<Planted>,
    /// For planted bugs: the snapshot that is being written, whether partitions are being revoked, the offsets after the last records.
    snapshot: Vec<u8>,
    is_revoked: bool,
    after_last: BTreeMap<i32, i64>,
}

/// Counts down; returns whether the fault is due.
fn is_due(count: &Cell<Option<u32>>) -> bool {
    let left = count.take();
    count.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

impl FaultyMember {
    pub fn new(
        options: weir_memory::MemberOptions,
        role: (u32, Option<usize>),
        fault_plan: Rc<FaultPlan>,
        simulation: &Rc<Simulation>,
    ) -> Self {
        let id = options.transactional_id.clone();
        simulation.ids.borrow_mut().insert(id.clone());
        let planted = simulation.setup.planted;
        let member = simulation.broker.member(options);
        Self {
            member: member.with_careless(planted.and_then(Planted::careless)),
            planted,
            snapshot: Vec::new(),
            is_revoked: false,
            after_last: BTreeMap::new(),
            id,
            role,
            fault_plan,
            simulation: Rc::downgrade(simulation),
        }
    }

    fn simulation(&self) -> Rc<Simulation> {
        self.simulation.upgrade().expect("the simulation outlives its processes")
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        self.simulation().trace(|| format!("{}: {}", self.id, what()));
    }

    /// Requests of an earlier transaction arrive amid this one, which may not come to its end.
    fn deliver_late(&self) {
        let simulation = self.simulation();
        if simulation.is_settling.get()
            || !simulation.dice.chance(100)
            || !simulation.broker.release(&self.id)
        {
            return;
        }
        simulation.note("late requests amid a transaction");
        if simulation.dice.chance(500) {
            self.fault_plan.dies_in.set(Some(simulation.dice.between(0, 2) as u32));
        }
    }

    fn before_call(&self) -> Result<(), Error> {
        if is_due(&self.fault_plan.stalls_in) {
            self.simulation().note("stalls within a step");
            self.simulation().meanwhile();
        }
        if is_due(&self.fault_plan.cut_off_in) {
            let simulation = self.simulation();
            simulation.note("outages within a step");
            simulation
                .broker
                .inject(&self.id, weir_memory::Fault::Away(simulation.dice.between(1, 6) as u32));
        }
        if is_due(&self.fault_plan.dies_in) {
            self.simulation().note("crashes within a step");
            self.fault_plan.dead.set(true);
        }
        if self.fault_plan.dead.get() { Err(Error::fatal("the process is dead")) } else { Ok(()) }
    }
}

impl Member for FaultyMember {
    fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        self.before_call()?;
        let simulation = self.simulation();
        let few = simulation.dice.between(1, 25) as usize;
        let max = if simulation.dice.chance(600) { max.min(few) } else { max };
        let (planted, after_last) = (self.planted, &mut self.after_last);
        let rebalance = self.member.poll(max, wait, &mut |item| {
            if let Item::Record(record) = item {
                after_last.insert(record.partition, record.offset + 1);
            }
            sink(match (planted, item) {
                (Some(Planted::HeldBackIsTheEnd), Item::HeldBack { partition, offset }) => {
                    Item::End { partition, offset }
                }
                (Some(Planted::PositionAfterLastRecord), Item::End { partition, offset }) => {
                    Item::End { partition, offset: after_last.get(&partition).copied().unwrap_or(offset) }
                }
                (_, item) => item,
            });
        })?;
        self.is_revoked = rebalance == Some(Rebalance::Revoked);
        match rebalance {
            Some(Rebalance::Assigned(_)) => simulation.note("assignments"),
            Some(Rebalance::Revoked) => simulation.note("partitions revoked"),
            Some(Rebalance::Lost) => simulation.note("partitions lost"),
            None => return Ok(None),
        }
        self.trace(|| format!("{rebalance:?}"));
        Ok(rebalance)
    }

    fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        self.before_call()?;
        let result = self.member.assign(starts);
        self.trace(|| format!("assign {starts:?}: {result:?}"));
        result
    }

    fn unassign(&mut self) -> Result<(), Error> {
        self.before_call()?;
        let result = self.member.unassign();
        self.trace(|| format!("unassign: {result:?}"));
        result
    }

    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error> {
        self.before_call()?;
        self.member.committed()
    }

    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error> {
        self.before_call()?;
        self.member.committed_by(group, topic)
    }

    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error> {
        self.before_call()?;
        self.member.topics(names)
    }

    fn beginning(&mut self, partition: i32) -> Result<i64, Error> {
        self.before_call()?;
        self.member.beginning(partition)
    }

    fn ends(&mut self) -> Result<Vec<i64>, Error> {
        self.before_call()?;
        self.member.ends()
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.before_call()?;
        self.member.begin()
    }

    fn send(&mut self, mut output: Output) -> Result<(), Error> {
        self.before_call()?;
        self.deliver_late();
        self.trace(|| {
            format!(
                "send to {}/{}, key {:?}",
                output.topic,
                output.partition,
                output.key.as_deref().map(String::from_utf8_lossy)
            )
        });
        // The hardest case for a decision: its offsets become visible before its records.
        let is_state = output.topic.starts_with("shop.state");
        if is_state {
            self.simulation().check_decision(&self.id, self.role.0, &output);
        }
        if is_state && !self.simulation().is_settling.get() && self.simulation().dice.chance(80) {
            self.simulation().leave_in_doubt(&self.id, &self.fault_plan);
        }
        let key = output.key.clone().unwrap_or_default();
        match self.planted {
            Some(Planted::SnapshotBeforeData) if is_state && key.starts_with(b"snapshot") => {
                self.member.publish(output);
                return Ok(());
            }
            Some(Planted::WallClockIdleness) if is_state && key.starts_with(b"raise/") => return Ok(()),
            Some(Planted::IdsInMemory) if is_state && key == b"snapshot/0" => {
                output.value = output.value.as_deref().map(planted::without_ids);
                self.snapshot = output.value.clone().unwrap_or_default();
            }
            Some(Planted::IdsInMemory) if is_state && key == b"snapshot" => {
                output.value = output.value.as_deref().map(|it| planted::manifest_of(&self.snapshot, it));
            }
            _ => {}
        }
        self.member.send(output)
    }

    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        self.before_call()?;
        self.deliver_late();
        if self.planted == Some(Planted::CommitAfterRevoke) && std::mem::take(&mut self.is_revoked) {
            self.member.unassign()?;
            self.simulation().meanwhile();
        }
        if self.planted == Some(Planted::OffsetsOutside) && !offsets.is_empty() {
            self.member.commit(&[])?;
            self.before_call()?;
            self.member.begin()?;
        }
        let result = self.member.commit(offsets);
        self.trace(|| format!("commit {offsets:?}: {result:?}"));
        match &result {
            Ok(()) => {
                self.simulation().note("commits");
                if self.role.1 == Some(0) {
                    self.simulation().check_progress(&self.id, self.role.0, offsets);
                }
            }
            Err(Error::Abort(why)) if why.contains("no answer") => {
                self.simulation().note("commits without answer")
            }
            Err(_) => self.simulation().note("commits refused"),
        }
        match self.fault_plan.after_commit.take() {
            Some(MemberFault::Crash) => {
                self.simulation().note("crashes after a commit");
                self.fault_plan.dead.set(true);
            }
            Some(MemberFault::Stall) => {
                self.simulation().note("stalls after a commit");
                self.simulation().meanwhile();
            }
            None => {}
        }
        result
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.before_call()?;
        let result = self.member.restart();
        self.trace(|| format!("restart: {result:?}"));
        result
    }

    fn publish(&mut self, output: Output) {
        if self.before_call().is_ok() {
            self.member.publish(output);
        }
    }

    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(Record<'_>),
    ) -> Result<i64, Error> {
        self.before_call()?;
        self.member.read(topic, partition, from, sink)
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.before_call()?;
        self.member.leave()
    }
}
