//! What became of records.

use std::collections::BTreeMap;

use weir_events::Reason;
use weir_log::EndRanges;

use super::Input;

/// What this process made of the records that it read, those left out that it only read again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Records read.
    pub read: u64,
    /// Events counted, partly late ones included.
    pub counted: u64,
    /// Events all of whose windows were sealed.
    pub late: u64,
    /// Events that count, but not in all of their windows.
    pub partly_late: u64,
    /// The windows that those missed.
    pub not_whole: EndRanges,
    /// Records that are no valid event.
    pub invalid: u64,
    /// The same by reason.
    pub invalid_for: BTreeMap<Reason, u64>,
    /// Valid events of visitors who belong into another partition.
    pub misplaced: u64,
    /// Events that were late or partly late because `--until-end` had sealed their windows ahead of the clock.
    pub after_end: u64,
    /// Partitions that an open transaction of a producer holds back now, and the offset that each was read to.
    pub held_back: Vec<(i32, i64)>,
    /// Windows sealed, one per input partition.
    pub sealed: u64,
    /// Snapshots of a partition's state.
    pub snapshots: u64,
}

/// What open transactions hold back: partitions, and the offset that each was read to.
pub(super) fn held_back(inputs: &BTreeMap<i32, Input>) -> Vec<(i32, i64)> {
    inputs.values().filter(|input| input.is_held_back).map(|input| (input.number, input.next)).collect()
}
