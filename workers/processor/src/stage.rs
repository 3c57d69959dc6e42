//! The stage trait: processing between reading and writing.

use std::collections::BTreeMap;

use weir_log::{Committed, Error, Member, Output, Record};

/// A record that cannot be processed.
#[derive(Debug, thiserror::Error)]
#[error("{topic}/{partition} at offset {offset}: {source}")]
pub struct RecordError {
    /// The record's topic.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The cause.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let failed = Self::fatal(error.to_string());
        failed.at(&error.topic, error.partition, Some(error.offset))
    }
}

/// Processes records between reading and writing.
pub trait Stage {
    /// The state of one input partition.
    type State;

    /// Rebuilds the state of a partition as of the group's commit, and returns the offset at which reading starts. Calls `heartbeat`
    /// regularly: this may take minutes.
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

    /// Processes a record.
    ///
    /// # Errors
    /// The record cannot be processed, and the worker ends. There is no retry, because records polled after it would have been
    /// skipped.
    fn record(
        &mut self,
        state: &mut Self::State,
        record: &Record<'_>,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), RecordError>;

    /// Whether the partition has outputs left to write. It then accepts nothing else until [`Stage::resume`] has written all of them;
    /// meanwhile a restart from [`Stage::position`] writes the rest and nothing twice.
    fn is_unfinished(&self, _state: &Self::State) -> bool {
        false
    }

    /// Writes the partition's next piece of output, about one record.
    fn resume(&mut self, _state: &mut Self::State, _out: &mut Vec<Output>) {}

    /// Whether nothing is to be read yet: [`Stage::tick`] decides when.
    fn waits(&self, _states: &BTreeMap<i32, Self::State>) -> bool {
        false
    }

    /// Whether to commit although nothing was written.
    fn wants_commit(&self, _states: &BTreeMap<i32, Self::State>, _now: i64) -> bool {
        false
    }

    /// Called just before a commit: selects what [`Stage::stream`] will write, which is part of [`Stage::position`] from then on.
    fn prepare(&mut self, _states: &mut BTreeMap<i32, Self::State>, _now: i64) {}

    /// Writes outputs that are too large to buffer into the transaction, piece by piece.
    ///
    /// # Errors
    /// Errors of `send`; [`Error::Fatal`] for what cannot be written.
    fn stream(
        &mut self,
        _states: &mut BTreeMap<i32, Self::State>,
        _send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// The partition was read to its end, and `offset` is the next. From now on [`Stage::position`] is at least there: after the last
    /// record there may be transaction markers, and a position before them would look like permanent lag, and like lost records once
    /// retention deletes them.
    fn end(&mut self, state: &mut Self::State, offset: i64, now: i64, out: &mut Vec<Output>);

    /// Everything before `offset` was read, and an open transaction holds back what follows. As for [`Stage::end`] the position is
    /// there, but the partition is neither at its end nor idle.
    fn held_back(&mut self, state: &mut Self::State, offset: i64, now: i64, out: &mut Vec<Output>);

    /// Called with the current time after each batch.
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

    /// Whether the log is bounded: at its end, progress is committed at once instead of with later records.
    fn is_ending(&self) -> bool {
        false
    }

    /// Everything read so far is committed.
    fn committed(&mut self) {}

    /// Everything read since the last commit is dropped, and will be read again, here or by another process.
    fn forgotten(&mut self) {}

    /// The partition's position, to be committed with the outputs so far; `None` while there is nothing to commit.
    fn position(&self, state: &Self::State) -> Option<Committed>;
}
