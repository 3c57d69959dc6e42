//! The progress that each stage commits as metadata of its offsets. It is the only communication between processes.

use serde::{Deserialize, Serialize};

use crate::end_ranges::EndRanges;
use crate::identity::TopicIds;

/// Stage 1's progress in a partition: committed as the offset's metadata, and read by all processes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The settings that the state was computed with. It cannot be continued with others.
    pub settings: String,
    /// The offset from which a restart reads: that of the last snapshot, or of the first record ever read.
    pub from: i64,
    /// Whether there is a snapshot as of `from`.
    pub snapshot: bool,
    /// Sequence number of the last snapshot or decision in the state topic, which a restart must find there.
    pub journal: u64,
    /// The partition's watermark, milliseconds.
    pub watermark: Option<i64>,
    /// The end up to which windows are sealed and their blocks written.
    pub sealed: Option<i64>,
    /// Rows already written of the next window's block: one event may seal more than fits into a transaction.
    #[serde(default)]
    pub rows: u64,
    /// The end of the partition's last window with an event.
    pub last_end: Option<i64>,
    /// Whether the partition is idle: read to its end, without records since.
    pub idle: bool,
    /// Records read.
    pub read: u64,
    /// Events counted.
    pub counted: u64,
    /// Events with all windows sealed.
    pub late: u64,
    /// Records that are not valid events.
    pub dead: u64,
    /// Counted events that missed some of their windows because those were sealed.
    #[serde(default)]
    pub partly_late: u64,
    /// The windows that partly late events missed.
    #[serde(default)]
    pub not_whole: EndRanges,
    /// Events that were counted before and have been sent again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u64,
    /// Counted events whose page was one too many: they count under the page `(other)`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_pages: u64,
    /// The offset of the first event of version 2 that was read as such. What lies before it was found invalid by a release without version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_2_from: Option<i64>,
    /// Records in the wrong partition for their visitor by Java's partitioner: the visitor is counted once in each partition.
    #[serde(default)]
    pub misplaced: u64,
    /// Whether the log was declared to end (`--until-end`) and windows are sealed ahead of the clock. Until the clock or the events
    /// have passed the end, later events may miss windows because of it.
    #[serde(default)]
    pub ended: bool,
    /// If ended: the watermark before. Windows sealed by it, or by events since, were not sealed because of the declared end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_end: Option<i64>,
    /// Ids of the topics to which the progress belongs.
    #[serde(default)]
    pub topics: TopicIds,
    /// The greatest record timestamp read: a lower bound of the broker's clock.
    #[serde(default)]
    pub stamp: Option<i64>,
    /// After the first generation: windows up to this end are not told by it. They were told before, or events in their reach were no
    /// longer there when it began. `None` until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_after: Option<i64>,
    /// While `told_after` may still rise: visits that began up to this time may have begun with events that were no longer there. Windows
    /// with such a visit are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<i64>,
    /// The generation that has ended this one: nothing is counted here any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<u32>,
}

impl PartitionProgress {
    /// From a commit's metadata; `None` if that is something else.
    pub(crate) fn read(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }

    /// The decisive settings in the metadata of a group's commits; `None` if it has none. A partition that has read events of version 2
    /// states more of them than another one.
    pub fn settings_in<'a>(metadata: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let settings = |metadata: &str| Self::read(metadata).map(|progress| progress.settings);
        metadata.into_iter().filter_map(settings).max_by_key(String::len)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A lane's progress, committed as metadata of the offset of the first block that it still needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct ResultsProgress {
    /// The end up to which all windows of the lane are emitted.
    pub emitted: Option<i64>,
    /// The end of the partly emitted window, and how many of its pages were emitted.
    pub begun: Option<(i64, u64)>,
    /// Ids of the input topic and of the output topics.
    pub topics: TopicIds,
    /// The end up to which results were lost with an output topic that was deleted and recreated.
    pub lost_up_to: Option<i64>,
    /// The generation that has ended this one: all windows of the lane that every partition had sealed are emitted.
    pub ended_by: Option<u32>,
}

/// The stored format of [`ResultsProgress`].
#[derive(Serialize, Deserialize)]
struct Wire {
    emitted: UpTo,
    #[serde(default)]
    topics: TopicIds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_up_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_by: Option<u32>,
}

/// Within a window it is not a plain number, so that versions without such commits refuse it instead of emitting the window again
/// from its first page.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UpTo {
    Window(Option<i64>),
    Within { end: Option<i64>, begun: (i64, u64) },
}

impl From<Wire> for ResultsProgress {
    fn from(Wire { emitted, topics, lost_up_to, ended_by }: Wire) -> Self {
        let (emitted, begun) = match emitted {
            UpTo::Window(emitted) => (emitted, None),
            UpTo::Within { end, begun } => (end, Some(begun)),
        };
        Self { emitted, begun, topics, lost_up_to, ended_by }
    }
}

impl From<ResultsProgress> for Wire {
    fn from(ResultsProgress { emitted, begun, topics, lost_up_to, ended_by }: ResultsProgress) -> Self {
        let emitted = match begun {
            None => UpTo::Window(emitted),
            Some(begun) => UpTo::Within { end: emitted, begun },
        };
        Self { emitted, topics, lost_up_to, ended_by }
    }
}

#[cfg(test)]
mod tests;
