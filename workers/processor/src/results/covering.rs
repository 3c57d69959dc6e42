//! A generation that has ended may have stopped amid a silence. A partition that jumps over one writes a block for each lane, which covers
//! the windows before it; in lanes without theirs the windows up to the sealed end are covered by the last one that is written.

use weir_analytics::Block;
use weir_log::{Error, Member, PartitionProgress};

use super::{Lane, ResultsOptions};

/// Covers the windows that partitions have sealed in a lane that is read to its end, by the partitions' last commits.
///
/// # Errors
/// As [`Error`] says.
pub(super) fn cover<M: Member>(
    options: &ResultsOptions,
    member: &mut M,
    number: i32,
    lane: &mut Lane,
) -> Result<(), Error> {
    let ResultsOptions { settings, windows, events, blocks, .. } = options;
    for (partition, committed) in (0..).zip(member.committed_by(windows, events)?) {
        let progress = committed.and_then(|it| serde_json::from_str::<PartitionProgress>(&it.metadata).ok());
        let Some(sealed) = progress.and_then(|progress| progress.sealed) else { continue };
        let mut ends = (0..i64::from(settings.lanes)).map(|back| sealed - back * settings.slide);
        let last = ends.find(|&end| settings.lane(end) == number);
        if lane.merge.covered(partition).max(lane.merge.emitted()) >= last {
            continue;
        }
        let mut unreadable = None;
        member.read(blocks, settings.lane(sealed), 0, &mut |record| {
            let value = record.value.unwrap_or_default();
            let read = Block::decode(value).and_then(|block| {
                let is_last = (block.partition, block.end) == (partition, sealed);
                if is_last { lane.merge.cover(value) } else { Ok(()) }
            });
            unreadable = unreadable.take().or(read.err());
        })?;
        if let Some(error) = unreadable {
            return Err(Error::fatal(format!("{blocks}: {error}")));
        }
    }
    Ok(())
}
