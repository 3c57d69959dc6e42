//! One partition: records in offset order, open transactions, retention and compaction.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, milliseconds since the epoch.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

impl StoredRecord {
    /// Bytes of key, value and headers.
    pub(super) fn size(&self) -> usize {
        let part = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        part(&self.key)
            + part(&self.value)
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// Overhead of a record, so that many empty ones count too.
const OVERHEAD: usize = 96;

/// Records between two automatic compactions, at least; or bytes: few records may be a snapshot of megabytes.
const COMPACT_EVERY: usize = 1024;
const COMPACT_EVERY_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Entry {
    record: Arc<StoredRecord>,
    /// The transaction that wrote it; 0 for none.
    transaction: u64,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The first offset that is still there.
    pub(super) start: i64,
    /// The offset of the next record or marker.
    pub(super) end: i64,
    /// Offsets are not dense: markers, aborted and compacted records leave gaps.
    entries: VecDeque<Entry>,
    /// Open transactions and their first offset here.
    open: BTreeMap<u64, i64>,
    bytes: usize,
    /// Entries, and bytes, that the last compaction left.
    compacted: (usize, usize),
}

impl Partition {
    pub(super) fn append(&mut self, transaction: u64, mut record: StoredRecord) -> i64 {
        let offset = self.end;
        record.offset = offset;
        if transaction != 0 {
            self.open.entry(transaction).or_insert(offset);
        }
        self.bytes += record.size() + OVERHEAD;
        self.entries.push_back(Entry { record: Arc::new(record), transaction });
        self.end += 1;
        offset
    }

    /// Ends a transaction here with a marker, which takes an offset.
    pub(super) fn finish(&mut self, transaction: u64, commit: bool) {
        let Some(first) = self.open.remove(&transaction) else { return };
        if !commit {
            let from = self.index(first);
            let tail: Vec<Entry> = self.entries.drain(from..).collect();
            for entry in tail {
                if entry.transaction == transaction {
                    self.bytes -= entry.record.size() + OVERHEAD;
                } else {
                    self.entries.push_back(entry);
                }
            }
        }
        self.end += 1;
    }

    /// The last stable offset: where the first open transaction begins, or the end. Readers stop before it.
    pub(super) fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Committed records at and after an offset.
    pub(super) fn visible(&self, from: i64) -> impl Iterator<Item = &Arc<StoredRecord>> {
        let stable = self.stable();
        self.entries
            .range(self.index(from)..)
            .map(|entry| &entry.record)
            .take_while(move |r| r.offset < stable)
    }

    /// Deletes the records before an offset, up to the first open transaction.
    pub(super) fn truncate(&mut self, before: i64) {
        self.start = self.start.max(before.min(self.stable()));
        while self.entries.front().is_some_and(|entry| entry.record.offset < self.start) {
            self.drop_first();
        }
    }

    /// Deletes the oldest stable records until the limits hold.
    pub(super) fn retain(&mut self, max_bytes: Option<usize>, oldest: Option<i64>) {
        let stable = self.stable();
        while let Some(entry) = self.entries.front() {
            let beyond = max_bytes.is_some_and(|max| self.bytes > max)
                || oldest.is_some_and(|oldest| entry.record.timestamp < oldest);
            if !beyond || entry.record.offset >= stable {
                return;
            }
            self.start = entry.record.offset + 1;
            self.drop_first();
            // The markers after the last record are deleted with it.
            if self.entries.is_empty() {
                self.start = self.stable();
            }
        }
    }

    /// Keeps only the last stable record of each key, and drops tombstones.
    pub(super) fn compact(&mut self) {
        let stable = self.stable();
        let mut newer = HashSet::new();
        let mut keep: Vec<bool> = Vec::with_capacity(self.entries.len());
        for Entry { record, .. } in self.entries.iter().rev() {
            let mut newest = || record.key.as_ref().is_some_and(|key| newer.insert(key));
            keep.push(record.offset >= stable || (newest() && record.value.is_some()));
        }
        self.entries.retain(|_| keep.pop() == Some(true));
        self.bytes = self.entries.iter().map(|entry| entry.record.size() + OVERHEAD).sum();
        self.compacted = (self.entries.len(), self.bytes);
    }

    /// Compacts when due: the work is amortised over the records written since the last time.
    pub(super) fn compact_if_due(&mut self) {
        let (entries, bytes) = self.compacted;
        if self.entries.len() > 2 * entries + COMPACT_EVERY || self.bytes > 2 * bytes + COMPACT_EVERY_BYTES {
            self.compact();
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn index(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.record.offset < offset)
    }

    fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.record.size() + OVERHEAD;
        }
    }
}
