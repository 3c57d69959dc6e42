//! Stage 1's records in the state topic, from which a restart continues.
//!
//! Two kinds of records, both in the transaction that carries their effects:
//! - a [`WatermarkAdvance`]: a watermark advanced because a partition was idle, the only decision that is not in the events topic;
//! - a snapshot: the partition's whole state as of an offset, in chunks, followed by its [`Manifest`]. Each snapshot overwrites the
//!   previous one, key by key, and deletes the advances that it covers, so that a compacted topic holds little more than one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use weir_analytics::SnapshotError;

use weir_log::{Error, Member, Output};

/// Maximum bytes of a chunk: its record stays below the 1 MB that brokers and clients accept by default.
const CHUNK: usize = 900_000;
/// The version of the records.
const VERSION: u32 = 1;
const MANIFEST: &str = "snapshot";

/// A watermark advanced without an event, before the record at `offset` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatermarkAdvance {
    pub(crate) offset: i64,
    pub(crate) watermark: i64,
    /// Sequence number among the partition's advances and snapshots.
    number: u64,
}

/// Marks a snapshot as complete, and describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// Sequence number among the partition's advances and snapshots.
    number: u64,
    /// The snapshot contains all events before this offset.
    offset: i64,
    /// The wall clock, milliseconds.
    taken: i64,
    chunks: usize,
    checksum: String,
    /// Total number of advances before it, so that readers know whether compaction has removed any.
    #[serde(default)]
    decisions: u64,
}

/// A complete snapshot.
pub(crate) struct Snapshot {
    pub(crate) taken: i64,
    pub(crate) bytes: Vec<u8>,
}

/// One partition's records in the state topic.
pub(crate) struct Journal {
    topic: String,
    partition: i32,
    /// Sequence number of the last advance or snapshot.
    number: u64,
    /// Number of chunks that may be in the topic.
    chunks: usize,
    /// Advances not covered by a snapshot.
    advances: Vec<WatermarkAdvance>,
    /// Number of advances covered by snapshots.
    covered: u64,
}

impl Journal {
    /// Reads the last snapshot, if any, and the advances since, in order.
    ///
    /// # Errors
    /// [`Error::Fatal`] for records of another version, and for a snapshot that does not match its manifest.
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
            let parsed = match (key.split_once('/'), record.value) {
                // A tombstone: a later snapshot covers it.
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
                        // The snapshot contains the advances before it.
                        journal.advances.clear();
                    })
                    .map_err(|error| error.to_string()),
                _ => Err(format!("key {key:?}")),
            };
            if let Err(why) = parsed {
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

    /// Logs a watermark advance, taken before the record at `offset` is read.
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

    /// Reserves the next sequence number for a snapshot.
    pub(crate) fn begin_snapshot(&mut self) {
        self.number += 1;
    }

    /// Writes a snapshot of the state before `offset`, one chunk in memory at a time, after [`begin_snapshot`](Self::begin_snapshot).
    /// Returns its size in bytes.
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
        let stale_chunks = (count..self.chunks).map(|number| format!("{MANIFEST}/{number}"));
        let covered = self.advances.iter().map(WatermarkAdvance::key);
        stale_chunks.chain(covered).try_for_each(|key| send(self.output(key, None)))?;
        self.chunks = count;
        self.advances.clear();
        self.covered = decisions;
        Ok(bytes)
    }

    /// Whether there are advances that a snapshot would cover.
    pub(crate) fn has_advances(&self) -> bool {
        !self.advances.is_empty()
    }

    /// Sequence number of the last advance or snapshot: equal to the committed one if the journal is complete.
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

/// Splits a byte stream into chunks.
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

    /// Returns the number of chunks and bytes, and the checksum.
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
        // Each chunk is freed once it is copied, so that the state is not in memory twice.
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
