//! Read, process, write, commit: the loop that both stages share.

mod outputs;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::stage::{RecordError, Stage};
use outputs::{Deferred, Outputs};
use weir_log::{Committed, Error, Item, Member, Rebalance, Record};

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
        let (rebalance, read) = self.poll(now, wait)?;
        match rebalance {
            Some(rebalance) => self.on_rebalance(rebalance, now)?,
            None if self.has_backlog() => {}
            None => self.stage.tick(&mut self.states, &mut self.member, now, &mut self.out.records)?,
        }
        self.run_pending(now)?;
        self.drain_backlog(now)?;
        if !self.out.records.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        self.read += read;
        self.counts.records += read as u64;
        if self.is_commit_due(read, now) { self.commit(now, true) } else { Ok(()) }
    }

    /// Reads and processes what is there. The rebalance that came, if one did, and how many records were read.
    fn poll(&mut self, now: i64, wait: Duration) -> Result<(Option<Rebalance>, usize), Error> {
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
        // First: whatever became of the rest, the record and those polled behind it were passed over.
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok((polled?, read))
    }

    /// Does at once what a rebalance asks for at once; the rest is pending.
    fn on_rebalance(&mut self, rebalance: Rebalance, now: i64) -> Result<(), Error> {
        match rebalance {
            Rebalance::Assigned(partitions) => self.pending.restore_and_assign = Some(partitions),
            Rebalance::Revoked => {
                let kept = self.commit(now, false);
                self.forget();
                self.pending.revoke = true;
                match kept {
                    Ok(()) => {}
                    // Another process has the transactional id: a restart would take it back.
                    Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                    Err(error) => {
                        tracing::warn!(%error, "could not commit before the partitions went: the next owner does this work again");
                        self.pending.restart = true;
                    }
                }
            }
            Rebalance::Lost => {
                (self.pending.restart, self.pending.revoke) = (true, true);
                self.forget();
            }
        }
        Ok(())
    }

    /// Whether it is time to commit, where the last poll read so many records.
    fn is_commit_due(&mut self, read: usize, now: i64) -> bool {
        let caught_up = read < MAX_RECORDS_PER_POLL;
        let since = now - self.last_commit;
        match self.waiting_since {
            Some(waiting) => caught_up || now - waiting >= MAX_TRANSACTION_AGE_MS || self.out.is_full(),
            None => {
                let ending = read == 0 && self.stage.is_ending();
                ending
                    || since >= PROGRESS_COMMIT_INTERVAL_MS
                    || caught_up && self.read >= EARLY_PROGRESS_COMMIT.0 && since >= EARLY_PROGRESS_COMMIT.1
                    || self.stage.wants_commit(&self.states, now)
            }
        }
    }

    /// Whether something that was polled, or what follows from it, waits.
    fn has_backlog(&self) -> bool {
        !self.held.is_empty() || self.states.values().any(|state| self.stage.is_unfinished(state))
    }

    /// Goes on with what waits, until there is enough for a transaction.
    fn drain_backlog(&mut self, now: i64) -> Result<(), RecordError> {
        loop {
            let mut is_done = true;
            // Each in turn: what partitions write of one window comes close together, and stage 2 has little to hold.
            for state in self.states.values_mut() {
                if self.out.is_full() {
                    return Ok(());
                }
                if self.stage.is_unfinished(state) {
                    self.stage.resume(state, &mut self.out.records);
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
) -> Result<bool, RecordError> {
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
        stage.resume(state, &mut out.records);
    }
    Ok(out.is_full())
}

#[cfg(test)]
mod tests;
