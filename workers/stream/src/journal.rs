//! What stage 1 writes into the state topic, so that a restart goes on where the process before it was.
//!
//! Two kinds of records, both in the transaction that carries their effects:
//! - a [`Raise`]: a watermark raised because a partition was idle, the only decision that is not in the log of events;
//! - a snapshot: the partition's whole state as of an offset, in chunks, and last its [`Manifest`]. Each snapshot writes over the
//!   one before, key by key, and deletes the raises that it covers, so that a compacted topic holds little more than one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::log::{Error, Member, Output};

/// Longest chunk, bytes: a record of it stays below the million that brokers and clients take by default.
const CHUNK: usize = 900_000;
/// The version of the records.
const VERSION: u32 = 1;
const MANIFEST: &str = "snapshot";

/// A watermark raised although no event said so: taken before the record at `offset` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raise {
    pub(crate) offset: i64,
    pub(crate) watermark: i64,
    /// Its number among all raises and snapshots of the partition.
    number: u64,
}

/// Says that the snapshot is whole, and of when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// Its number among all raises and snapshots of the partition.
    number: u64,
    /// Everything before this offset of the events is in it.
    offset: i64,
    /// The wall clock, milliseconds.
    taken: i64,
    chunks: usize,
    checksum: String,
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
    /// The number of the last raise or snapshot.
    number: u64,
    /// Chunks that the topic may hold.
    chunks: usize,
    /// Raises that no snapshot covers.
    raises: Vec<Raise>,
}

impl Journal {
    /// Reads what was written: the last snapshot, if any, and the raises since, in order.
    ///
    /// # Errors
    /// [`Error::Fatal`] for records of another version and for a snapshot that is not what its manifest says.
    pub(crate) fn read<M: Member>(
        member: &mut M,
        topic: &str,
        partition: i32,
    ) -> Result<(Self, Option<Snapshot>, VecDeque<Raise>), Error> {
        let mut journal =
            Self { topic: topic.to_owned(), partition, number: 0, chunks: 0, raises: Vec::new() };
        let mut chunks: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut manifest = None;
        let mut unreadable = None;
        member.read(topic, partition, 0, &mut |record| {
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
                    .map(|raise: Raise| {
                        journal.number = raise.number;
                        journal.raises.push(raise);
                    })
                    .map_err(|error| error.to_string()),
                (None, Some(value)) if key == MANIFEST => serde_json::from_slice(value)
                    .map(|found: Manifest| {
                        journal.number = found.number;
                        manifest = Some(found);
                        // Those before it are in it.
                        journal.raises.clear();
                    })
                    .map_err(|error| error.to_string()),
                _ => Err(format!("key {key:?}")),
            };
            if let Err(why) = taken_in {
                unreadable.get_or_insert((record.offset, why));
            }
        })?;
        if let Some((offset, why)) = unreadable {
            return Err(Error::Fatal(format!(
                "{topic}/{partition} holds a record of another version at {offset}: {why}"
            )));
        }
        journal.chunks = chunks.len();
        let snapshot = manifest.map(|manifest| manifest.assemble(&chunks)).transpose().map_err(|why| {
            Error::Fatal(format!("the snapshot in {topic}/{partition} cannot be used: {why}"))
        })?;
        let raises = journal.raises.iter().copied().collect();
        Ok((journal, snapshot, raises))
    }

    /// Writes a watermark that was raised before the record at `offset` is read.
    pub(crate) fn raise(&mut self, offset: i64, watermark: i64, out: &mut Vec<Output>) -> Result<(), Error> {
        self.number += 1;
        let raise = Raise { offset, watermark, number: self.number };
        let value = serde_json::to_vec(&raise).map_err(|error| Error::Fatal(error.to_string()))?;
        self.raises.push(raise);
        out.push(self.output(raise.key(), Some(value)));
        Ok(())
    }

    /// Writes the state as of the record before `offset`.
    pub(crate) fn snapshot(
        &mut self,
        offset: i64,
        taken: i64,
        bytes: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let mut chunks = 0;
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            out.push(self.output(format!("{MANIFEST}/{number}"), Some(chunk.to_vec())));
            chunks = number + 1;
        }
        self.number += 1;
        let number = self.number;
        let manifest =
            Manifest { version: VERSION, number, offset, taken, chunks, checksum: checksum(bytes) };
        let value = serde_json::to_vec(&manifest).map_err(|error| Error::Fatal(error.to_string()))?;
        out.push(self.output(MANIFEST.to_owned(), Some(value)));
        let longer_before = (chunks..self.chunks).map(|number| format!("{MANIFEST}/{number}"));
        let covered = self.raises.iter().map(Raise::key);
        out.extend(longer_before.chain(covered).map(|key| self.output(key, None)));
        self.chunks = chunks;
        self.raises.clear();
        Ok(())
    }

    /// Whether a snapshot would cover raises.
    pub(crate) fn has_raises(&self) -> bool {
        !self.raises.is_empty()
    }

    /// The number of the last raise or snapshot: the journal is as it was committed when it has the same.
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

impl Raise {
    fn key(&self) -> String {
        format!("raise/{}/{}", self.offset, self.watermark)
    }
}

impl Manifest {
    fn assemble(self, chunks: &BTreeMap<usize, Vec<u8>>) -> Result<Snapshot, String> {
        if self.version != VERSION {
            return Err(format!("it is of version {}, expected {VERSION}", self.version));
        }
        let bytes = chunks.range(..self.chunks).map(|(_, chunk)| &chunk[..]).collect::<Vec<_>>().concat();
        let found = checksum(&bytes);
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

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests;
