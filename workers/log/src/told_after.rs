//! From where on a generation that is not the first tells windows: known once its stage 1 knows it in every partition.

use crate::{Committed, PartitionProgress};

/// The end up to which a generation tells no window, as far as its stage 1 has committed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldAfter {
    /// Some partition has committed nothing of it.
    Unknown,
    /// Some partition may still leave out windows after this end.
    AtLeast(i64),
    /// It is this end.
    Known(i64),
}

impl ToldAfter {
    /// By stage 1's commits in all partitions.
    pub fn of(committed: &[Option<Committed>]) -> Self {
        let progress = |committed: &Option<Committed>| PartitionProgress::read(&committed.as_ref()?.metadata);
        let Some(partitions) = committed.iter().map(progress).collect::<Option<Vec<_>>>() else {
            return Self::Unknown;
        };
        let ends = partitions.iter().map(|partition| partition.told_after);
        let Some(end) = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()) else {
            return Self::Unknown;
        };
        // Of a generation that has ended nothing changes any more.
        let is_known =
            |partition: &PartitionProgress| partition.reach.is_none() || partition.ended_by.is_some();
        if partitions.iter().all(is_known) { Self::Known(end) } else { Self::AtLeast(end) }
    }

    /// The end up to which no window is told, once every partition has read beyond it, or has nothing more to read: results follow now.
    pub fn passed(committed: &[Option<Committed>]) -> Option<i64> {
        let Self::Known(end) = Self::of(committed) else { return None };
        let has_passed = |committed: &Option<Committed>| {
            let progress =
                committed.as_ref().and_then(|committed| PartitionProgress::read(&committed.metadata));
            progress
                .is_some_and(|progress| progress.idle || progress.ended || progress.watermark >= Some(end))
        };
        committed.iter().all(has_passed).then_some(end)
    }

    /// The end up to which no window is told in any case.
    pub fn least(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::AtLeast(end) | Self::Known(end) => Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn committed(told_after: Option<i64>, reach: Option<i64>, ended_by: Option<u32>) -> Option<Committed> {
        let progress = PartitionProgress { told_after, reach, ended_by, ..PartitionProgress::default() };
        Some(Committed { offset: 0, metadata: serde_json::to_string(&progress).unwrap() })
    }

    #[test]
    fn results_follow_once_every_partition_has_read_beyond_it() {
        let told = PartitionProgress { told_after: Some(50), ..PartitionProgress::default() };
        let of = |progress: &PartitionProgress| {
            Some(Committed { offset: 0, metadata: serde_json::to_string(progress).unwrap() })
        };
        let beyond = of(&PartitionProgress { watermark: Some(50), ..told.clone() });
        for (other, expected) in [
            (None, None),
            (of(&told), None),
            (of(&PartitionProgress { watermark: Some(49), ..told.clone() }), None),
            (of(&PartitionProgress { watermark: Some(49), idle: true, ..told.clone() }), Some(50)),
            (of(&PartitionProgress { watermark: Some(90), reach: Some(10), ..told.clone() }), None),
            (of(&PartitionProgress { ended: true, ..told.clone() }), Some(50)),
            (beyond.clone(), Some(50)),
        ] {
            assert_eq!(ToldAfter::passed(&[beyond.clone(), other]), expected);
        }
    }

    #[test]
    fn it_is_known_once_no_partition_leaves_out_further_windows() {
        let known = committed(Some(50), None, None);
        for (other, expected) in [
            (None, ToldAfter::Unknown),
            (committed(None, None, None), ToldAfter::Unknown),
            (committed(Some(70), Some(10), None), ToldAfter::AtLeast(70)),
            (committed(Some(40), Some(10), None), ToldAfter::AtLeast(50)),
            (committed(Some(70), Some(10), Some(3)), ToldAfter::Known(70)),
            (committed(Some(70), None, None), ToldAfter::Known(70)),
        ] {
            assert_eq!(ToldAfter::of(&[known.clone(), other]), expected);
        }
    }
}
