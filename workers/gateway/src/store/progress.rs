//! The pipeline's progress, as its processors commit it beside their offsets.

use weir_log::EndRanges;

/// Progress of each input partition, and lost results.
#[derive(Default)]
pub struct Progress {
    /// By partition; those without a commit are missing.
    pub(crate) partitions: Vec<ProgressView>,
    /// The end up to which windows were emitted into a topic that was recreated since.
    pub(crate) lost_up_to: Option<i64>,
}

/// Progress in one input partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressView {
    /// The partition.
    pub partition: i32,
    /// Its watermark, milliseconds.
    pub watermark: Option<i64>,
    /// The end up to which its windows are sealed.
    pub sealed: Option<i64>,
    /// Read to its end, and silent since.
    pub idle: bool,
    /// Records that are there and not read yet.
    pub lag: i64,
    /// Records read.
    pub read: u64,
    /// Events counted.
    pub counted: u64,
    /// Events that missed all their windows.
    pub late: u64,
    /// Records that are no valid event.
    pub dead_letters: u64,
    /// Counted events that missed some of their windows.
    pub partly_late: u64,
    /// The windows that those events missed, by their ends.
    pub not_whole: EndRanges,
    /// Events that were counted before and have been sent again.
    pub duplicates: u64,
    /// Counted events whose page was one too many: they count under the page `(other)`.
    pub other_pages: u64,
    /// Records whose visitor belongs into another partition.
    pub misplaced: u64,
    /// The log was declared to end, and its last windows were sealed ahead of the clock.
    pub ended: bool,
    /// After the first generation: windows up to this end are not of it.
    pub told_after: Option<i64>,
}

/// Whether the log was declared to end and windows are sealed ahead of the clock, in any partition.
pub fn ended(partitions: &[ProgressView]) -> bool {
    partitions.iter().any(|partition| partition.ended)
}

/// The smallest watermark of the partitions that are not idle, or of all if all are. `None` while one of them has none.
pub fn watermark(partitions: &[ProgressView]) -> Option<i64> {
    let all_idle = partitions.iter().all(|partition| partition.idle);
    let counts = partitions.iter().filter(|partition| all_idle || !partition.idle);
    counts.map(|partition| partition.watermark).min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_partitions_hold_the_watermark_back_only_if_all_are_idle() {
        for (partitions, expected) in [
            (vec![], None),
            (vec![(Some(5), false), (Some(3), false)], Some(3)),
            (vec![(Some(5), false), (Some(3), true)], Some(5)),
            (vec![(Some(5), true), (Some(3), true)], Some(3)),
            // Nothing was read from the second yet.
            (vec![(Some(5), false), (None, false)], None),
            (vec![(Some(5), false), (None, true)], Some(5)),
        ] {
            let partitions: Vec<_> = partitions.into_iter().map(|(at, idle)| partition(at, idle)).collect();
            assert_eq!(watermark(&partitions), expected, "{partitions:?}");
        }
    }

    fn partition(watermark: Option<i64>, idle: bool) -> ProgressView {
        ProgressView { watermark, idle, ..ProgressView::default() }
    }
}
