//! What a stage is: what happens to records between the reading and the writing.

use std::collections::BTreeMap;

use weir_log::{Committed, Error, Member, Output, Record};

/// A record that cannot be processed.
#[derive(Debug, thiserror::Error)]
#[error("{topic}/{partition} at offset {offset}: {source}")]
pub struct RecordError {
    /// Where it is.
    pub topic: String,
    /// As `topic`.
    pub partition: i32,
    /// As `topic`.
    pub offset: i64,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let failed = Self::fatal(error.to_string());
        failed.at(&error.topic, error.partition, Some(error.offset))
    }
}

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
    /// A record that only a person can deal with: the worker ends. There is no error after which it is tried again, as records polled
    /// behind it would have been passed over.
    fn record(
        &mut self,
        state: &mut Self::State,
        record: &Record<'_>,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), RecordError>;

    /// Whether the partition has more to write of what it took. Then it takes nothing else before [`Stage::resume`] has written all of
    /// it, and [`Stage::position`] is such that what was written is not written again, and the rest is.
    fn is_unfinished(&self, _state: &Self::State) -> bool {
        false
    }

    /// Writes the next piece of what the partition has to write, about one record.
    fn resume(&mut self, _state: &mut Self::State, _out: &mut Vec<Output>) {}

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
