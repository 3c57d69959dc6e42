//! Read, process, write, commit: the loop that both stages share.

mod outputs;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use outputs::{Deferred, Outputs};
use weir_log::{Committed, Error, Item, Member, Output, Rebalance, Record};

/// Maximum records per poll.
const MAX_RECORDS_PER_POLL: usize = 20_000;
/// Longest time that outputs wait for their commit while more records keep coming, milliseconds: a commit is waited for, and what
/// catches up has no other use for that time.
const MAX_TRANSACTION_AGE_MS: i64 = 1_000;
/// Bytes of outputs with which a transaction is committed unless [`Worker::with_transaction_bytes`] says otherwise. The outputs in memory
/// are that and one record at most, however much follows from one event.
pub const TRANSACTION_BYTES: usize = 4_000_000;
/// Time after which progress without outputs is committed, milliseconds.
const PROGRESS_COMMIT_INTERVAL_MS: i64 = 1_000;
/// And while reading keeps up, already once so many records were read, if the last commit was so long ago: what others see as
/// lag stays below a thousand, and a quiet topic is not asked for a commit ten times a second.
const EARLY_PROGRESS_COMMIT: (usize, i64) = (200, 20);

/// What happens to records between the reading and the writing.
pub trait Stage {
    /// Everything known of one input partition.
    type State;

    /// Rebuilds the state of a partition as of where the group stands, and says at which offset reading starts. Calls `heartbeat` as
    /// it goes on: that may take minutes.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn restore<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        now: i64,
        heartbeat: &dyn Fn(),
    ) -> Result<(Self::State, i64), Error>;

    /// Takes a record.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a record that only a person can deal with. After any other the worker goes back to what was committed and
    /// reads the record again.
    fn record(
        &mut self,
        state: &mut Self::State,
        record: &Record<'_>,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error>;

    /// Whether the partition has more to write of what it took. Then it takes nothing else before [`Stage::resume`] has written all of
    /// it, and [`Stage::position`] is such that what was written is not written again, and the rest is.
    fn is_unfinished(&self, _state: &Self::State) -> bool {
        false
    }

    /// Writes the next piece of what the partition has to write, about one record.
    ///
    /// # Errors
    /// As for [`Stage::record`].
    fn resume(&mut self, _state: &mut Self::State, _out: &mut Vec<Output>) -> Result<(), Error> {
        Ok(())
    }

    /// Whether something is to be committed although nothing was written.
    fn wants_commit(&self, _states: &BTreeMap<i32, Self::State>, _now: i64) -> bool {
        false
    }

    /// Just before a commit: what [`Stage::stream`] will write may be chosen here, and is part of [`Stage::position`] from now on.
    fn prepare(&mut self, _states: &mut BTreeMap<i32, Self::State>, _now: i64) {}

    /// Writes into the transaction, piece by piece, what is too much to be kept until then.
    ///
    /// # Errors
    /// Those of `send`; [`Error::Fatal`] for what cannot be written.
    fn stream(
        &mut self,
        _states: &mut BTreeMap<i32, Self::State>,
        _send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Everything in the partition was read, and `offset` is the next to come. From now on [`Stage::position`] stands there, at least:
    /// after the last record there may be offsets that are no records, and whoever stood before them would seem to lag for ever, and to
    /// have lost records once retention deletes what is none.
    fn end(&mut self, state: &mut Self::State, offset: i64, now: i64, out: &mut Vec<Output>);

    /// Everything committed before `offset` was read, and an open transaction holds back what follows. As for [`Stage::end`] the
    /// position is there, but the partition is neither at its end nor idle.
    fn held_back(&mut self, state: &mut Self::State, offset: i64, now: i64, out: &mut Vec<Output>);

    /// Looks at the clock, after each batch.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn tick<M: Member>(
        &mut self,
        _states: &mut BTreeMap<i32, Self::State>,
        _member: &mut M,
        _now: i64,
        _out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the log is one that ends: where nothing more comes, progress is committed at once instead of with what comes next.
    fn is_ending(&self) -> bool {
        false
    }

    /// All that was read so far is committed.
    fn committed(&mut self) {}

    /// What was read since the last commit is forgotten, and will be read again, here or elsewhere.
    fn forgotten(&mut self) {}

    /// Where the partition stands, to be committed with the outputs so far.
    fn position(&self, state: &Self::State) -> Committed;
}

/// One member of a group at work on a stage.
pub struct Worker<S: Stage, M: Member> {
    stage: S,
    member: M,
    states: BTreeMap<i32, S::State>,
    /// What was committed last, by partition.
    committed: BTreeMap<i32, Committed>,
    out: Outputs,
    /// What was polled but not taken yet.
    held: VecDeque<Deferred>,
    heartbeat: Box<dyn Fn() + Send>,
    /// When the oldest output that is not committed was made.
    waiting_since: Option<i64>,
    last_commit: i64,
    /// Records read since.
    read: usize,
    pending: PendingActions,
    /// Whether the last rebalance was answered: the partitions are assigned.
    is_assigned: bool,
    counts: Counts,
}

/// What a worker has done since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records read, those that were read again included.
    pub records: u64,
    /// Records written and committed.
    pub outputs: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Time that they took.
    pub committing: Duration,
    /// Transactions given up.
    pub aborts: u64,
}

