//! Faults that a test plans in advance, by transactional id.

use std::collections::VecDeque;

/// A fault that occurs once. Commit faults queue up: each commit takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next commit never arrives: the transaction stays open, the caller gets `Abort`.
    CommitLost,
    /// The next commit is applied, but its answer is lost: the caller gets `Abort`.
    CommitUnknown,
    /// The next commit's offsets arrive and are pending, its end is held back until
    /// [`Broker::release`](super::Broker::release) (a late `EndTxn`); the caller gets `Abort`.
    CommitLate,
    /// The next commit succeeds and sets the offsets, but its outputs become visible only at
    /// [`Broker::release`](super::Broker::release), or when the id's next transaction or successor starts. Kafka answers
    /// a commit as soon as it is decided, before it has reached every partition.
    MarkersLate,
    /// The next commit succeeds, but was sent twice: the first request is still under way, and arrives at
    /// [`Broker::release`](super::Broker::release). The client knows that a connection failed, not more: it begins the next transaction
    /// with a new producer (KAFKA-17754).
    CommitTwice,
    /// The next commit never returns and is given up, nothing of it has arrived: the caller gets `Abort`. All of it arrives at
    /// [`Broker::release`](super::Broker::release).
    CommitHangs,
    /// As [`CommitTwice`](Self::CommitTwice), of the request that begins the transaction (`AddPartitionsToTxn`), and unnoticed: what arrives
    /// after the transaction's end begins another one, without records.
    BeginTwice,
    /// The next restart never returns and is given up: the caller gets `Retry`. It arrives at
    /// [`Broker::release`](super::Broker::release), and fences what the same process has started since.
    RestartHangs,
    /// The broker is unavailable for this many calls: `Retry` from every call but `send`, `commit` and `leave`. They
    /// don't count as polls.
    Away(u32),
}

/// The planned faults of one transactional id.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) commits: VecDeque<Fault>,
    pub(super) restarts: u32,
    pub(super) away: u32,
}
