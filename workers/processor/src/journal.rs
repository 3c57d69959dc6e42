//! What stage 1 writes into the state topic, so that a restart goes on where the process before it was.
//!
//! Two kinds of records, both in the transaction that carries their effects:
//! - a [`WatermarkAdvance`]: a watermark advanced because a partition was idle, the only decision that is not in the log of events;
//! - a snapshot: the partition's whole state as of an offset, in chunks, and last its [`Manifest`]. Each snapshot writes over the
//!   one before, key by key, and deletes the advances that it covers, so that a compacted topic holds little more than one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use weir_analytics::SnapshotError;

use weir_log::{Error, Member, Output};

/// Longest chunk, bytes: a record of it stays below the million that brokers and clients take by default.
const CHUNK: usize = 900_000;
/// The version of the records.
const VERSION: u32 = 1;
const MANIFEST: &str = "snapshot";

/// A watermark advanced although no event said so: taken before the record at `offset` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatermarkAdvance {
    pub(crate) offset: i64,
    pub(crate) watermark: i64,
    /// Its number among all advances and snapshots of the partition.
    number: u64,
}

/// Says that the snapshot is whole, and of when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// Its number among all advances and snapshots of the partition.
    number: u64,
    /// Everything before this offset of the events is in it.
    offset: i64,
    /// The wall clock, milliseconds.
    taken: i64,
    chunks: usize,
    checksum: String,
    /// Advances that there ever were before it, so that whoever reads the topic knows whether compaction has taken any.
    #[serde(default)]
    decisions: u64,
}

/// A snapshot as it was found.
pub(crate) struct Snapshot {
    pub(crate) taken: i64,
    pub(crate) bytes: Vec<u8>,
}

/// One partition's records in the state topic.
pub(crate) struct Journal {
    topic: String,
    partition: i32,
    /// The number of the last watermark advance or snapshot.
    number: u64,
    /// Chunks that the topic may hold.
    chunks: usize,
    /// Advances that no snapshot covers.
    advances: Vec<WatermarkAdvance>,
    /// Advances that snapshots cover.
    covered: u64,
}

impl Journal {
    /// Reads what was written: the last snapshot, if any, and the advances since, in order.
    ///
    /// # Errors
    /// [`Error::Fatal`] for records of another version and for a snapshot that is not what its manifest says.
    pub(crate) fn read<M: Member>(
        member: &mut M,
        topic: &str,
        partition: i32,
        heartbeat: &dyn Fn(),
    ) -> Result<(Self, Option<Snapshot>, VecDeque<WatermarkAdvance>), Error> {
        let mut journal = Self {
            topic: topic.to_owned(),
            partition,
            number: 0,
            chunks: 0,
            advances: Vec::new(),
            covered: 0,
        };
        let mut chunks: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut manifest = None;
        let mut unreadable = None;
        member.read(topic, partition, 0, &mut |record| {
            heartbeat();
            let key = record.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
            let taken_in = match (key.split_once('/'), record.value) {
                // Deleted: what a snapshot after it covers.
                (_, None) => Ok(()),
                (Some((MANIFEST, number)), Some(value)) => {
                    number.parse().map_err(|_| format!("key {key:?}")).map(|number| {
                        chunks.insert(number, value.to_vec());
                    })
                }
                (Some(("raise", _)), Some(value)) => serde_json::from_slice(value)
                    .map(|advance: WatermarkAdvance| {
                        journal.number = advance.number;
                        journal.advances.push(advance);
                    })
                    .map_err(|error| error.to_string()),
                (None, Some(value)) if key == MANIFEST => serde_json::from_slice(value)
                    .map(|found: Manifest| {
                        journal.number = found.number;
                        journal.covered = found.decisions;
                        manifest = Some(found);
                        // Those before it are in it.
                        journal.advances.clear();
                    })
                    .map_err(|error| error.to_string()),
                _ => Err(format!("key {key:?}")),
            };
            if let Err(why) = taken_in {
                unreadable.get_or_insert((record.offset, why));
            }
        })?;
        if let Some((offset, why)) = unreadable {
            let unreadable = Error::fatal(format!(
                "{topic}/{partition} holds a record of another version at {offset}: {why}"
            ));
            return Err(unreadable.at(topic, partition, Some(offset)));
        }
        journal.chunks = chunks.len();
        let snapshot = manifest.map(|manifest| manifest.assemble(chunks)).transpose().map_err(|why| {
            Error::fatal(format!("the snapshot in {topic}/{partition} cannot be used: {why}"))
                .at(topic, partition, None)
        })?;
        let advances = journal.advances.iter().copied().collect();
        Ok((journal, snapshot, advances))
    }