/// Answers to a rebalance that are due, in this order, before anything else is read. Each is retried until it succeeds: an unanswered
/// rebalance blocks the whole group.
#[derive(Default)]
struct PendingActions {
    /// The transaction failed or its outcome is unknown.
    restart: bool,
    /// All partitions are to be given back.
    revoke: bool,
    /// These are to be read, from where the group stands.
    restore_and_assign: Option<Vec<i32>>,
}

impl<S: Stage, M: Member> Worker<S, M> {
    /// A worker that owns nothing yet.
    pub fn new(stage: S, member: M) -> Self {
        Self {
            stage,
            member,
            states: BTreeMap::new(),
            committed: BTreeMap::new(),
            out: Outputs::new(TRANSACTION_BYTES),
            held: VecDeque::new(),
            heartbeat: Box::new(|| ()),
            waiting_since: None,
            last_commit: 0,
            read: 0,
            pending: PendingActions::default(),
            is_assigned: false,
            counts: Counts::default(),
        }
    }

    /// Commits as soon as outputs have so many bytes.
    #[must_use]
    pub fn with_transaction_bytes(mut self, bytes: usize) -> Self {
        self.out.max_bytes = bytes;
        self
    }

    /// Calls this while something goes on that takes long: for whoever takes silence for a hang.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: impl Fn() + Send + 'static) -> Self {
        self.heartbeat = Box::new(heartbeat);
        self
    }

    /// One turn: reads what is there (waiting at most `wait` for it), processes it, commits when it is time. `now` is the
    /// wall clock, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Error::Retry`]: nothing was lost, call again. [`Error::Fatal`]: a person must act. [`Error::Abort`] does not
    /// come out: the worker goes back to what was committed by itself.
    pub fn step(&mut self, now: i64, wait: Duration) -> Result<(), Error> {
        match self.turn(now, wait) {
            Err(Error::Abort(why)) => {
                tracing::warn!(reason = %why, "transaction given up, going back to what was committed");
                self.counts.aborts += 1;
                self.pending.restart = true;
                if !self.pending.revoke && self.pending.restore_and_assign.is_none() {
                    self.pending.restore_and_assign = Some(self.partitions());
                }
                self.forget();
                self.run_pending(now)
            }
            other => other,
        }
    }

    /// The stage.
    pub fn stage(&self) -> &S {
        &self.stage
    }

    /// Whether it has its share of the partitions, which may be none.
    pub fn is_assigned(&self) -> bool {
        self.is_assigned
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The member, to ask where the group stands.
    pub fn member(&mut self) -> &mut M {
        &mut self.member
    }

    /// The partitions that this worker owns.
    pub fn partitions(&self) -> Vec<i32> {
        self.states.keys().copied().collect()
    }

    /// Commits what is done and leaves the group.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn leave(mut self) -> Result<(), Error> {
        if let Err(error) = self.commit(0, false) {
            tracing::warn!(%error, "last commit failed: another process will do this work again");
        }
        self.member.leave()
    }

    fn turn(&mut self, now: i64, wait: Duration) -> Result<(), Error> {
        self.run_pending(now)?;
        // Behind what could not be taken yet nothing more is read; the group is still heard.
        let mut blocked = self.has_backlog();
        let (max, wait) = if blocked { (0, Duration::ZERO) } else { (MAX_RECORDS_PER_POLL, wait) };
        let mut read = 0;
        let (stage, states, out, held) = (&mut self.stage, &mut self.states, &mut self.out, &mut self.held);
        let mut failed = None;
        let polled = self.member.poll(max, wait, &mut |item| {
            read += usize::from(matches!(item, Item::Record(_)));
            if failed.is_some() {
                return;
            }
            if blocked {
                held.push_back(Deferred::of(&item));
                return;
            }
            match take(stage, states, out, &item, now) {
                Ok(is_full) => blocked = is_full,
                Err(error) => failed = Some(error),
            }
        });
        // First: whatever became of the rest, the record and those polled after it were passed over, and reading goes on behind them.
        if let Some(error) = failed {
            return Err(passed_over(error));
        }
        match polled? {
            Some(Rebalance::Assigned(partitions)) => self.pending.restore_and_assign = Some(partitions),
            Some(Rebalance::Revoked) => {
                let kept = self.commit(now, false);
                self.forget();
                self.pending.revoke = true;
                match kept {
                    Ok(()) => {}
                    // Another has the transactional id: a restart would take it from him.
                    Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                    Err(error) => {
                        tracing::warn!(%error, "could not commit before the partitions went: the next owner does this work again");
                        self.pending.restart = true;
                    }
                }
            }
            Some(Rebalance::Lost) => {
                (self.pending.restart, self.pending.revoke) = (true, true);
                self.forget();
            }
            None if self.has_backlog() => {}
            None => self.stage.tick(&mut self.states, &mut self.member, now, &mut self.out.records)?,
        }
        self.run_pending(now)?;
        self.drain_backlog(now).map_err(passed_over)?;
        if !self.out.records.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        self.read += read;
        self.counts.records += read as u64;
        let caught_up = read < MAX_RECORDS_PER_POLL;
        let since = now - self.last_commit;
        let due = match self.waiting_since {
            Some(waiting) => caught_up || now - waiting >= MAX_TRANSACTION_AGE_MS || self.out.is_full(),
            None => {
                let ending = read == 0 && self.stage.is_ending();
                ending
                    || since >= PROGRESS_COMMIT_INTERVAL_MS
                    || caught_up && self.read >= EARLY_PROGRESS_COMMIT.0 && since >= EARLY_PROGRESS_COMMIT.1
                    || self.stage.wants_commit(&self.states, now)
            }
        };
        if due { self.commit(now, true) } else { Ok(()) }
    }

    /// Whether something that was polled, or what follows from it, waits.
    fn has_backlog(&self) -> bool {
        !self.held.is_empty() || self.states.values().any(|state| self.stage.is_unfinished(state))
    }

    /// Goes on with what waits, until there is enough for a transaction.
    fn drain_backlog(&mut self, now: i64) -> Result<(), Error> {
        loop {
            let mut is_done = true;
            // Each in turn: what partitions write of one window comes close together, and stage 2 has little to hold.
            for state in self.states.values_mut() {
                if self.out.is_full() {
                    return Ok(());
                }
                if self.stage.is_unfinished(state) {
                    self.stage.resume(state, &mut self.out.records)?;
                    is_done = false;
                }
            }
            if is_done {
                let Some(held) = self.held.pop_front() else { return Ok(()) };
                take(&mut self.stage, &mut self.states, &mut self.out, &held.item(), now)?;
            }
        }
    }

    /// Retries what is pending before anything is read.
    fn run_pending(&mut self, now: i64) -> Result<(), Error> {
        if self.pending.restart {
            self.member.restart()?;
            self.pending.restart = false;
        }
        if self.pending.revoke {
            self.member.unassign()?;
            self.pending.revoke = false;
        }
        if let Some(partitions) = self.pending.restore_and_assign.clone() {
            match self.restore_and_assign(&partitions, now) {
                Err(Error::Abort(why)) => {
                    tracing::info!(reason = %why, "the assignment is no longer ours");
                    self.forget();
                }
                other => other?,
            }
            self.pending.restore_and_assign = None;
        }
        Ok(())
    }

    /// Restores the partitions' states and starts to read.
    fn restore_and_assign(&mut self, partitions: &[i32], now: i64) -> Result<(), Error> {
        self.forget();
        let committed = self.member.committed()?;
        let mut starts = Vec::new();
        for &partition in partitions {
            let at = committed.get(partition as usize).cloned().flatten();
            let (state, start) =
                self.stage.restore(&mut self.member, partition, at.as_ref(), now, &self.heartbeat)?;
            (self.heartbeat)();
            self.states.insert(partition, state);
            if let Some(at) = at {
                self.committed.insert(partition, at);
            }
            starts.push((partition, start));
        }
        self.member.assign(&starts)?;
        self.is_assigned = true;
        tracing::info!(?partitions, "partitions assigned");
        Ok(())
    }

    fn forget(&mut self) {
        self.stage.forgotten();
        self.is_assigned = false;
        self.states.clear();
        self.committed.clear();
        drop(self.out.take());
        self.held.clear();
        self.waiting_since = None;
    }

    /// Commits outputs and progress, if there are any; with `prepared`, also what the stage wants to stream.
    fn commit(&mut self, now: i64, prepared: bool) -> Result<(), Error> {
        if prepared {
            self.stage.prepare(&mut self.states, now);
        }
        self.last_commit = now;
        self.read = 0;
        let positions: Vec<(i32, Committed)> = self
            .states
            .iter()
            .map(|(&partition, state)| (partition, self.stage.position(state)))
            .filter(|(partition, position)| self.committed.get(partition) != Some(position))
            .collect();
        if positions.is_empty() && self.out.records.is_empty() {
            return Ok(());
        }
        let done = self.transact(&positions);
        if let Err(error) = done {
            return Err(match error {
                Error::Fatal(why) => Error::Fatal(why),
                Error::Abort(why) | Error::Retry(why) => Error::Abort(why),
            });
        }
        self.stage.committed();
        self.committed.extend(positions);
        self.waiting_since = None;
        Ok(())
    }

    fn transact(&mut self, positions: &[(i32, Committed)]) -> Result<(), Error> {
        let begun = Instant::now();
        let mut outputs = 0;
        self.member.begin()?;
        let Self { stage, states, member, out, .. } = self;
        let mut send = |output| {
            outputs += 1;
            member.send(output)
        };
        out.take().into_iter().try_for_each(&mut send)?;
        stage.stream(states, &mut send)?;
        self.member.commit(positions)?;
        self.counts.outputs += outputs;
        self.counts.commits += 1;
        self.counts.committing += begun.elapsed();
        Ok(())
    }
}

