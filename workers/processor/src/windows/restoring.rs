//! Rebuilds the state of a partition.

use weir_analytics::decisive::definitions_in;
use weir_analytics::{DecisiveSettings, Definitions, Partition, Settings};
use weir_log::{Committed, Error, Member, PartitionProgress, identity::AFRESH};

use super::{Input, Windows, WindowsOptions};
use crate::ending;
use crate::first_start;
use crate::identity::{self, Expected};
use crate::journal::Journal;

impl Windows {
    /// Rebuilds the state of a partition from its last snapshot and the events since.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub(super) fn restore_partition<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        now: i64,
        heartbeat: &dyn Fn(),
    ) -> Result<(Input, i64), Error> {
        let definitions = self.definitions(member, partition, committed)?;
        let WindowsOptions { events, state, blocks, .. } = &self.options;
        let settings = Settings { definitions, ..self.options.settings };
        let decisive_settings = self.decisive_settings(&settings);
        let topics = [
            Expected { role: "events", topic: events, partitions: self.options.inputs },
            Expected { role: "state", topic: state, partitions: self.options.inputs },
            Expected { role: "blocks", topic: blocks, partitions: settings.lanes },
        ];
        // First: in a recreated topic the offsets and the journal mean nothing.
        let topics = identity::verify(member, &topics, &identity::committed(committed))?;
        let beginning = member.beginning(partition)?;
        let (journal, snapshot, advances) = Journal::read(member, state, partition, heartbeat)?;
        let progress = match identity::progress::<PartitionProgress>(events, partition, committed)? {
            None => {
                let topics = first_start::Topics { events, state, blocks };
                first_start::verify(member, topics, partition, &journal, &mut self.written, heartbeat)?;
                PartitionProgress {
                    settings: decisive_settings.committed(false),
                    from: beginning,
                    ..PartitionProgress::default()
                }
            }
            // A generation begins where the events begin now.
            Some(progress) if self.options.cut.is_some() && progress.told_after.is_none() => {
                PartitionProgress { from: progress.from.max(beginning), ..progress }
            }
            Some(progress) => progress,
        };
        if let Some(by) = progress.ended_by {
            return Err(ending::ended(events, partition, by));
        }
        if let Some(refusal) = decisive_settings.refusal(&progress.settings) {
            let refused = Error::fatal(format!("the state of {events}/{partition} {refusal}"));
            return Err(refused.at(events, partition, None));
        }
        if progress.ended {
            tracing::warn!(
                partition,
                sealed = progress.sealed,
                "the log was declared to end (--until-end), its windows are sealed up to there ahead of the clock: earlier events miss them"
            );
        }
        if journal.number() != progress.journal {
            // A transaction's offsets and records become visible one after the other.
            let behind = Error::retry(format!(
                "{state}/{partition} has {} entries, the commit expects {}",
                journal.number(),
                progress.journal
            ));
            return Err(behind.at(state, partition, None));
        }
        let start = progress.from;
        let replay_to = committed.map_or(start, |committed| committed.offset.max(start));
        if beginning > start && replay_to > start {
            let deleted = Error::fatal(format!(
                "{events}/{partition} begins at offset {beginning}, but what was counted since the last snapshot begins at {start}: \
                 retention deleted it. Give the topic a longer retention, and {AFRESH}"
            ));
            return Err(deleted.at(events, partition, Some(start)));
        }
        let (engine, saved_at) = match snapshot {
            None => (Partition::new(partition, settings), 0),
            Some(snapshot) => {
                let engine = Partition::restore(partition, settings, &snapshot.bytes)
                    .map_err(|error| Error::fatal(format!("{state}/{partition}: {error}")))
                    .map_err(|error| error.at(state, partition, None))?;
                (engine, snapshot.taken)
            }
        };
        if replay_to > start || progress.snapshot {
            let read_again = (replay_to - start).max(0);
            tracing::info!(
                partition,
                from = start,
                snapshot = progress.snapshot,
                read_again,
                "state restored"
            );
        }
        let mut input = Input {
            number: partition,
            next: start,
            replay_to,
            committed: committed.cloned(),
            advances,
            journal,
            saved_at,
            saved_sealed: engine.sealed(),
            engine,
            published: None,
            // The events since the last snapshot are read again, and update this.
            newest_at: if saved_at > 0 { saved_at.min(now) } else { now },
            at_end: false,
            in_silence: false,
            is_held_back: false,
            silent_since: now,
            written: Some((progress.sealed, progress.rows)),
            progress: PartitionProgress { topics, ..progress },
            decisive_settings,
            before: None,
            saving: None,
        };
        if !input.replays() {
            input.repeat_advances(input.next);
        }
        Ok((input, start))
    }

    /// The definitions that the generation follows: it may have begun with an earlier release. They are those of the partition's commit, or
    /// those that its record has; the first generation has none, and follows another partition's commit.
    fn definitions<M: Member>(
        &self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
    ) -> Result<Definitions, Error> {
        let others = match committed {
            None if self.options.cut.is_some() => return Ok(self.options.settings.definitions),
            None => member.committed()?,
            Some(_) => Vec::new(),
        };
        let metadata =
            committed.into_iter().chain(others.iter().flatten()).map(|committed| &*committed.metadata);
        let Some(settings) = PartitionProgress::settings_in(metadata) else {
            return Ok(self.options.settings.definitions);
        };
        definitions_in(&settings).map_err(|unknown| {
            let events = &self.options.events;
            Error::fatal(format!("the state of {events}/{partition} {unknown}")).at(events, partition, None)
        })
    }

    fn decisive_settings(&self, settings: &Settings) -> DecisiveSettings {
        DecisiveSettings::new(settings, self.options.max_future, &self.privacy, self.options.inputs)
    }

    /// In a generation that is not the first: decides which windows it may tell, at its first record, which has the broker's timestamp
    /// `stamp`. The events before it may have been deleted, and windows that these reach are not told, instead of being told wrong.
    ///
    /// No deleted event was further ahead of this record than `max_future`. It may have had a visit for `session_gap` more, and its
    /// identity may have been held for as long as the watermark rose by `held_for`; that is at least a window, so that also the previous
    /// ranks of the first window told are whole. Of windows that begin after that, a visit alone can reach back (`Input::is_reached`).
    pub(super) fn begin_generation(&self, input: &mut Input, stamp: i64) {
        let Some(cut) = self.options.cut.filter(|_| input.progress.told_after.is_none()) else { return };
        let mut told_after = cut;
        // Without an event before it nothing can be missing.
        if input.progress.from > 0 {
            let settings = &self.options.settings;
            let reach = stamp + self.options.max_future + settings.session_gap.max(settings.held_for());
            told_after = cut.max(settings.last_window_end(reach));
            input.progress.reach = Some(reach);
        }
        input.progress.told_after = Some(told_after);
        input.written = Some((Some(told_after), 0));
        if told_after > cut {
            tracing::warn!(
                partition = input.number,
                cut,
                told_after,
                "events that windows of this generation need were deleted by retention before it began: these windows are left out"
            );
        }
    }
}
