//! Idle detection: how far the watermarks of idle partitions may be advanced, and when a log is read to its end.

use weir_log::{Committed, PartitionProgress};

/// The group's committed progress in all partitions.
pub(crate) struct GroupProgress(Vec<Option<(i64, PartitionProgress)>>);

impl GroupProgress {
    pub(crate) fn new(committed: &[Option<Committed>]) -> Self {
        let progress =
            |committed: &Committed| Some((committed.offset, serde_json::from_str(&committed.metadata).ok()?));
        Self(committed.iter().map(|committed| committed.as_ref().and_then(progress)).collect())
    }

    fn partitions(&self) -> impl Iterator<Item = Option<&PartitionProgress>> {
        self.0.iter().map(|known| known.as_ref().map(|(_, progress)| progress))
    }

    /// The greatest record timestamp that was read.
    pub(crate) fn newest_stamp(&self) -> Option<i64> {
        self.partitions().flatten().filter_map(|progress| progress.stamp).max()
    }

    /// Whether every partition was idle at its last commit.
    pub(crate) fn are_idle(&self) -> bool {
        self.partitions().all(|progress| progress.is_some_and(|progress| progress.idle))
    }

    /// The end of the last window with an event.
    pub(crate) fn last_end(&self) -> Option<i64> {
        self.partitions().flatten().filter_map(|progress| progress.last_end).max()
    }

    /// The watermark to which idle partitions may be advanced: the smallest of the partitions that are not idle; if all are, the end of
    /// the last window with data. Never beyond `clock`, the clock's watermark (the clock minus the out-of-orderness): an event may be
    /// stamped ahead of it, and must not make the events of other producers late.
    pub(crate) fn target(&self, clock: i64) -> Option<i64> {
        let target = if self.are_idle() {
            self.last_end()
        } else {
            let busy = self.partitions().filter(|progress| progress.is_none_or(|progress| !progress.idle));
            busy.map(|progress| progress.and_then(|progress| progress.watermark)).min().flatten()
        };
        target.map(|target| target.min(clock))
    }

    /// Partitions that are not read to their current ends: each with the offset it was read to, and its end. The end committed by an
    /// earlier run may be outdated.
    pub(crate) fn unread(&self, ends: &[i64]) -> Vec<(i32, i64, i64)> {
        let known = self.0.iter().map(|known| known.as_ref().map_or(0, |(offset, _)| *offset));
        (0..)
            .zip(known)
            .zip(ends)
            .map(|((p, offset), end)| (p, offset, *end))
            .filter(|(_, o, e)| o < e)
            .collect()
    }

    /// Whether every partition has sealed the last window with an event.
    pub(crate) fn have_sealed_all(&self) -> bool {
        let last = self.last_end();
        self.partitions().flatten().all(|progress| last.is_none() || progress.sealed >= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(partitions: &[(i64, bool, i64)]) -> GroupProgress {
        let progress = |&(watermark, idle, last_end)| PartitionProgress {
            watermark: Some(watermark),
            sealed: Some(watermark),
            idle,
            last_end: Some(last_end),
            ..PartitionProgress::default()
        };
        GroupProgress(partitions.iter().map(|values| Some((10, progress(values)))).collect())
    }

    #[test]
    fn idle_partitions_follow_the_slowest_that_is_not() {
        assert_eq!(group(&[(50, true, 90), (70, false, 110), (60, false, 80)]).target(1_000), Some(60));
        assert_eq!(
            GroupProgress(vec![None]).target(1_000),
            None,
            "a partition that was never read may still have events"
        );
    }

    #[test]
    fn watermarks_are_never_advanced_beyond_the_clock() {
        let idle = group(&[(50, true, 90), (70, true, 110)]);
        assert_eq!((idle.target(80), idle.target(500)), (Some(80), Some(110)));
        // One event was stamped ahead of the clock.
        assert_eq!(group(&[(50, true, 90), (400, false, 440)]).target(80), Some(80));
    }

    #[test]
    fn the_end_is_the_logs_current_end() {
        let all = group(&[(90, true, 90), (90, true, 90)]);
        assert!(all.are_idle() && all.have_sealed_all());
        assert_eq!(all.unread(&[10, 10]), []);
        assert_eq!(all.unread(&[10, 12]), [(1, 10, 12)]);
        assert_eq!(GroupProgress(vec![None, None]).unread(&[0, 3]), [(1, 0, 3)]);
        assert!(!group(&[(90, true, 90), (90, true, 100)]).have_sealed_all());
    }
}