    /// Writes a watermark that was advanced before the record at `offset` is read.
    pub(crate) fn advance_watermark(
        &mut self,
        offset: i64,
        watermark: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        self.number += 1;
        let advance = WatermarkAdvance { offset, watermark, number: self.number };
        let value = serde_json::to_vec(&advance).map_err(|error| Error::fatal(error.to_string()))?;
        self.advances.push(advance);
        out.push(self.output(advance.key(), Some(value)));
        Ok(())
    }

    /// A snapshot will be the next thing written.
    pub(crate) fn begin_snapshot(&mut self) {
        self.number += 1;
    }

    /// Writes the state as of the record before `offset`, chunk by chunk, so that no more of it than one is in memory; how many bytes.
    /// It was [begun](Self::begin_snapshot).
    pub(crate) fn write_snapshot(
        &mut self,
        offset: i64,
        taken: i64,
        state: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), SnapshotError>,
        send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut chunks = Chunks { hasher: blake3::Hasher::new(), chunk: Vec::new(), count: 0, bytes: 0 };
        let mut sent = Ok(());
        let mut write = |number: usize, chunk: Vec<u8>| {
            if sent.is_ok() {
                sent = send(self.output(format!("{MANIFEST}/{number}"), Some(chunk)));
            }
        };
        state(&mut |part| chunks.add(part, &mut write)).map_err(|error| Error::fatal(error.to_string()))?;
        let (count, bytes, checksum) = chunks.finish(&mut write);
        sent?;
        let number = self.number;
        let decisions = self.covered + self.advances.len() as u64;
        let manifest =
            Manifest { version: VERSION, number, offset, taken, chunks: count, checksum, decisions };
        let value = serde_json::to_vec(&manifest).map_err(|error| Error::fatal(error.to_string()))?;
        send(self.output(MANIFEST.to_owned(), Some(value)))?;
        let longer_before = (count..self.chunks).map(|number| format!("{MANIFEST}/{number}"));
        let covered = self.advances.iter().map(WatermarkAdvance::key);
        longer_before.chain(covered).try_for_each(|key| send(self.output(key, None)))?;
        self.chunks = count;
        self.advances.clear();
        self.covered = decisions;
        Ok(bytes)
    }

    /// Whether a snapshot would cover advances.
    pub(crate) fn has_advances(&self) -> bool {
        !self.advances.is_empty()
    }

    /// The number of the last watermark advance or snapshot: the journal is as it was committed when it has the same.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    fn output(&self, key: String, value: Option<Vec<u8>>) -> Output {
        Output {
            topic: self.topic.clone(),
            partition: self.partition,
            key: Some(key.into_bytes()),
            value,
            headers: Vec::new(),
        }
    }
}

impl WatermarkAdvance {
    fn key(&self) -> String {
        format!("raise/{}/{}", self.offset, self.watermark)
    }
}

/// Cuts what is written into chunks.
struct Chunks {
    hasher: blake3::Hasher,
    chunk: Vec<u8>,
    count: usize,
    bytes: usize,
}

impl Chunks {
    fn add(&mut self, mut part: &[u8], write: &mut dyn FnMut(usize, Vec<u8>)) {
        self.hasher.update(part);
        self.bytes += part.len();
        while !part.is_empty() {
            let (fits, rest) = part.split_at(part.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(fits);
            part = rest;
            if self.chunk.len() == CHUNK {
                self.flush(write);
            }
        }
    }

    fn flush(&mut self, write: &mut dyn FnMut(usize, Vec<u8>)) {
        write(self.count, std::mem::take(&mut self.chunk));
        self.count += 1;
    }

    /// How many chunks and bytes there were, and their checksum.
    fn finish(mut self, write: &mut dyn FnMut(usize, Vec<u8>)) -> (usize, usize, String) {
        if !self.chunk.is_empty() {
            self.flush(write);
        }
        (self.count, self.bytes, checksum(&self.hasher.finalize()))
    }
}

impl Manifest {
    fn assemble(self, mut chunks: BTreeMap<usize, Vec<u8>>) -> Result<Snapshot, String> {
        if self.version != VERSION {
            return Err(format!("it is of version {}, expected {VERSION}", self.version));
        }
        drop(chunks.split_off(&self.chunks));
        let mut bytes = Vec::with_capacity(chunks.values().map(Vec::len).sum());
        // Each is gone once it is copied: a state is in memory once and a bit, not twice.
        for (_, chunk) in chunks {
            bytes.extend_from_slice(&chunk);
        }
        let found = checksum(&blake3::hash(&bytes));
        if found != self.checksum {
            return Err(format!(
                "its {} bytes have checksum {found}, expected {}",
                bytes.len(),
                self.checksum
            ));
        }
        Ok(Snapshot { taken: self.taken, bytes })
    }
}

fn checksum(hash: &blake3::Hash) -> String {
    hash.to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests;
