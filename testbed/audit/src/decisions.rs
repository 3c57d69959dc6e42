//! The decisions about silent partitions, from the state topic.

use anyhow::Context;
use serde::Deserialize;
use weir_log::Record;

/// An advance of the watermark that follows from no event, before the record at `offset` was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Decision {
    pub(crate) offset: i64,
    pub(crate) watermark: i64,
    /// Its number among all decisions and snapshots of the partition.
    number: u64,
}

/// The decisions of one partition.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    found: Vec<Decision>,
    /// The number of the last snapshot, and how many decisions there were before it.
    snapshot: (u64, u64),
}

#[derive(Deserialize)]
struct Manifest {
    number: u64,
    /// Absent in a snapshot of an earlier release.
    #[serde(default)]
    decisions: u64,
}

impl Decisions {
    /// Adds a record of the state topic. A decision counts although a snapshot covers it and a tombstone follows: its events are
    /// still in the log.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let (Some(key), Some(value)) = (record.key, record.value) else { return Ok(()) };
        let position = || format!("state, partition {} at {}", record.partition, record.offset);
        if key.starts_with(b"raise/") {
            self.found.push(serde_json::from_slice(value).with_context(position)?);
        } else if key == b"snapshot" {
            let Manifest { number, decisions } = serde_json::from_slice(value).with_context(position)?;
            self.snapshot = (number, decisions);
        }
        Ok(())
    }

    /// The number of decisions that are no longer in the topic.
    pub(crate) fn lost(&self) -> u64 {
        let (number, decisions) = self.snapshot;
        let before = self.found.iter().filter(|decision| decision.number < number).count() as u64;
        decisions.saturating_sub(before)
    }

    /// The decisions in the topic, in order.
    pub(crate) fn into_found(self) -> Vec<Decision> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decisions(records: &[(&str, Option<&str>)]) -> Decisions {
        let mut decisions = Decisions::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
            decisions.take(&Record { partition: 0, offset, timestamp: 0, key, value }).unwrap();
        }
        decisions
    }

    #[test]
    fn decisions_that_a_snapshot_covers_count() {
        let first = ("raise/7/100", Some(r#"{"offset":7,"watermark":100,"number":1}"#));
        let snapshot = ("snapshot", Some(r#"{"version":1,"number":2,"decisions":1}"#));
        let second = ("raise/9/200", Some(r#"{"offset":9,"watermark":200,"number":3}"#));
        let all = decisions(&[first, snapshot, ("raise/7/100", None), second]);
        assert_eq!(all.lost(), 0);
        let found: Vec<_> = all.into_found().iter().map(|d| (d.offset, d.watermark)).collect();
        assert_eq!(found, [(7, 100), (9, 200)]);
        // After compaction.
        assert_eq!(decisions(&[snapshot, second]).lost(), 1);
    }
}
