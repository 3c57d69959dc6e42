//! Read, process, write, commit: the loop that both stages share.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::log::{Committed, Error, Item, Member, Output, Rebalance, Record};

/// Most records read before the loop looks up.
const BATCH: usize = 20_000;
/// Longest time that outputs wait for their commit while more records keep coming, milliseconds, and most bytes of them: a
/// commit is waited for, and what catches up has no other use for that time.
const LONGEST_TRANSACTION: i64 = 1_000;
const LARGEST_TRANSACTION: usize = 4_000_000;
/// Time after which progress without outputs is committed, milliseconds.
const PROGRESS: i64 = 1_000;
/// And while reading keeps up, already once so many records were read, if the last commit was so long ago: what others see as
/// lag stays below a thousand, and a quiet topic is not asked for a commit ten times a second.
const PROGRESS_EARLY: (usize, i64) = (200, 20);

/// What happens to records between the reading and the writing.
pub trait Stage {
    /// Everything known of one input partition.
    type State;

    /// Rebuilds the state of a partition as of where the group stands, and says at which offset reading starts.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn restore<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        now: i64,
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
    out: Vec<Output>,
    /// When the oldest output that is not committed was made.
    waiting_since: Option<i64>,
    last_commit: i64,
    /// Records read since.
    read: usize,
    duties: Duties,
    /// Whether the group's last word is carried out: these are our partitions.
    holds: bool,
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

/// What has to be done, in this order, before anything is read again. Each is tried until it succeeds: an answer that the
/// group never gets would hold up everybody.
#[derive(Default)]
struct Duties {
    /// The transaction failed or its outcome is unknown.
    restart: bool,
    /// All partitions are to be given back.
    give_back: bool,
    /// These are to be read, from where the group stands.
    take_over: Option<Vec<i32>>,
}

impl<S: Stage, M: Member> Worker<S, M> {
    /// A worker that owns nothing yet.
    pub fn new(stage: S, member: M) -> Self {
        Self {
            stage,
            member,
            states: BTreeMap::new(),
            committed: BTreeMap::new(),
            out: Vec::new(),
            waiting_since: None,
            last_commit: 0,
            read: 0,
            duties: Duties::default(),
            holds: false,
            counts: Counts::default(),
        }
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
                self.duties.restart = true;
                if !self.duties.give_back && self.duties.take_over.is_none() {
                    self.duties.take_over = Some(self.partitions());
                }
                self.forget();
                self.fulfil(now)
            }
            other => other,
        }
    }

    /// The stage.
    pub fn stage(&self) -> &S {
        &self.stage
    }

    /// Whether it has its share of the partitions, which may be none.
    pub fn holds(&self) -> bool {
        self.holds
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
        if let Err(error) = self.commit(0) {
            tracing::warn!(%error, "last commit failed: another process will do this work again");
        }
        self.member.leave()
    }

    fn turn(&mut self, now: i64, wait: Duration) -> Result<(), Error> {
        self.fulfil(now)?;
        let mut read = 0;
        let (stage, states, out) = (&mut self.stage, &mut self.states, &mut self.out);
        let mut failed = None;
        let polled = self.member.poll(BATCH, wait, &mut |item| match item {
            Item::Record(record) => {
                read += 1;
                if let (Some(state), None) = (states.get_mut(&record.partition), &failed) {
                    failed = stage.record(state, &record, now, out).err();
                }
            }
            Item::End { partition, offset } => {
                if let Some(state) = states.get_mut(&partition) {
                    stage.end(state, offset, now, out);
                }
            }
            Item::HeldBack { partition, offset } => {
                if let Some(state) = states.get_mut(&partition) {
                    stage.held_back(state, offset, now, out);
                }
            }
        });
        // First: whatever became of the rest, the record and those polled after it were passed over, and reading goes on behind them.
        // Only going back to what was committed brings them again.
        if let Some(error) = failed {
            return Err(match error {
                Error::Fatal(why) => Error::Fatal(why),
                Error::Retry(why) | Error::Abort(why) => Error::Abort(why),
            });
        }
        match polled? {
            Some(Rebalance::Assigned(partitions)) => self.duties.take_over = Some(partitions),
            Some(Rebalance::Revoked) => {
                let kept = self.commit(now);
                self.forget();
                self.duties.give_back = true;
                match kept {
                    Ok(()) => {}
                    // Another has the transactional id: a restart would take it from him.
                    Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                    Err(error) => {
                        tracing::warn!(%error, "could not commit before the partitions went: the next owner does this work again");
                        self.duties.restart = true;
                    }
                }
            }
            Some(Rebalance::Lost) => {
                (self.duties.restart, self.duties.give_back) = (true, true);
                self.forget();
            }
            None => self.stage.tick(&mut self.states, &mut self.member, now, &mut self.out)?,
        }
        self.fulfil(now)?;
        if !self.out.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        self.read += read;
        self.counts.records += read as u64;
        let caught_up = read < BATCH;
        let since = now - self.last_commit;
        let due = match self.waiting_since {
            Some(waiting) => {
                let bytes = || self.out.iter().flat_map(|out| &out.value).map(Vec::len).sum::<usize>();
                caught_up || now - waiting >= LONGEST_TRANSACTION || bytes() >= LARGEST_TRANSACTION
            }
            None => {
                let ending = read == 0 && self.stage.is_ending();
                ending
                    || since >= PROGRESS
                    || caught_up && self.read >= PROGRESS_EARLY.0 && since >= PROGRESS_EARLY.1
            }
        };
        if due { self.commit(now) } else { Ok(()) }
    }

    /// Does what is to be done before anything is read.
    fn fulfil(&mut self, now: i64) -> Result<(), Error> {
        if self.duties.restart {
            self.member.restart()?;
            self.duties.restart = false;
        }
        if self.duties.give_back {
            self.member.unassign()?;
            self.duties.give_back = false;
        }
        if let Some(partitions) = self.duties.take_over.clone() {
            match self.take_over(&partitions, now) {
                Err(Error::Abort(why)) => {
                    tracing::info!(reason = %why, "the assignment is no longer ours");
                    self.forget();
                }
                other => other?,
            }
            self.duties.take_over = None;
        }
        Ok(())
    }

    /// Restores the partitions' states and starts to read.
    fn take_over(&mut self, partitions: &[i32], now: i64) -> Result<(), Error> {
        self.forget();
        let committed = self.member.committed()?;
        let mut starts = Vec::new();
        for &partition in partitions {
            let at = committed.get(partition as usize).cloned().flatten();
            let (state, start) = self.stage.restore(&mut self.member, partition, at.as_ref(), now)?;
            self.states.insert(partition, state);
            if let Some(at) = at {
                self.committed.insert(partition, at);
            }
            starts.push((partition, start));
        }
        self.member.assign(&starts)?;
        self.holds = true;
        tracing::info!(?partitions, "partitions assigned");
        Ok(())
    }

    fn forget(&mut self) {
        self.holds = false;
        self.states.clear();
        self.committed.clear();
        self.out.clear();
        self.waiting_since = None;
    }

    /// Commits outputs and progress, if there are any.
    fn commit(&mut self, now: i64) -> Result<(), Error> {
        self.last_commit = now;
        self.read = 0;
        let positions: Vec<(i32, Committed)> = self
            .states
            .iter()
            .map(|(&partition, state)| (partition, self.stage.position(state)))
            .filter(|(partition, position)| self.committed.get(partition) != Some(position))
            .collect();
        if positions.is_empty() && self.out.is_empty() {
            return Ok(());
        }
        let done = self.transact(&positions);
        if let Err(error) = done {
            return Err(match error {
                Error::Fatal(why) => Error::Fatal(why),
                Error::Abort(why) | Error::Retry(why) => Error::Abort(why),
            });
        }
        self.committed.extend(positions);
        self.waiting_since = None;
        Ok(())
    }

    fn transact(&mut self, positions: &[(i32, Committed)]) -> Result<(), Error> {
        let begun = Instant::now();
        let outputs = self.out.len() as u64;
        self.member.begin()?;
        for output in self.out.drain(..) {
            self.member.send(output)?;
        }
        self.member.commit(positions)?;
        self.counts.outputs += outputs;
        self.counts.commits += 1;
        self.counts.committing += begun.elapsed();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
