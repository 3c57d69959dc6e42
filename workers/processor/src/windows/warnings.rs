//! Rate-limited warnings.

use super::{Outcomes, Windows};

/// Minimum time between two warnings about one subject, milliseconds.
const WARNING_INTERVAL_MS: i64 = 60_000;
/// Time between two log lines about waiting for the end of a log, milliseconds.
pub(super) const WAITING_REPORT_INTERVAL_MS: i64 = 5_000;

/// One in so many events, 5 %, may be a duplicate without a warning.
const MIN_SHARE_OF_DUPLICATES: u64 = 20;

/// A warning that is repeated only after an interval, and only if its count has grown.
#[derive(Default)]
pub(super) struct RateLimitedWarning {
    next: i64,
    pub(super) reported: u64,
}

impl RateLimitedWarning {
    pub(super) fn is_due(&mut self, count: u64, now: i64, every: i64) -> bool {
        let due = count > self.reported && now >= self.next;
        if due {
            (self.reported, self.next) = (count, now + every);
        }
        due
    }
}

impl Windows {
    /// Warns about problems with the events, at most once per interval.
    pub(super) fn warn(&mut self, now: i64) {
        let Outcomes { read, misplaced, after_end, duplicates, .. } = self.outcomes;
        if self.misplaced_warning.is_due(misplaced, now, WARNING_INTERVAL_MS) {
            tracing::warn!(
                misplaced,
                read,
                "events in the wrong partition: their visitors are counted once in each partition that they appear in. \
                 Producers must give records the event's user_id as key and place them by murmur2, as Java's do. Likely causes: records \
                 without a key, another key than user_id, librdkafka's default partitioner (set partitioner=murmur2_random), a number of \
                 partitions that was changed"
            );
        }
        if duplicates > read / MIN_SHARE_OF_DUPLICATES
            && self.duplicates_warning.is_due(duplicates, now, WARNING_INTERVAL_MS)
        {
            tracing::warn!(
                duplicates,
                read,
                "more than 5 % of the events are duplicates: each of their visitors has sent their event_id before. Likely causes: a sender that \
                 gives all events one event_id, or repeats what was acknowledged"
            );
        }
        if self.ended_warning.is_due(after_end, now, WARNING_INTERVAL_MS) {
            tracing::warn!(
                missed = after_end,
                "the log was declared to end (--until-end) and goes on: events are late or partly late because their windows were sealed ahead \
                 of the clock"
            );
        }
    }
}
