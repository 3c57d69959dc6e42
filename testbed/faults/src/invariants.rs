//! The invariants I1 to I9 of a pipeline, and what is found of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use weir_analytics::Block;
use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::Record;
use weir_manifest::Pipeline;

use crate::progress::Committed;

/// What a fault led to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) repetitions: u32,
    held: BTreeSet<&'static str>,
    violated: BTreeMap<&'static str, String>,
    /// The longest time without a new window for a reader of committed records, less the slide.
    pub(crate) longest_gap: Option<Duration>,
    /// Transactions that were given up or refused.
    pub(crate) refused: u32,
    pub(crate) restarts: u32,
    pub(crate) windows: u64,
    pub(crate) records: u64,
    /// What else is to be said.
    pub(crate) note: String,
}

impl Outcome {
    pub(crate) fn check(&mut self, invariant: &'static str, found: anyhow::Result<()>) {
        match found {
            Ok(()) => self.held(invariant),
            Err(error) => self.violated(invariant, &error),
        }
    }

    pub(crate) fn held(&mut self, invariant: &'static str) {
        self.held.insert(invariant);
    }

    pub(crate) fn violated(&mut self, invariant: &'static str, error: &anyhow::Error) {
        self.violated.insert(invariant, format!("{error:#}"));
    }

    /// Adds another run of the same fault.
    pub(crate) fn add(&mut self, other: Self) {
        self.repetitions += other.repetitions;
        self.held.extend(other.held);
        self.violated.extend(other.violated);
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.windows += other.windows;
        self.records += other.records;
    }

    /// For a run with a cure taken out: it is a success if something is found, and none if not.
    pub(crate) fn expect_violation(&mut self) {
        let found: Vec<&str> = std::mem::take(&mut self.violated).into_keys().collect();
        if found.is_empty() {
            self.violated("bites", &anyhow::anyhow!("nothing was found, although a cure is taken out"));
        } else {
            self.held.clear();
            self.note = format!("found by {}; {}", found.join(", "), self.note);
        }
    }

    pub(crate) fn violations(&self) -> &BTreeMap<&'static str, String> {
        &self.violated
    }

    /// The invariants that were checked and hold, such as `I1-I7`.
    pub(crate) fn invariants(&self) -> String {
        let held: Vec<&str> =
            self.held.iter().copied().filter(|held| !self.violated.contains_key(held)).collect();
        let number = |name: &str| name[1..].parse::<u32>().unwrap_or_default();
        let runs = held.chunk_by(|a, b| number(a) + 1 == number(b)).map(|run| match run {
            [one] => (*one).to_owned(),
            _ => format!("{}-{}", run[0], run[run.len() - 1]),
        });
        let mut text = runs.collect::<Vec<_>>().join(", ");
        for violated in self.violated.keys() {
            text += &format!("; {violated} VIOLATED");
        }
        text
    }
}

/// I3: what the transactions wrote and the offsets that they committed belong together. Each block was written once, and none beyond what
/// is committed as sealed; there are as many dead letters as committed; the journal ends where the commit says.
pub(crate) fn transactions(pipeline: &Pipeline, brokers: &str, committed: &Committed) -> anyhow::Result<()> {
    let topics = inspector(pipeline.events_topic(), brokers)?;
    let (mut blocks, mut found) = (BTreeMap::new(), Ok(()));
    for partition in 0..pipeline.spec.topics.results.partitions {
        topics.read(&pipeline.blocks_topic(), partition, 0, &mut |record| {
            let added = add_block(&mut blocks, &record);
            found = std::mem::replace(&mut found, Ok(())).and(added);
        })?;
    }
    found?;
    for (number, progress) in (0..).zip(&committed.partitions) {
        let last = blocks.keys().filter(|(partition, _)| *partition == number).map(|(_, end)| *end).max();
        ensure!(
            last <= progress.sealed,
            "partition {number} has a block of {last:?}, sealed is {:?}",
            progress.sealed
        );
        let mut journal = 0;
        topics.read(&pipeline.state_topic(), number, 0, &mut |record| {
            journal = journal.max(journal_number(&record).unwrap_or(0));
        })?;
        ensure!(
            journal == progress.journal,
            "the journal of partition {number} ends with {journal}, committed is {}",
            progress.journal
        );
    }
    let mut letters = 0;
    topics.read(&pipeline.dead_letters_topic(), 0, 0, &mut |_| letters += 1)?;
    let expected = committed.sum(|partition| partition.dead + partition.late);
    ensure!(letters == expected, "{letters} dead letters, committed are {expected}");
    Ok(())
}

