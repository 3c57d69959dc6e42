//! What silence decides: how far the watermarks of idle partitions may be advanced, and when a log is read to its end.

use weir_log::{Committed, PartitionProgress};

/// Where the group stands in all partitions, as it was committed.
pub(crate) struct Everyone(Vec<Option<(i64, PartitionProgress)>>);

impl Everyone {
    pub(crate) fn new(committed: &[Option<Committed>]) -> Self {
        let standing =
            |committed: &Committed| Some((committed.offset, serde_json::from_str(&committed.metadata).ok()?));
        Self(committed.iter().map(|committed| committed.as_ref().and_then(standing)).collect())
    }

    fn standings(&self) -> impl Iterator<Item = Option<&PartitionProgress>> {
        self.0.iter().map(|known| known.as_ref().map(|(_, standing)| standing))
    }

    /// The greatest stamp of a record that was read.
    pub(crate) fn newest_stamp(&self) -> Option<i64> {
        self.standings().flatten().filter_map(|standing| standing.stamp).max()
    }

    /// Whether every partition was silent when it was committed.
    pub(crate) fn are_idle(&self) -> bool {
        self.standings().all(|standing| standing.is_some_and(|standing| standing.idle))
    }

    /// The end of the last window with an event.
    pub(crate) fn last_end(&self) -> Option<i64> {
        self.standings().flatten().filter_map(|standing| standing.last_end).max()
    }

    /// What idle partitions' watermarks may be advanced to, where the clock's watermark (the clock less the out-of-orderness) is
    /// `clock`: to the smallest of the partitions that are not idle; where all are, to the end of the last window with data. Never
    /// ahead of the clock: an event may be stamped ahead of it, and what others have yet to send is not late for that.
    pub(crate) fn target(&self, clock: i64) -> Option<i64> {
        let target = if self.are_idle() {
            self.last_end()
        } else {
            let busy = self.standings().filter(|standing| standing.is_none_or(|standing| !standing.idle));
            busy.map(|standing| standing.and_then(|standing| standing.watermark)).min().flatten()
        };
        target.map(|target| target.min(clock))
    }

    /// Partitions that were not read to the ends that the log has now: each with the offset it was read to, and its end. An earlier
    /// run may have committed an end that is none any more.
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
        self.standings().flatten().all(|standing| last.is_none() || standing.sealed >= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everyone(standings: &[(i64, bool, i64)]) -> Everyone {
        let standing = |&(watermark, idle, last_end)| PartitionProgress {
            watermark: Some(watermark),
            sealed: Some(watermark),
            idle,
            last_end: Some(last_end),
            ..PartitionProgress::default()
        };
        Everyone(standings.iter().map(|said| Some((10, standing(said)))).collect())
    }

    #[test]
    fn idle_partitions_follow_the_slowest_that_is_not() {
        assert_eq!(everyone(&[(50, true, 90), (70, false, 110), (60, false, 80)]).target(1_000), Some(60));
        assert_eq!(Everyone(vec![None]).target(1_000), None, "one that was never read may still speak");
    }

    #[test]
    fn nothing_is_raised_ahead_of_the_clock() {
        let idle = everyone(&[(50, true, 90), (70, true, 110)]);
        assert_eq!((idle.target(80), idle.target(500)), (Some(80), Some(110)));
        // One event was stamped ahead of the clock.
        assert_eq!(everyone(&[(50, true, 90), (400, false, 440)]).target(80), Some(80));
    }

    #[test]
    fn the_end_is_the_logs_own() {
        let all = everyone(&[(90, true, 90), (90, true, 90)]);
        assert!(all.are_idle() && all.have_sealed_all());
        assert_eq!(all.unread(&[10, 10]), []);
        assert_eq!(all.unread(&[10, 12]), [(1, 10, 12)]);
        assert_eq!(Everyone(vec![None, None]).unread(&[0, 3]), [(1, 0, 3)]);
        assert!(!everyone(&[(90, true, 90), (90, true, 100)]).have_sealed_all());
    }
}
