//! The pipeline's progress, as its processors committed it.

use anyhow::{Context, ensure};
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

    /// The committed offsets.
    pub(crate) fn offsets(&self) -> anyhow::Result<Vec<Option<i64>>> {
        Ok(self.0.committed()?.into_iter().map(|committed| committed.map(|at| at.offset)).collect())
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

    /// I4: every record read is counted, late, dead or a duplicate; and as many were read as there are, where that is known.
    pub(crate) fn accounted(&self, records: Option<u64>) -> anyhow::Result<()> {
        for (number, partition) in self.partitions.iter().enumerate() {
            let sum = partition.counted + partition.late + partition.dead + partition.duplicates;
            let read = partition.read;
            ensure!(read == sum, "partition {number}: {read} read, {sum} accounted for");
        }
        let read = self.sum(|partition| partition.read);
        ensure!(records.is_none_or(|records| records == read), "{records:?} are there, {read} were read");
        Ok(())
    }

    pub(crate) fn sum(&self, of: impl Fn(&PartitionProgress) -> u64) -> u64 {
        self.partitions.iter().map(of).sum()
    }
}