/// Takes what was polled, and writes what follows from it until there is enough for a transaction. Whether nothing more can be taken.
fn take<S: Stage>(
    stage: &mut S,
    states: &mut BTreeMap<i32, S::State>,
    out: &mut Outputs,
    item: &Item<'_>,
    now: i64,
) -> Result<bool, Error> {
    let (Item::Record(Record { partition, .. })
    | Item::End { partition, .. }
    | Item::HeldBack { partition, .. }) = item;
    let Some(state) = states.get_mut(partition) else { return Ok(false) };
    match *item {
        Item::Record(ref record) => stage.record(state, record, now, &mut out.records)?,
        Item::End { offset, .. } => stage.end(state, offset, now, &mut out.records),
        Item::HeldBack { offset, .. } => stage.held_back(state, offset, now, &mut out.records),
    }
    while stage.is_unfinished(state) {
        if out.is_full() {
            return Ok(true);
        }
        stage.resume(state, &mut out.records)?;
    }
    Ok(out.is_full())
}

/// What was polled and could not be taken is lost to this worker: only going back to what was committed brings it again.
fn passed_over(error: Error) -> Error {
    match error {
        Error::Fatal(why) => Error::Fatal(why),
        Error::Retry(why) | Error::Abort(why) => Error::Abort(why),
    }
}

#[cfg(test)]
mod tests;
