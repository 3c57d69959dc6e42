//! A member whose process may die or stall before any of its calls.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    time::Duration,
};

use weir_log::{Committed, Error, Item, Member, Output, Rebalance, Record, TopicDescription};

use crate::{setup::STATE, simulation::Simulation};

/// What is to happen to one stage of a process.
#[derive(Default)]
pub struct FaultPlan {
    /// Dies before the call after so many.
    pub dies_in: Cell<Option<u32>>,
    /// Stalls before the call after so many, while the others go on.
    pub stalls_in: Cell<Option<u32>>,
    /// Cannot reach the broker for a while from the call after so many on.
    pub cut_off_in: Cell<Option<u32>>,
    /// Dies or stalls when its next commit has returned, whatever that said, before it can do anything about it.
    pub after_commit: Cell<Option<MemberFault>>,
    /// Nothing it does reaches the log any more.
    pub dead: Cell<bool>,
}

impl FaultPlan {
    pub fn spare(&self) {
        self.dies_in.set(None);
        self.stalls_in.set(None);
        self.cut_off_in.set(None);
        self.after_commit.set(None);
    }
}

/// What ends a step.
#[derive(Clone, Copy)]
pub enum MemberFault {
    Crash,
    Stall,
}

/// A member of the log in memory, and its fault_plan.
pub struct FaultyMember {
    member: weir_memory::Member,
    id: String,
    fault_plan: Rc<FaultPlan>,
    simulation: Weak<Simulation>,
}

/// Counts down; whether it is time.
fn is_due(count: &Cell<Option<u32>>) -> bool {
    let left = count.take();
    count.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

impl FaultyMember {
    pub fn new(
        options: weir_memory::MemberOptions,
        fault_plan: Rc<FaultPlan>,
        simulation: &Rc<Simulation>,
    ) -> Self {
        let id = options.transactional_id.clone();
        Self {
            member: simulation.broker.member(options),
            id,
            fault_plan,
            simulation: Rc::downgrade(simulation),
        }
    }

    fn simulation(&self) -> Rc<Simulation> {
        self.simulation.upgrade().expect("the simulation outlives its processes")
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.simulation().tell(|| format!("{}: {}", self.id, what()));
    }

    fn live(&self) -> Result<(), Error> {
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
        self.live()?;
        let simulation = self.simulation();
        let max = if simulation.dice.chance(600) { simulation.dice.between(1, 25) as usize } else { max };
        let rebalance = self.member.poll(max, wait, sink)?;
        match rebalance {
            Some(Rebalance::Assigned(_)) => simulation.note("assignments"),
            Some(Rebalance::Revoked) => simulation.note("partitions revoked"),
            Some(Rebalance::Lost) => simulation.note("partitions lost"),
            None => return Ok(None),
        }
        self.tell(|| format!("{rebalance:?}"));
        Ok(rebalance)
    }

    fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        self.live()?;
        let result = self.member.assign(starts);
        self.tell(|| format!("assign {starts:?}: {result:?}"));
        result
    }

    fn unassign(&mut self) -> Result<(), Error> {
        self.live()?;
        let result = self.member.unassign();
        self.tell(|| format!("unassign: {result:?}"));
        result
    }

    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error> {
        self.live()?;
        self.member.committed()
    }

    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error> {
        self.live()?;
        self.member.committed_by(group, topic)
    }

    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error> {
        self.live()?;
        self.member.topics(names)
    }

    fn beginning(&mut self, partition: i32) -> Result<i64, Error> {
        self.live()?;
        self.member.beginning(partition)
    }

    fn ends(&mut self) -> Result<Vec<i64>, Error> {
        self.live()?;
        self.member.ends()
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.live()?;
        self.member.begin()
    }

    fn send(&mut self, output: Output) -> Result<(), Error> {
        self.live()?;
        self.tell(|| {
            format!(
                "send to {}/{}, key {:?}",
                output.topic,
                output.partition,
                output.key.as_deref().map(String::from_utf8_lossy)
            )
        });
        // A decision must survive what is hardest on it: that its commit is known before it is.
        if output.topic == STATE {
            self.simulation().check_decision(&self.id, &output);
        }
        if output.topic == STATE && !self.simulation().settling.get() && self.simulation().dice.chance(80) {
            self.simulation().leave_in_doubt(&self.id, &self.fault_plan);
        }
        self.member.send(output)
    }

    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        self.live()?;
        let result = self.member.commit(offsets);
        self.tell(|| format!("commit {offsets:?}: {result:?}"));
        match &result {
            Ok(()) => {
                self.simulation().note("commits");
                self.simulation().check_progress(&self.id, offsets);
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
        self.live()?;
        let result = self.member.restart();
        self.tell(|| format!("restart: {result:?}"));
        result
    }

    fn publish(&mut self, output: Output) {
        if self.live().is_ok() {
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
        self.live()?;
        self.member.read(topic, partition, from, sink)
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.live()?;
        self.member.leave()
    }
}
