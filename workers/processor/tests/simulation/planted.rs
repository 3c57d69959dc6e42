//! The classic bugs, planted: each must be found within a few seeds.

use weir_memory::Careless;

/// A bug of a process, of which the pipeline under test has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Outputs are committed first, and their offsets in a transaction of their own.
    OffsetsOutside,
    /// Partitions are given back before the commit, which names no generation.
    CommitAfterRevoke,
    /// After a commit without an answer the same producer goes on.
    ReusedProducer,
    /// After a commit that may have been sent twice the same producer goes on.
    NoFreshProducer,
    /// Snapshots are written outside transactions, before what they contain is committed.
    SnapshotBeforeData,
    /// That a partition was idle is decided by the wall clock and not logged.
    WallClockIdleness,
    /// Identities of counted events are not part of snapshots.
    IdsInMemory,
    /// Watermarks of idle partitions are advanced by a clock that is ahead of the broker's.
    WatermarkPassesClock,
    /// A generation begins where the last one has got to, and does not end it.
    EarlyGeneration,
    /// What an open transaction holds back is taken for the end of the log.
    HeldBackIsTheEnd,
    /// The position at the end of a partition is the one after its last record.
    PositionAfterLastRecord,
}

impl Planted {
    /// A bug of the client.
    pub fn careless(self) -> Option<Careless> {
        match self {
            Self::CommitAfterRevoke => Some(Careless::NoGeneration),
            Self::ReusedProducer => Some(Careless::SameProducer),
            Self::NoFreshProducer => Some(Careless::NoFreshProducer),
            _ => None,
        }
    }
}

/// A snapshot without the identities that are held.
pub fn without_ids(snapshot: &[u8]) -> Vec<u8> {
    const SECTIONS: u8 = 2;
    const HELD_IDS: u8 = 2;
    let Some((bodies, length)) = snapshot.split_last_chunk::<4>().filter(|_| snapshot[0] == SECTIONS) else {
        return snapshot.to_vec();
    };
    let (bodies, table) = bodies.split_at(bodies.len() - u32::from_le_bytes(*length) as usize);
    // Each entry: tag, version, length.
    let (mut at, mut last) = (1, (0, 0));
    for _ in 0..table[0] {
        let (begin, mut length) = (at, 0);
        at += 2;
        for shift in (0..).step_by(7) {
            at += 1;
            length |= usize::from(table[at - 1] & 0x7f) << shift;
            if table[at - 1] < 0x80 {
                break;
            }
        }
        last = (begin, length);
    }
    let (begin, length) = last;
    if table[begin] != HELD_IDS {
        return snapshot.to_vec();
    }
    let mut table = table[..begin].to_vec();
    table[0] -= 1;
    let table_length = (table.len() as u32).to_le_bytes();
    [&bodies[..bodies.len() - length], &table, &table_length].concat()
}

/// The manifest of a snapshot with other bytes.
pub fn manifest_of(snapshot: &[u8], manifest: &[u8]) -> Vec<u8> {
    let mut manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    manifest["checksum"] = blake3::hash(snapshot).to_hex()[..16].into();
    serde_json::to_vec(&manifest).unwrap()
}
