//! An in-memory broker: the log of the embedded demo and of the deterministic simulation.
//!
//! Modelled after Kafka, as far as exactly-once depends on it:
//! - records stamped by the broker (`LogAppendTime`), transactions with markers that take an offset, invisible aborted
//!   records, and a last stable offset that stops all readers at the first open transaction;
//! - transactional ids with epochs: a successor fences its predecessor and aborts its open transaction; the broker aborts
//!   a transaction that takes too long; a late commit is refused because its epoch is outdated;
//! - consumer groups under the eager classic protocol: a rebalance waits until every member has revoked its partitions
//!   (or is expelled), commits are valid until the generation changes, a static member that returns in time takes its
//!   seat again without a rebalance, and (as with librdkafka) its `leave` frees nothing before the session times out;
//! - offsets that travel in a transaction and are pending until it ends;
//! - a commit without offsets, which no generation fences; limits on record size and metadata;
//! - requests that arrive late, after their answer was given up or that of a second one came ([`Fault`]);
//! - retention and compaction, so that memory stays bounded where a topic says so.
//!
//! Not modelled: replication and its failures, batches, compression, partial delivery of a producer's queue, several
//! topics per member, authorisation, expiry of group offsets, delayed first rebalances. Stricter than Kafka: only `poll`
//! keeps a member alive (librdkafka sends heartbeats in the background), and a commit after `unassign` is refused.
//! Compaction drops tombstones at once, where Kafka keeps them for `delete.retention.ms`.
//!
//! A [`Member`] that is dropped without [`leave`](weir_log::Member::leave) has crashed: its transaction stays open and
//! its seat taken until they time out or a successor takes over.
//!
//! ```
//! use std::time::Duration;
//! use weir_log::{Item, Member as _, Rebalance};
//! use weir_memory::{Broker, Clock, MemberOptions};
//!
//! let broker = Broker::new(Clock::Manual(0));
//! broker.create_topic("clicks", 1);
//! broker.append("clicks", 0, Some(b"user"), Some(b"click"), &[])?;
//! let mut member = broker.member(MemberOptions::new("shop", "clicks", "shop-0"));
//! let rebalance = member.poll(10, Duration::ZERO, &mut |_| ())?;
//! assert_eq!(rebalance, Some(Rebalance::Assigned(vec![0])));
//! member.assign(&[(0, 0)])?;
//! let mut read = 0;
//! member.poll(10, Duration::ZERO, &mut |item| read += usize::from(matches!(item, Item::Record(_))))?;
//! assert_eq!(read, 1);
//! # Ok::<(), weir_log::Error>(())
//! ```

mod broker;
mod clock;
mod fault;
mod group;
mod member;
mod partition;
mod producer;
mod retention;
mod state;
#[cfg(test)]
mod tests;

pub use broker::Broker;
pub use clock::Clock;
pub use fault::Fault;
pub use member::{Careless, Member, MemberOptions};
pub use partition::StoredRecord;
pub use retention::Retention;

/// Maximum size of a record: bytes of key, value and headers (librdkafka's `message.max.bytes`).
pub const MAX_RECORD: usize = 1_000_000;

/// Maximum bytes of a commit's metadata (Kafka's `offset.metadata.max.bytes`).
pub const MAX_METADATA: usize = 4096;
