//! A member whose process may die or stall before any of its calls.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    time::Duration,
};

use weir_log::{Committed, Error, Item, Member, Output, Rebalance, Record, TopicDescription};

use crate::{scene::Scene, setup::STATE};

/// What is to happen to one stage of a process.
#[derive(Default)]
pub struct Fate {
    /// Dies before the call after so many.
    pub dies_in: Cell<Option<u32>>,
    /// Stalls before the call after so many, while the others go on.
    pub stalls_in: Cell<Option<u32>>,
    /// Cannot reach the broker for a while from the call after so many on.
    pub cut_off_in: Cell<Option<u32>>,
    /// Dies or stalls when its next commit has returned, whatever that said, before it can do anything about it.
    pub after_commit: Cell<Option<Blow>>,
    /// Nothing it does reaches the log any more.
    pub dead: Cell<bool>,
}

impl Fate {
    pub fn spare(&self) {
        self.dies_in.set(None);
        self.stalls_in.set(None);
        self.cut_off_in.set(None);
        self.after_commit.set(None);
    }
}

/// What ends a step.
#[derive(Clone, Copy)]
pub enum Blow {
    Death,
    Stall,
}

/// A member of the log in memory, and its fate.
pub struct Frail {
    member: weir_memory::Member,
    id: String,
    fate: Rc<Fate>,
    scene: Weak<Scene>,
}

/// Counts down; whether it is time.
fn is_due(count: &Cell<Option<u32>>) -> bool {
    let left = count.take();
    count.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

impl Frail {
    pub fn new(options: weir_memory::MemberOptions, fate: Rc<Fate>, scene: &Rc<Scene>) -> Self {
        let id = options.transactional_id.clone();
        Self { member: scene.broker.member(options), id, fate, scene: Rc::downgrade(scene) }
    }

    fn scene(&self) -> Rc<Scene> {
        self.scene.upgrade().expect("the scene outlives its processes")
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.scene().tell(|| format!("{}: {}", self.id, what()));
    }

    fn live(&self) -> Result<(), Error> {
        if is_due(&self.fate.stalls_in) {
            self.scene().note("stalls within a step");
            self.scene().meanwhile();
        }
        if is_due(&self.fate.cut_off_in) {
            let scene = self.scene();
            scene.note("outages within a step");
            scene.broker.inject(&self.id, weir_memory::Fault::Away(scene.dice.between(1, 6) as u32));
        }
        if is_due(&self.fate.dies_in) {
            self.scene().note("crashes within a step");
            self.fate.dead.set(true);
        }
        if self.fate.dead.get() { Err(Error::Fatal("the process is dead".to_owned())) } else { Ok(()) }
    }
}

impl Member for Frail {
    fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        self.live()?;
        let scene = self.scene();
        let max = if scene.dice.chance(600) { scene.dice.between(1, 25) as usize } else { max };
        let rebalance = self.member.poll(max, wait, sink)?;
        match rebalance {
            Some(Rebalance::Assigned(_)) => scene.note("assignments"),
            Some(Rebalance::Revoked) => scene.note("partitions revoked"),
            Some(Rebalance::Lost) => scene.note("partitions lost"),
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
            self.scene().check_decision(&self.id, &output);
        }
        if output.topic == STATE && !self.scene().settling.get() && self.scene().dice.chance(80) {
            self.scene().leave_in_doubt(&self.id, &self.fate);
        }
        self.member.send(output)
    }

    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        self.live()?;
        let result = self.member.commit(offsets);
        self.tell(|| format!("commit {offsets:?}: {result:?}"));
        match &result {
            Ok(()) => {
                self.scene().note("commits");
                self.scene().check_progress(&self.id, offsets);
            }
            Err(Error::Abort(why)) if why.contains("no answer") => {
                self.scene().note("commits without answer")
            }
            Err(_) => self.scene().note("commits refused"),
        }
        match self.fate.after_commit.take() {
            Some(Blow::Death) => {
                self.scene().note("crashes after a commit");
                self.fate.dead.set(true);
            }
            Some(Blow::Stall) => {
                self.scene().note("stalls after a commit");
                self.scene().meanwhile();
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
