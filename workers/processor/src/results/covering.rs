//! A generation that has ended may have stopped amid a silence. A partition that jumps over one writes a block for each lane, which covers
//! the windows before it; in lanes without theirs the windows up to the sealed end are covered by the last one that is written.

use std::collections::{BTreeMap, btree_map::Entry};

use weir_analytics::Block;
use weir_log::{Error, Member, PartitionProgress};

use super::{Lane, ResultsOptions};

/// A partition whose last block in a lane does not reach as far as it has sealed.
struct Uncovered {
    lane: i32,
    partition: i32,
    /// The end of the last block that the partition has written, in any lane.
    sealed: i64,
}

/// Covers the windows that partitions have sealed in lanes that are read to their ends, by the partitions' last commits.
///
/// # Errors
/// As [`Error`] says; [`Error::Fatal`] if the last block has an event: it says nothing of windows before it.
pub(super) fn cover<M: Member>(
    options: &ResultsOptions,
    member: &mut M,
    lanes: &mut BTreeMap<i32, Lane>,
) -> Result<(), Error> {
    let ResultsOptions { settings, blocks, .. } = options;
    let mut last_blocks = BTreeMap::new();
    for Uncovered { lane, partition, sealed } in uncovered(options, member, lanes)? {
        let source = settings.lane(sealed);
        let last_blocks = match last_blocks.entry(source) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(read_last_blocks(blocks, member, source)?),
        };
        let Some((_, records)) = last_blocks.get(&partition).filter(|(end, _)| *end == sealed) else {
            continue;
        };
        let Some(lane) = lanes.get_mut(&lane) else { continue };
        for record in records {
            let unreadable = |error| Error::fatal(format!("{blocks}/{source}: {error}"));
            // It would be added up as a window of the other lane.
            if Block::decode(record).map_err(unreadable)?.site.users > 0 {
                return Err(Error::fatal(format!(
                    "{blocks}/{source}: the last block of partition {partition} has events, so it does not cover the windows before it that \
                     other lanes wait for"
                )));
            }
            lane.merge.cover(record).map_err(unreadable)?;
        }
    }
    Ok(())
}

/// The end and the records of each partition's last block.
type LastBlocks = BTreeMap<i32, (i64, Vec<Vec<u8>>)>;

/// Reads the last block of each partition in a lane.
fn read_last_blocks<M: Member>(topic: &str, member: &mut M, lane: i32) -> Result<LastBlocks, Error> {
    let (mut last_blocks, mut unreadable) = (LastBlocks::new(), None);
    member.read(topic, lane, 0, &mut |record| {
        let value = record.value.unwrap_or_default();
        match Block::decode(value) {
            Ok(Block { partition, end, .. }) => {
                let (last, records) = last_blocks.entry(partition).or_insert((end, Vec::new()));
                if end > *last {
                    (*last, *records) = (end, Vec::new());
                }
                records.push(value.to_vec());
            }
            Err(error) => unreadable = unreadable.take().or(Some(error)),
        }
    })?;
    match unreadable {
        None => Ok(last_blocks),
        Some(error) => Err(Error::fatal(format!("{topic}/{lane}: {error}"))),
    }
}

/// The lanes that wait for blocks of partitions, although these have sealed the windows.
fn uncovered<M: Member>(
    options: &ResultsOptions,
    member: &mut M,
    lanes: &BTreeMap<i32, Lane>,
) -> Result<Vec<Uncovered>, Error> {
    let ResultsOptions { settings, windows, events, .. } = options;
    let mut uncovered = Vec::new();
    for (partition, committed) in (0..).zip(member.committed_by(windows, events)?) {
        let progress = committed.and_then(|it| serde_json::from_str::<PartitionProgress>(&it.metadata).ok());
        let Some(sealed) = progress.and_then(|progress| progress.sealed) else { continue };
        for (&number, Lane { merge, .. }) in lanes {
            let last = settings.last_end_in_lane(number, sealed);
            if merge.covered(partition).max(merge.emitted()) < Some(last) {
                uncovered.push(Uncovered { lane: number, partition, sealed });
            }
        }
    }
    Ok(uncovered)
}
