//! The interface between the exactly-once loop and the log.
//!
//! A [`Member`] is one member of a consumer group on one input topic, together with the transactional producer whose
//! transactions carry that group's offsets. Two implementations exist: Kafka (`weir-kafka`) and an in-memory log
//! (`weir-memory`). One conformance suite runs against both, so that the model is never more lenient than Kafka.
//!
//! All calls block, and must be made on one thread. The caller drives everything: a rebalance is *reported* by [`Member::poll`]
//! and takes place only when the caller answers it, so that it can commit first.

mod end_ranges;
mod error;
pub mod generations;
pub mod identity;
mod progress;
mod told_after;

use std::time::Duration;

pub use end_ranges::EndRanges;
pub use error::{Error, Failure};
pub use generations::{Generation, Generations};
pub use progress::{PartitionProgress, ResultsProgress};
pub use told_after::ToldAfter;

/// A record read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Partition of the topic it was read from.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// The record's Kafka timestamp in milliseconds: by the broker's clock if the topic has `LogAppendTime`.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// What [`Member::poll`] delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A committed record.
    Record(Record<'a>),
    /// The partition was read to its end; `offset` is the next one, after any transaction markers and aborted records behind the last
    /// record. Reported each time the end is reached, also immediately for an empty partition.
    End {
        /// The partition.
        partition: i32,
        /// The next offset.
        offset: i64,
    },
    /// Everything before `offset` was read, and an open transaction holds back what follows: the partition is neither at its end nor
    /// idle. Reported when detected, also after an [`Item::End`] at the same offset; once the transaction ends, its records and an
    /// [`Item::End`] follow. Occasionally reported for records that are merely not fetched yet.
    HeldBack {
        /// The partition.
        partition: i32,
        /// The last stable offset.
        offset: i64,
    },
}

/// A change of the partitions that this member owns (eager protocol: all partitions are revoked before any is assigned).
/// Nothing else is polled until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These partitions are now this member's. Answer with [`Member::assign`], once their state is restored.
    Assigned(Vec<i32>),
    /// All partitions are about to be revoked. Commit what is done (the generation is still valid), then answer with
    /// [`Member::unassign`].
    Revoked,
    /// All partitions were taken away (this member was expelled). Nothing can be committed any more: abort, then answer with
    /// [`Member::unassign`].
    Lost,
}

/// A group's commit in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The commit's metadata, at most 4,096 bytes.
    pub metadata: String,
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Topic.
    pub topic: String,
    /// Partition; always chosen by the writer, so that all implementations agree.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(&'static str, String)>,
}

/// A topic's description by the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its id, as shown by Kafka's own tools: a recreated topic has another one. Empty if there is none (Kafka before 2.8).
    pub id: String,
    /// Its number of partitions.
    pub partitions: i32,
}

/// One member of a consumer group on one topic, and its transactional producer.
///
/// Consumers read committed records only. Rules that every implementation keeps:
/// - [`commit`](Member::commit) makes the transaction's outputs and offsets visible together, or neither. It is refused
///   ([`Error::Abort`]) when the member's generation is no longer the group's, so a zombie changes nothing.
/// - [`committed`](Member::committed) waits for pending transactions that carry offsets of this group; it never answers
///   with an offset that a commit under way is about to replace ([`Error::Retry`] instead).
/// - A member whose transactional id was taken by another gets [`Error::Fatal`]; one whose transaction merely timed out
///   gets [`Error::Abort`].
pub trait Member {
    /// Reads up to `max` records in the order of each partition, waiting at most `wait` for the first. Also keeps the
    /// membership alive: call it well within the session timeout.
    ///
    /// # Errors
    /// [`Error::Fatal`] also if the log no longer has the next offset (retention overtook the reader, or the topic was
    /// recreated): skipping it silently would lose records.
    fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error>;

    /// Answers [`Rebalance::Assigned`]: reading starts at the given offsets.
    ///
    /// # Errors
    /// [`Error::Abort`] when the assignment is no longer this member's.
    fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error>;

    /// Answers [`Rebalance::Revoked`] and [`Rebalance::Lost`].
    ///
    /// # Errors
    /// As [`Error`] says.
    fn unassign(&mut self) -> Result<(), Error>;

    /// The group's commit in every partition of the input topic; `None` where it never committed.
    ///
    /// # Errors
    /// [`Error::Retry`] while a transaction with offsets of this group is pending.
    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error>;

    /// As [`committed`](Member::committed), of another group on another topic: the writers of this member's input.
    ///
    /// # Errors
    /// As there.
    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error>;

    /// Descriptions of the named topics, in this order; `None` for a missing one.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error>;

    /// The first offset that a partition of the input topic still has.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn beginning(&mut self, partition: i32) -> Result<i64, Error>;

    /// The high watermark of each partition of the input topic: also past what open transactions hold back.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn ends(&mut self) -> Result<Vec<i64>, Error>;

    /// Opens a transaction. At most one is open.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn begin(&mut self) -> Result<(), Error>;

    /// Writes into the open transaction.
    ///
    /// # Errors
    /// As [`Error`] says. A full send queue is waited for, not reported.
    fn send(&mut self, output: Output) -> Result<(), Error>;

    /// Commits the open transaction with the group's new offsets. `Ok` means: visible, all of it.
    ///
    /// # Errors
    /// After any error the transaction's outcome is unknown: see [`Error::Abort`].
    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error>;

    /// Aborts the open transaction, if any, by restarting the producer under the same transactional id: everything it has
    /// in flight, including a late commit, is fenced. The assignment stays.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn restart(&mut self) -> Result<(), Error>;

    /// Publishes outside any transaction, best effort: a lost value is superseded by the next.
    fn publish(&mut self, output: Output);

    /// Reads all committed records of any partition of any topic from `from` (or from its first record) to its current
    /// end, and returns the offset reached. Records of pending transactions are not read.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(Record<'_>),
    ) -> Result<i64, Error>;

    /// Leaves the group, so that others need not wait for the session to time out. An open transaction is aborted.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn leave(&mut self) -> Result<(), Error>;
}