/// Adds a record of the blocks' topic; a block may have several, all but the last with more to come.
fn add_block(blocks: &mut BTreeMap<(i32, i64), bool>, record: &Record<'_>) -> anyhow::Result<()> {
    let Some(value) = record.value else { return Ok(()) };
    let block = Block::decode(value).context("a block")?;
    if blocks.insert((block.partition, block.end), block.more) == Some(false) {
        bail!("a second block of partition {} for the window that ends at {}", block.partition, block.end);
    }
    Ok(())
}

fn journal_number(record: &Record<'_>) -> Option<u64> {
    let (key, value) = (record.key?, record.value?);
    if key != b"snapshot" && !key.starts_with(b"raise/") {
        return None;
    }
    serde_json::from_slice::<serde_json::Value>(value).ok()?.get("number")?.as_u64()
}

/// I5: the offsets that the pipeline's groups committed, in the order of their log, never go back.
pub(crate) fn committed_offsets(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<()> {
    const TOPIC: &str = "__consumer_offsets";
    let groups = [pipeline.windows_group(), pipeline.results_group()];
    let topics = inspector(TOPIC, brokers)?;
    let (mut last, mut commits, mut found) = (BTreeMap::new(), 0_u64, Ok(()));
    for partition in 0..topics.partition_count()? {
        topics.read(TOPIC, partition, 0, &mut |record| {
            let Some(commit) = Commit::parse(&record).filter(|commit| groups.contains(&commit.group)) else {
                return;
            };
            commits += 1;
            let Commit { group, topic, partition, offset } = commit;
            let before = last.insert((group.clone(), partition), offset);
            if before > Some(offset) && found.is_ok() {
                found =
                    Err(format!("group {group} committed {offset} in {topic}/{partition} after {before:?}"));
            }
        })?;
    }
    ensure!(commits > 0, "no commit of {groups:?} was found in {TOPIC}");
    found.map_err(anyhow::Error::msg)
}

/// A commit in the log of commits.
#[derive(Debug, PartialEq, Eq)]
struct Commit {
    group: String,
    topic: String,
    partition: i32,
    offset: i64,
}

impl Commit {
    /// Key: version 0 or 1, group, topic, partition. Value: version, offset and more; none in a tombstone.
    fn parse(record: &Record<'_>) -> Option<Self> {
        let (mut key, value) = (record.key?, record.value?);
        let version = i16::from_be_bytes(*key.split_off(..2)?.first_chunk()?);
        if !(0..=1).contains(&version) {
            return None;
        }
        let mut text = || {
            let length = u16::from_be_bytes(*key.split_off(..2)?.first_chunk()?);
            String::from_utf8(key.split_off(..usize::from(length))?.to_vec()).ok()
        };
        let (group, topic) = (text()?, text()?);
        let partition = i32::from_be_bytes(*key.first_chunk()?);
        let offset = i64::from_be_bytes(*value.get(2..)?.first_chunk()?);
        Some(Self { group, topic, partition, offset })
    }
}

fn inspector(topic: &str, brokers: &str) -> anyhow::Result<TopicInspector> {
    Ok(TopicInspector::connect(&MemberOptions::new(brokers, "invariants", topic, "invariants"))?)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_commit_is_read_from_its_record() {
        let key = b"\0\x01\0\x01g\0\x02tt\0\0\0\x03";
        let value = b"\0\x03\0\0\0\0\0\0\0\x2a\xff\xff\xff\xff";
        let record = Record { partition: 0, offset: 0, timestamp: 0, key: Some(key), value: Some(value) };
        let expected = Commit { group: "g".to_owned(), topic: "tt".to_owned(), partition: 3, offset: 42 };
        assert_eq!(Commit::parse(&record), Some(expected));
        assert_eq!(Commit::parse(&Record { value: None, ..record }), None, "a tombstone");
        let group = b"\0\x02\0\x01g";
        assert_eq!(Commit::parse(&Record { key: Some(group), ..record }), None, "a group's metadata");
    }

    #[test]
    fn invariants_are_listed_in_runs() {
        let mut outcome = Outcome::default();
        ["I1", "I2", "I3", "I5", "I6"].into_iter().for_each(|name| outcome.check(name, Ok(())));
        assert_eq!(outcome.invariants(), "I1-I3, I5-I6");
        outcome.check("I2", Err(anyhow!("twice")));
        assert_eq!(outcome.invariants(), "I1, I3, I5-I6; I2 VIOLATED");
    }
}
