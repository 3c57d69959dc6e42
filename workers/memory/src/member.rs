//! The member, in place of the client library.

mod membership;
mod reading;
mod transactions;

use std::time::{Duration, Instant};

use self::reading::{Fetched, record};
use super::broker::Broker;
use super::clock::millis;
use super::producer::Request;
use weir_log::{Committed, Error, Item, Output, Rebalance, Record, TopicDescription};

/// No group is ever in this generation.
const NO_GENERATION: i64 = -1;

/// The identity and timeouts of a member.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// Consumer group.
    pub group: String,
    /// Input topic.
    pub topic: String,
    /// Static membership under this name.
    pub instance: Option<String>,
    /// Transactional id of its producer.
    pub transactional_id: String,
    /// A member that has not polled for this time is expelled; 15 s by default.
    pub session_timeout: Duration,
    /// A transaction that is open for this time is aborted; 15 s by default.
    pub transaction_timeout: Duration,
}

impl MemberOptions {
    /// A dynamic member with the default timeouts.
    pub fn new(group: &str, topic: &str, transactional_id: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            instance: None,
            transactional_id: transactional_id.to_owned(),
            session_timeout: Duration::from_secs(15),
            transaction_timeout: Duration::from_secs(15),
        }
    }
}

/// What a careless client does, for tests that show that the harm is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Careless {
    /// Its commits name no generation of the group, as those of clients before KIP-447: nothing refuses them once the partitions
    /// have moved.
    NoGeneration,
    /// After a failed commit the same producer goes on, in the same epoch.
    SameProducer,
    /// After a commit that may have been sent twice the same producer goes on.
    NoFreshProducer,
}

/// The member's state in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Outside,
    Joining,
    /// `Assigned` was reported.
    Offered,
    Owning,
    /// `Revoked` was reported.
    Revoking,
    /// `Lost` was reported.
    Losing,
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// The transaction failed: `restart` must follow.
    Failed,
}

#[derive(Debug)]
struct Position {
    partition: i32,
    next: i64,
    /// The last reported end, and whether something was held back after it.
    reported: Option<(i64, bool)>,
}

/// A member of a group on the in-memory log.
#[derive(Debug)]
pub struct Member {
    broker: Broker,
    options: MemberOptions,
    epoch: i64,
    transaction: Transaction,
    phase: Phase,
    id: u64,
    /// The generation of its assignment.
    generation: i64,
    owned: Vec<i32>,
    positions: Vec<Position>,
    /// The next partition to read.
    turn: usize,
    /// A request of the last commit may be under way: a new producer begins the next transaction.
    may_be_under_way: bool,
    /// Restarts that were given up: each may still fence what was started since.
    unanswered: u32,
    careless: Option<Careless>,
}

impl Member {
    /// Makes the member careless.
    #[must_use]
    pub fn with_careless(self, careless: Option<Careless>) -> Self {
        Self { careless, ..self }
    }

    pub(super) fn start(broker: Broker, options: MemberOptions) -> Self {
        let mut state = broker.lock();
        let epoch = state.start_producer(&options.transactional_id, millis(options.transaction_timeout));
        if let Some(producer) = state.producers.get_mut(&options.transactional_id) {
            // What the last process hung in arrives while it lives, if at all.
            producer.late.retain(|late| !matches!(late.request, Request::Start));
        }
        drop(state);
        broker.wake();
        Self {
            broker,
            options,
            epoch,
            transaction: Transaction::None,
            phase: Phase::Outside,
            id: 0,
            generation: NO_GENERATION,
            owned: Vec::new(),
            positions: Vec::new(),
            turn: 0,
            may_be_under_way: false,
            unanswered: 0,
            careless: None,
        }
    }
}

impl weir_log::Member for Member {
    fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        let broker = self.broker.clone();
        let deadline = Instant::now() + wait;
        // A waiting poll must send heartbeats too, or its session would time out.
        let heartbeat = self.options.session_timeout / 3;
        let mut state = broker.lock();
        state.reachable(&self.options.transactional_id)?;
        let fetched = loop {
            if let Some(rebalance) = self.rebalance(&mut state)? {
                return Ok(Some(rebalance));
            }
            let fetched = self.fetch(&state, max)?;
            if !fetched.is_empty() {
                break fetched;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match broker.wait(state, left.min(heartbeat)) {
                Some(again) => state = again,
                None => return Ok(None),
            }
        };
        drop(state);
        for item in &fetched {
            sink(match item {
                Fetched::Record(partition, stored) => Item::Record(record(*partition, stored)),
                Fetched::End(partition, offset) => Item::End { partition: *partition, offset: *offset },
                Fetched::HeldBack(partition, offset) => {
                    Item::HeldBack { partition: *partition, offset: *offset }
                }
            });
        }
        Ok(None)
    }

    fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        let moved = Error::abort("the partitions are no longer this member's; poll for what is");
        if !matches!(self.phase, Phase::Offered | Phase::Owning) {
            return Err(moved);
        }
        self.phase = Phase::Owning;
        self.positions.clear();
        let current = state
            .groups
            .get(&self.options.group)
            .is_some_and(|group| group.is_current(self.id, self.generation));
        if !current || starts.iter().any(|(partition, _)| !self.owned.contains(partition)) {
            return Err(moved);
        }
        let position = |&(partition, next): &(i32, i64)| Position { partition, next, reported: None };
        self.positions = starts.iter().map(position).collect();
        self.turn = 0;
        Ok(())
    }

    fn unassign(&mut self) -> Result<(), Error> {
        let broker = self.broker.clone();
        let mut state = broker.lock();
        state.reachable(&self.options.transactional_id)?;
        self.positions.clear();
        self.owned.clear();
        self.generation = NO_GENERATION;
        match self.phase {
            Phase::Revoking => self.rejoin(&mut state),
            Phase::Losing => self.phase = Phase::Outside,
            _ => {}
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error> {
        let MemberOptions { group, topic, .. } = self.options.clone();
        self.committed_by(&group, &topic)
    }

    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        state.count("committed_by");
        let count = state.topic(topic)?.partitions.len() as i32;
        if state.is_pending(group) {
            return Err(Error::retry(format!("a transaction with offsets of group {group} is pending")));
        }
        let offset = |partition| {
            state
                .groups
                .get(group)
                .and_then(|group| group.offsets.get(&(topic.to_owned(), partition)))
                .cloned()
        };
        Ok((0..count).map(offset).collect())
    }

    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        let of = |name: &&str| {
            let topic = state.topics.get(*name)?;
            Some(TopicDescription {
                id: format!("{:022}", topic.id),
                partitions: topic.partitions.len() as i32,
            })
        };
        Ok(names.iter().map(of).collect())
    }

    fn beginning(&mut self, partition: i32) -> Result<i64, Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        state.partition(&self.options.topic, partition).map(|log| log.start)
    }

    fn ends(&mut self) -> Result<Vec<i64>, Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        state.count("ends");
        Ok(state.topic(&self.options.topic)?.partitions.iter().map(|log| log.end).collect())
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.broker.lock().reachable(&self.options.transactional_id)?;
        if self.may_be_under_way && self.careless != Some(Careless::NoFreshProducer) {
            self.restart()?;
        }
        match self.transaction {
            Transaction::None => {
                self.transaction = Transaction::Open;
                Ok(())
            }
            Transaction::Open => Err(Error::fatal("a transaction is open already; commit it or restart")),
            Transaction::Failed => Err(Error::abort("the transaction failed; restart first")),
        }
    }

    fn send(&mut self, output: Output) -> Result<(), Error> {
        self.expect_open()?;
        let mut state = self.broker.lock();
        let (topic, partition) = (output.topic.clone(), output.partition);
        let id = &self.options.transactional_id;
        let sent = state
            .enlist(id, self.epoch, Some((&topic, partition)))
            .map(|open| open.number)
            .and_then(|number| state.append(&topic, partition, number, Self::stored(output)));
        drop(state);
        if sent.is_err() {
            self.transaction = Transaction::Failed;
        }
        sent.map(|_| ()).map_err(|error| self.fenced_by_itself(error))
    }

    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        self.expect_open()?;
        let result = self.try_commit(offsets);
        self.transaction = if result.is_ok() { Transaction::None } else { Transaction::Failed };
        result.map_err(|error| self.fenced_by_itself(error))
    }

    fn restart(&mut self) -> Result<(), Error> {
        let mut state = self.broker.lock();
        let MemberOptions { transactional_id, transaction_timeout, .. } = &self.options;
        state.reachable(transactional_id)?;
        if self.careless == Some(Careless::SameProducer)
            && state.producers.get(transactional_id).is_some_and(|producer| producer.epoch == self.epoch)
        {
            state.end(transactional_id, false);
            self.transaction = Transaction::None;
            return Ok(());
        }
        if state.restart_hangs(transactional_id) {
            state.hold(transactional_id, self.epoch, Request::Start);
            self.unanswered += 1;
            return Err(Error::retry("the restart did not return"));
        }
        self.epoch = state.start_producer(transactional_id, millis(*transaction_timeout));
        (self.transaction, self.may_be_under_way) = (Transaction::None, false);
        self.broker.wake();
        Ok(())
    }

    fn publish(&mut self, output: Output) {
        let (topic, partition) = (output.topic.clone(), output.partition);
        match self.broker.lock().append(&topic, partition, 0, Self::stored(output)) {
            Ok(_) => self.broker.wake(),
            Err(error) => tracing::debug!(%error, topic, partition, "not published"),
        }
    }

    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(Record<'_>),
    ) -> Result<i64, Error> {
        let mut state = self.broker.lock();
        state.reachable(&self.options.transactional_id)?;
        state.count("read");
        let (records, end) = state.read(topic, partition, from)?;
        drop(state);
        for stored in &records {
            sink(record(partition, stored));
        }
        Ok(end)
    }

    fn leave(&mut self) -> Result<(), Error> {
        let mut state = self.broker.lock();
        let id = &self.options.transactional_id;
        if state.producers.get(id).is_some_and(|producer| producer.epoch == self.epoch) {
            state.end(id, false);
        }
        self.transaction = Transaction::None;
        let now = state.clock.now();
        if self.options.instance.is_none()
            && let Some(group) = state.groups.get_mut(&self.options.group)
        {
            group.remove(self.id, now);
        }
        self.phase = Phase::Left;
        self.generation = NO_GENERATION;
        self.positions.clear();
        state.tick();
        self.broker.wake();
        Ok(())
    }
}
