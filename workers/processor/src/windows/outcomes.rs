//! Counts of records by outcome.

use std::collections::BTreeMap;

use weir_events::Reason;
use weir_log::EndRanges;

use super::Input;

/// Outcomes of the records that this process read, without those that it only replayed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Records read.
    pub read: u64,
    /// Events counted, partly late ones included.
    pub counted: u64,
    /// Events with all windows sealed.
    pub late: u64,
    /// Events counted, but not in all of their windows.
    pub partly_late: u64,
    /// The windows that they missed.
    pub not_whole: EndRanges,
    /// Events that had been counted before.
    pub duplicates: u64,
    /// Counted events whose page was one too many: they count under the page `(other)`.
    pub other_pages: u64,
    /// Records that are not valid events.
    pub invalid: u64,
    /// Invalid records by reason.
    pub invalid_for: BTreeMap<Reason, u64>,
    /// Valid events in the wrong partition for their visitor.
    pub misplaced: u64,
    /// Events that were late or partly late because `--until-end` had sealed their windows ahead of the clock.
    pub after_end: u64,
    /// Partitions currently held back by a producer's open transaction, with the offset read to.
    pub held_back: Vec<(i32, i64)>,
    /// Windows sealed, summed over input partitions.
    pub sealed: u64,
    /// Snapshots written.
    pub snapshots: u64,
}

/// Partitions held back by open transactions, with the offset read to.
pub(super) fn held_back(inputs: &BTreeMap<i32, Input>) -> Vec<(i32, i64)> {
    inputs.values().filter(|input| input.is_held_back).map(|input| (input.number, input.next)).collect()
}
