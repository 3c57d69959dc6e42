//! The pipeline's progress, as its processors committed it.

use anyhow::Context;
use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::PartitionProgress;
use weir_manifest::Pipeline;

/// Reads the committed progress of stage 1's group.
pub(crate) struct Progress(TopicInspector);

/// The committed progress of all partitions.
pub(crate) struct Committed {
    pub(crate) partitions: Vec<PartitionProgress>,
    /// Records in the topic that are not committed.
    pub(crate) lag: i64,
}

impl Progress {
    pub(crate) fn of(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<Self> {
        let group = pipeline.windows_group();
        Ok(Self(TopicInspector::connect(&MemberOptions::new(
            brokers,
            &group,
            pipeline.events_topic(),
            "faults",
        ))?))
    }

    /// The committed progress; `None` while it is unavailable, or some partition has no commit yet.
    pub(crate) fn get(&self) -> Option<Committed> {
        self.committed().ok().flatten()
    }

    fn committed(&self) -> anyhow::Result<Option<Committed>> {
        let (mut partitions, mut lag) = (Vec::new(), 0);
        for (number, committed) in (0..).zip(self.0.committed()?) {
            let Some(committed) = committed else { return Ok(None) };
            lag += self.0.end(number)? - committed.offset;
            partitions.push(serde_json::from_str(&committed.metadata).context("commit metadata")?);
        }
        Ok(Some(Committed { partitions, lag }))
    }
}

impl Committed {
    /// The end up to which all partitions are sealed.
    pub(crate) fn sealed(&self) -> Option<i64> {
        self.partitions.iter().map(|partition| partition.sealed).min().flatten()
    }

    /// Whether everything was read, and every window with an event is sealed.
    pub(crate) fn at_rest(&self) -> bool {
        let last = self.partitions.iter().map(|partition| partition.last_end).max().flatten();
        self.lag == 0 && self.partitions.iter().all(|partition| partition.idle) && self.sealed() >= last
    }

    pub(crate) fn sum(&self, of: impl Fn(&PartitionProgress) -> u64) -> u64 {
        self.partitions.iter().map(of).sum()
    }
}
