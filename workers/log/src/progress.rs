//! How far each stage is, as it commits it beside its offsets: the one thing by which processes know of each other.

use serde::{Deserialize, Serialize};

use crate::end_ranges::EndRanges;
use crate::identity::TopicIds;

/// Where stage 1 stands in a partition: committed beside the offset, so that every process knows how far the others are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// What the state was computed with. Another window over the same state would be neither the one nor the other.
    pub settings: String,
    /// The offset that a restart reads from: of the last snapshot, or the first record ever read.
    pub from: i64,
    /// Whether there is a snapshot as of `from`.
    pub snapshot: bool,
    /// The number of the last snapshot or decision in the state topic: what a restart must find there.
    pub journal: u64,
    /// The partition's watermark, milliseconds.
    pub watermark: Option<i64>,
    /// The end up to which its windows are sealed, and their blocks written.
    pub sealed: Option<i64>,
    /// Rows of the block of the window after that which are written already: one event may seal more than fits into a transaction.
    #[serde(default)]
    pub rows: u64,
    /// The end of its last window with an event.
    pub last_end: Option<i64>,
    /// Read to its end, and silent since.
    pub idle: bool,
    /// Records read.
    pub read: u64,
    /// Events counted.
    pub counted: u64,
    /// Events all of whose windows were sealed.
    pub late: u64,
    /// Records that are no valid event.
    pub dead: u64,
    /// Counted events that missed some of their windows, because those were sealed: some final window is not whole.
    #[serde(default)]
    pub partly_late: u64,
    /// The windows that those events missed.
    #[serde(default)]
    pub not_whole: EndRanges,
    /// Records whose visitor belongs into another partition, as Java's partitioner has it: he is counted once in each.
    #[serde(default)]
    pub misplaced: u64,
    /// The log was declared to end (`--until-end`), and its last windows were sealed ahead of the clock. Until the clock has come so
    /// far, or events have: those that come before that miss windows for it.
    #[serde(default)]
    pub ended: bool,
    /// Where it is: the watermark that the partition had before. What missed windows by that, or by the events since, did not miss them for
    /// the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_end: Option<i64>,
    /// Ids of the topics that all of this is about.
    #[serde(default)]
    pub topics: TopicIds,
    /// The greatest stamp of a record that was read: the broker's clock was at least there.
    #[serde(default)]
    pub stamp: Option<i64>,
}

/// What a lane has emitted, committed beside the offset of the first block that it still needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct ResultsProgress {
    /// The end up to which all windows of the lane were emitted.
    pub emitted: Option<i64>,
    /// The end of a window of which some pages were emitted, and how many.
    pub begun: Option<(i64, u64)>,
    /// Ids of the topics that the offset is about, and of those that are written.
    pub topics: TopicIds,
    /// The end up to which windows were emitted into a topic that another one has since taken the place of: they are not there any more.
    pub lost_up_to: Option<i64>,
}

/// [`ResultsProgress`] as it is stored.
#[derive(Serialize, Deserialize)]
struct Wire {
    emitted: UpTo,
    #[serde(default)]
    topics: TopicIds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_up_to: Option<i64>,
}

/// Within a window it is no plain number, so that a version that knows no such commits refuses it instead of emitting the window
/// once more from its first page.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UpTo {
    Window(Option<i64>),
    Within { end: Option<i64>, begun: (i64, u64) },
}

impl From<Wire> for ResultsProgress {
    fn from(Wire { emitted, topics, lost_up_to }: Wire) -> Self {
        let (emitted, begun) = match emitted {
            UpTo::Window(emitted) => (emitted, None),
            UpTo::Within { end, begun } => (end, Some(begun)),
        };
        Self { emitted, begun, topics, lost_up_to }
    }
}

impl From<ResultsProgress> for Wire {
    fn from(ResultsProgress { emitted, begun, topics, lost_up_to }: ResultsProgress) -> Self {
        let emitted = match begun {
            None => UpTo::Window(emitted),
            Some(begun) => UpTo::Within { end: emitted, begun },
        };
        Self { emitted, topics, lost_up_to }
    }
}

#[cfg(test)]
mod tests;
