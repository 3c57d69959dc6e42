//! The seam between the exactly-once loop and whatever keeps the log.
//!
//! A [`Member`] is one member of a consumer group on one input topic, together with the transactional producer whose
//! transactions carry that group's offsets. Two implementations exist: Kafka (`weir-kafka`) and an in-memory log
//! (`weir-memory`). One conformance suite runs against both, so that the model is never kinder than Kafka.
//!
//! All calls block and belong on one thread. The caller drives everything: a rebalance is *reported* by [`Member::poll`]
//! and takes place only when the caller answers it, so that it can commit first.

mod end_ranges;
mod error;
pub mod identity;
mod progress;

use std::time::Duration;

pub use end_ranges::EndRanges;
pub use error::{Error, Failure};
pub use progress::{PartitionProgress, ResultsProgress};

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Partition of the topic it was read from.
    pub partition: i32,
    /// Its place in that partition.
    pub offset: i64,
    /// The record's Kafka timestamp in milliseconds: the broker's clock where the topic says `LogAppendTime`.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// What [`Member::poll`] hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A committed record.
    Record(Record<'a>),
    /// Everything in the partition has been read; `offset` is the next to come, which is past the last record where what follows is
    /// no record (transaction markers, aborted records). Reported each time the end is reached, also at once for an empty partition.
    End {
        /// The partition.
        partition: i32,
        /// The next offset.
        offset: i64,
    },
    /// Everything committed before `offset` has been read, and an open transaction holds back what follows: the partition is neither
    /// at its end nor idle. Reported when that is noticed, also after an [`Item::End`] at the same offset; once the transaction
    /// ends, its records and an [`Item::End`] follow. Now and then reported for records that are merely still on their way.
    HeldBack {
        /// The partition.
        partition: i32,
        /// The last stable offset.
        offset: i64,
    },
}

/// A change of the partitions that this member owns (eager protocol: everything is given back before anything is given
/// out). Nothing else is polled until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These partitions are this member's now. Answer with [`Member::assign`], once their state is there.
    Assigned(Vec<i32>),
    /// Every partition is about to be taken away. Commit what is done (the generation is still good), then answer with
    /// [`Member::unassign`].
    Revoked,
    /// Every partition was taken away already (this member was thought dead). Nothing can be committed any more: abort,
    /// then answer with [`Member::unassign`].
    Lost,
}

/// Where a group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// What the committer wrote beside it, at most 4,096 bytes.
    pub metadata: String,
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Topic.
    pub topic: String,
    /// Partition; always chosen by the writer, so that every implementation places it alike.
    pub partition: i32,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(&'static str, String)>,
}

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its id, as Kafka's own tools write it: a topic that was deleted and made anew has another. Empty where none is known (Kafka
    /// before 2.8).
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
    /// [`Error::Fatal`] also when the log no longer has the next offset (retention overtook the reader, or the topic was
    /// made anew): skipping it silently would be a loss.
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

    /// Where the group stands in every partition of the input topic, by partition; `None` where it never committed.
    ///
    /// # Errors
    /// [`Error::Retry`] while a transaction with offsets of this group is pending.
    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error>;

    /// As [`committed`](Member::committed), of another group on another topic: what those committed who wrote this member's input.
    ///
    /// # Errors
    /// As there.
    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error>;

    /// What the named topics are, in this order; `None` for one that is not there.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error>;

    /// The first offset that a partition of the input topic still has.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn beginning(&mut self, partition: i32) -> Result<i64, Error>;

    /// The offset after everything in each partition of the input topic, by partition: its high watermark, so also behind what open
    /// transactions hold back.
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
    /// After any error nothing is known about the transaction: see [`Error::Abort`].
    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error>;

    /// Aborts the open transaction, if any, by starting the producer anew under the same transactional id: what it left
    /// in flight, a late commit included, is fenced. The assignment stays.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn restart(&mut self) -> Result<(), Error>;

    /// Publishes outside any transaction, best effort: a loss is healed by the next value.
    fn publish(&mut self, output: Output);

    /// Reads all committed records of any partition of any topic from `from` (or from the first one that is still there)
    /// to its present end, and returns the offset reached. What a pending transaction holds back counts as not yet there.
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
