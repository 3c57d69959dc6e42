//! Read, process, write, commit: the loop that both stages share.

mod outputs;

use std::{
    collections::{BTreeMap, VecDeque},
    thread,
    time::{Duration, Instant},
};

use crate::stage::{RecordError, Stage};
use outputs::{Deferred, Outputs};
use weir_log::{Committed, Error, Item, Member, Rebalance, Record};

/// Maximum records per poll.
const MAX_RECORDS_PER_POLL: usize = 20_000;
/// Maximum time that outputs wait for a commit while more records keep coming, milliseconds: commits block, and should be rare
/// while catching up.
const MAX_TRANSACTION_AGE_MS: i64 = 1_000;
/// Default size of a transaction, bytes of outputs ([`Worker::with_transaction_bytes`]). The outputs in memory are at most that and one
/// record, however many one event has.
pub const TRANSACTION_BYTES: usize = 4_000_000;
/// Time after which progress without outputs is committed, milliseconds.
const PROGRESS_COMMIT_INTERVAL_MS: i64 = 1_000;
/// When caught up, progress is committed earlier: after this many records, if the last commit is this many milliseconds ago. So the
/// visible lag stays below a thousand records, and a quiet topic does not get ten commits per second.
const EARLY_PROGRESS_COMMIT: (usize, i64) = (200, 20);

/// A group member that runs a stage.
pub struct Worker<S: Stage, M: Member> {
    stage: S,
    member: M,
    states: BTreeMap<i32, S::State>,
    /// The last commit, by partition.
    committed: BTreeMap<i32, Committed>,
    out: Outputs,
    /// Items polled but not processed yet.
    held: VecDeque<Deferred>,
    heartbeat: Box<dyn Fn() + Send>,
    /// When the oldest uncommitted output was written.
    waiting_since: Option<i64>,
    last_commit: i64,
    /// Records read since the last commit.
    read: usize,
    pending: PendingActions,
    /// Whether the partitions of the last rebalance are assigned.
    is_assigned: bool,
    counts: Counts,
}

/// What a worker has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records read, including those read again.
    pub records: u64,
    /// Records written and committed.
    pub outputs: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Time spent in commits.
    pub committing: Duration,
    /// Transactions aborted.
    pub aborts: u64,
}

/// Answers to a rebalance that are due, in this order, before anything else is read. Each is retried until it succeeds: an unanswered
/// rebalance blocks the whole group.
#[derive(Default)]
struct PendingActions {
    /// The transaction failed or its outcome is unknown.
    restart: bool,
    /// All partitions are to be unassigned.
    revoke: bool,
    /// Partitions to restore and read from the group's commit.
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

    /// Calls `heartbeat` during long operations, for liveness checks.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: impl Fn() + Send + 'static) -> Self {
        self.heartbeat = Box::new(heartbeat);
        self
    }

    /// One turn: polls (waiting at most `wait`), processes, and commits when due. `now` is the
    /// wall clock, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Error::Retry`]: nothing was lost, call again. [`Error::Fatal`]: manual action is required. Never [`Error::Abort`]: the worker
    /// itself resumes from the last commit.
    pub fn step(&mut self, now: i64, wait: Duration) -> Result<(), Error> {
        match self.turn(now, wait) {
            Err(Error::Abort(why)) => {
                tracing::warn!(reason = %why, "transaction aborted, resuming from the last commit");
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

    /// Whether its partitions, possibly none, are assigned.
    pub fn is_assigned(&self) -> bool {
        self.is_assigned
    }

    /// What it has done since it started.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The member, to read the group's commits.
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
            tracing::warn!(%error, "final commit failed: another process will repeat this work");
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

    /// Polls and processes records. Returns the rebalance, if one occurred, and the number of records read.
    fn poll(&mut self, now: i64, wait: Duration) -> Result<(Option<Rebalance>, usize), Error> {
        // While items are deferred nothing more is read, but the member still takes part in the group.
        let mut blocked = self.has_backlog();
        let waits = self.stage.waits(&self.states);
        if waits {
            thread::sleep(wait);
        }
        let (max, wait) = if blocked || waits { (0, Duration::ZERO) } else { (MAX_RECORDS_PER_POLL, wait) };
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
        // Before the result of the poll: the failed record and those after it were skipped.
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok((polled?, read))
    }

    /// Handles the immediate part of a rebalance; the rest becomes pending.
    fn on_rebalance(&mut self, rebalance: Rebalance, now: i64) -> Result<(), Error> {
        match rebalance {
            Rebalance::Assigned(partitions) => self.pending.restore_and_assign = Some(partitions),
            Rebalance::Revoked => {
                let committed = self.commit(now, false);
                self.forget();
                self.pending.revoke = true;
                match committed {
                    Ok(()) => {}
                    // Another process has the transactional id: a restart would fence that process.
                    Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                    Err(error) => {
                        tracing::warn!(%error, "commit before revocation failed: the next owner repeats this work");
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

    /// Whether a commit is due after a poll that read `read` records.
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

    /// Whether polled items or outputs are waiting.
    fn has_backlog(&self) -> bool {
        !self.held.is_empty() || self.states.values().any(|state| self.stage.is_unfinished(state))
    }

    /// Processes waiting items and outputs until the transaction is full.
    fn drain_backlog(&mut self, now: i64) -> Result<(), RecordError> {
        loop {
            let mut is_done = true;
            // Round-robin: the partitions' blocks of one window are written close together, so stage 2 buffers little.
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

    /// Runs pending actions before anything is read.
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
                    tracing::info!(reason = %why, "assignment is outdated");
                    self.forget();
                }
                other => other?,
            }
            self.pending.restore_and_assign = None;
        }
        Ok(())
    }

    /// Restores the partitions' states and starts reading.
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

    /// Commits outputs and progress, if any; with `prepared`, also what the stage streams.
    fn commit(&mut self, now: i64, prepared: bool) -> Result<(), Error> {
        if prepared {
            self.stage.prepare(&mut self.states, now);
        }
        self.last_commit = now;
        self.read = 0;
        let positions: Vec<(i32, Committed)> = self
            .states
            .iter()
            .filter_map(|(&partition, state)| Some((partition, self.stage.position(state)?)))
            .filter(|(partition, position)| self.committed.get(partition) != Some(position))
            .collect();
        if positions.is_empty() && self.out.records.is_empty() {
            return Ok(());
        }
        let result = self.transact(&positions);
        if let Err(error) = result {
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

/// Processes a polled item, and writes its outputs until the transaction is full. Returns whether it is full.
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
