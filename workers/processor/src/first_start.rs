//! A partition without a commit begins anew only if it has written nothing: what it writes is committed together with its offset.

use std::collections::BTreeSet;

use weir_analytics::Block;
use weir_log::{Error, Member, identity::AFRESH};

use crate::journal::Journal;

/// The topics of a generation's stage 1.
#[derive(Clone, Copy)]
pub(crate) struct Topics<'a> {
    pub(crate) events: &'a str,
    pub(crate) state: &'a str,
    pub(crate) blocks: &'a str,
}

/// The partitions of which there are blocks; read once per process, for its first partition without a commit.
#[derive(Default)]
pub(crate) struct Written(Option<BTreeSet<i32>>);

impl Written {
    fn read<M: Member>(
        &mut self,
        member: &mut M,
        blocks: &str,
        heartbeat: &dyn Fn(),
    ) -> Result<&BTreeSet<i32>, Error> {
        let written = match self.0.take() {
            Some(written) => written,
            None => partitions_in(member, blocks, heartbeat)?,
        };
        Ok(self.0.insert(written))
    }
}

/// The partitions of which there are blocks; none without the topic.
fn partitions_in<M: Member>(
    member: &mut M,
    blocks: &str,
    heartbeat: &dyn Fn(),
) -> Result<BTreeSet<i32>, Error> {
    let lanes = member.topics(&[blocks])?.into_iter().flatten().map(|topic| topic.partitions).sum();
    let (mut written, mut unreadable) = (BTreeSet::new(), None);
    for lane in 0..lanes {
        member.read(blocks, lane, 0, &mut |record| {
            heartbeat();
            match Block::decode(record.value.unwrap_or_default()) {
                Ok(block) => _ = written.insert(block.partition),
                Err(error) => _ = unreadable.get_or_insert((lane, error)),
            }
        })?;
    }
    match unreadable {
        None => Ok(written),
        Some((lane, error)) => Err(Error::fatal(format!("{blocks}/{lane}: {error}"))),
    }
}

/// Refuses a partition without a commit that has a journal or blocks. Also one without, if there are blocks and no partition has a commit: it
/// may have read events of windows that the others have written.
///
/// # Errors
/// [`Error::Fatal`] then; [`Error::Retry`] if it was committed meanwhile.
pub(crate) fn verify<M: Member>(
    member: &mut M,
    Topics { events, state, blocks }: Topics<'_>,
    partition: i32,
    journal: &Journal,
    written: &mut Written,
    heartbeat: &dyn Fn(),
) -> Result<(), Error> {
    let (holds, has_written) = if journal.number() > 0 {
        (format!("{state}/{partition} holds state"), true)
    } else {
        let written = written.read(member, blocks, heartbeat)?;
        if written.is_empty() {
            return Ok(());
        }
        (format!("{blocks} holds blocks"), written.contains(&partition))
    };
    // Again, after what it commits: another owner may have written the first of both in between.
    let committed = member.committed()?;
    if committed.get(partition as usize).is_some_and(Option::is_some) {
        let first = Error::retry(format!("{events}/{partition} was committed for the first time just now"));
        return Err(first.at(events, partition, None));
    }
    if !has_written && committed.iter().any(Option::is_some) {
        return Ok(());
    }
    let orphaned = Error::fatal(format!(
        "{holds}, but the consumer group has no commit for {events}/{partition}: its offsets were deleted, with the topic or by hand, or \
         have expired, and what it counted since is not known any more: {AFRESH}"
    ));
    Err(orphaned.at(events, partition, None))
}
