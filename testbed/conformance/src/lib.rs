//! The test suite for implementations of [`Member`], written once and run against each of them.
//!
//! A test binary implements [`World`] and calls `conformance!(world)`, where `world` is an expression that makes one:
//! each case becomes a test. Cases wait for conditions, never for numbers of polls, because a real broker is
//! asynchronous; they wait at most [`CONDITION_TIMEOUT`].
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use weir_log::Member;

pub mod drive;
pub mod groups;
pub mod reading;
pub mod transactions;

/// Maximum wait for a condition before a case fails.
pub const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);

/// A timeout longer than any case.
pub const LONG: Duration = Duration::from_secs(300);

/// As short as a broker allows by default (`group.min.session.timeout.ms`); let it run out with [`World::pass`].
pub const SHORT: Duration = Duration::from_secs(6);

/// Key and value of a record.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The settings of a member to start.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    /// Input topic.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// Static membership under this name.
    pub instance: Option<String>,
    /// Transactional id.
    pub transactional_id: String,
    /// A member that has not polled for this time is expelled. With Kafka that is both `session.timeout.ms` and
    /// `max.poll.interval.ms`, because librdkafka's heartbeats go on while the program stalls.
    pub session_timeout: Duration,
    /// The broker aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
}

/// A log, and access to it from outside.
pub trait World {
    /// The implementation under test.
    type M: Member;

    /// Creates a topic under a fresh name: retention by deletion, nothing expires by itself.
    fn topic(&self, partitions: i32) -> String;

    /// A fresh name for a group or a transactional id.
    fn name(&self) -> String;

    /// Appends `(key, value)` pairs in order, outside any transaction, and returns once all are acknowledged.
    fn append(&self, topic: &str, partition: i32, records: &[KeyValue<'_>]);

    /// Deletes the records before an offset.
    fn truncate(&self, topic: &str, partition: i32, before: i64);

    /// The headers of the committed record at an offset.
    fn headers(&self, topic: &str, partition: i32, offset: i64) -> Vec<(String, String)>;

    /// Starts a member; it fences any earlier one with its transactional id.
    fn member(&self, spec: &MemberSpec) -> Self::M;

    /// Lets this much of the broker's time pass without a poll.
    fn pass(&self, time: Duration);
}

/// Makes a `#[test]` of every case, each with a world of its own.
#[macro_export]
macro_rules! conformance {
    ($world:expr) => {
        $crate::conformance!(@cases $world, reading,
            order_and_ends, ends_after_aborted_tail, ends_after_committed_tail, an_open_transaction_is_no_end,
            reading_to_an_open_transaction_is_no_end, retention_up_to_the_end_loses_nothing, keys_tombstones_and_headers, ten_thousand_in_order,
            truncated_offset_is_fatal, read_sees_committed_only);
        $crate::conformance!(@cases $world, transactions,
            commits_are_atomic, restart_aborts_and_keeps_the_assignment, metadata_is_returned, committed_waits_for_pending,
            successor_aborts_the_transaction_of_a_crash, stale_transactional_id_is_fatal, timeout_is_abort,
            publish_needs_no_transaction);
        $crate::conformance!(@cases $world, groups,
            two_members_share_and_a_third_joins, commit_in_the_revoke_window, commit_after_unassign_is_refused,
            leave_hands_over, zombie_changes_nothing, static_member_returns);
    };
    (@cases $world:expr, $module:ident, $($case:ident),+) => {
        mod $module {
            use super::*;
            $(#[test]
            fn $case() {
                $crate::$module::$case(&$world);
            })+
        }
    };
}
