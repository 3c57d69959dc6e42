//! Ends a generation: first stage 1, whose commits are marked so that no process of it continues, then stage 2, which emits what
//! every partition had sealed. Any number of processes of the next generation may do this at once, and begin again at any point.

use std::collections::BTreeMap;

use weir_log::generations::settings_of_ended;
use weir_log::identity::AFRESH;
use weir_log::{Committed, Error, Member, Output, PartitionProgress, Record, ResultsProgress};

use crate::first_start::{self, Written};
use crate::identity;
use crate::journal::Journal;
use crate::stage::{RecordError, Stage};

/// The error for a process of an ended generation.
pub(crate) fn ended(topic: &str, partition: i32, by: u32) -> Error {
    let ended = Error::fatal(format!(
        "{topic}/{partition}: generation {by} of the pipeline has begun, and ended the one of this process. Start it again with the document \
         of the newest generation. If it says this again, the record of generations (NAME.generations) is lost: {AFRESH}"
    ));
    ended.at(topic, partition, None)
}

/// Takes the place of stage 1 in the group of the generation that ends, and marks what it committed.
pub struct Ending {
    events: String,
    state: String,
    blocks: String,
    by: u32,
    /// The ends of the events' partitions, read once per assignment.
    ends: Option<Vec<i64>>,
    written: Written,
}

impl Ending {
    /// With the topics of events, and of state and blocks of the generation that ends; `by` is the number of the next one.
    pub fn new(events: &str, state: &str, blocks: &str, by: u32) -> Self {
        let [events, state, blocks] = [events, state, blocks].map(str::to_owned);
        Self { events, state, blocks, by, ends: None, written: Written::default() }
    }
}

impl Stage for Ending {
    /// The marked commit.
    type State = Committed;

    fn restore<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        _now: i64,
        heartbeat: &dyn Fn(),
    ) -> Result<(Committed, i64), Error> {
        let Self { events, state, blocks, by, ends, written } = self;
        let (offset, progress) = match (committed, identity::progress(events, partition, committed)?) {
            (Some(Committed { offset, .. }), Some(progress)) => (*offset, progress),
            _ => {
                let (journal, ..) = Journal::read(member, state, partition, heartbeat)?;
                let topics = first_start::Topics { events, state, blocks };
                first_start::verify(member, topics, partition, &journal, written, heartbeat)?;
                (member.beginning(partition)?, PartitionProgress::default())
            }
        };
        let progress =
            PartitionProgress { settings: settings_of_ended(*by), ended_by: Some(*by), ..progress };
        let metadata = serde_json::to_string(&progress).map_err(|error| Error::fatal(error.to_string()))?;
        // It needs no record: also where retention has deleted what follows the commit.
        let ends = match ends {
            Some(ends) => ends,
            None => ends.insert(member.ends()?),
        };
        let end = ends.get(partition as usize).copied().unwrap_or(offset);
        Ok((Committed { offset, metadata }, end))
    }

    fn record(
        &mut self,
        _: &mut Committed,
        _: &Record<'_>,
        _: i64,
        _: &mut Vec<Output>,
    ) -> Result<(), RecordError> {
        Ok(())
    }

    fn wants_commit(&self, _: &BTreeMap<i32, Committed>, _: i64) -> bool {
        true
    }

    fn forgotten(&mut self) {
        self.ends = None;
    }

    fn end(&mut self, _: &mut Committed, _: i64, _: i64, _: &mut Vec<Output>) {}

    fn held_back(&mut self, _: &mut Committed, _: i64, _: i64, _: &mut Vec<Output>) {}

    fn position(&self, state: &Committed) -> Option<Committed> {
        Some(state.clone())
    }
}

/// The end up to which every partition had sealed its windows, where all of them are ended; `None` within if one had sealed none.
/// The outer `None`: some are not ended yet.
pub fn ended_at(committed: &[Option<Committed>], by: u32) -> Option<Option<i64>> {
    let mut cut = Some(i64::MAX);
    for committed in committed {
        let progress = serde_json::from_str::<PartitionProgress>(&committed.as_ref()?.metadata).ok()?;
        progress.ended_by.filter(|&ended| ended == by)?;
        cut = cut.min(progress.sealed);
    }
    Some(cut.filter(|&cut| cut < i64::MAX))
}

/// Whether every lane is ended: what was complete is emitted.
pub fn is_drained(committed: &[Option<Committed>], by: u32) -> bool {
    committed.iter().all(|committed| {
        let metadata = committed.as_ref().map(|committed| &committed.metadata);
        let progress = metadata.and_then(|text| serde_json::from_str::<ResultsProgress>(text).ok());
        progress.is_some_and(|progress| progress.ended_by == Some(by))
    })
}
