//! Idle partitions, whose watermarks follow those of the others or the clock; and the end of a bounded log.

use std::collections::BTreeMap;

use weir_log::{Error, Member, Output};

use super::warnings::WAITING_REPORT_INTERVAL_MS;
use super::{EndOfLog, Input, Windows};
use crate::idle::GroupProgress;

/// Time between two reads of all partitions' progress, milliseconds; the second one at the end of a bounded log.
const PROGRESS_POLL_MS: i64 = 250;
const PROGRESS_POLL_AT_END_MS: i64 = 20;

impl Windows {
    /// Decides which partitions are idle, and advances their watermarks.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub(super) fn advance_idle<M: Member>(
        &mut self,
        inputs: &mut BTreeMap<i32, Input>,
        member: &mut M,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let clock = self.clock.at(now) - self.options.settings.out_of_orderness;
        for input in inputs.values_mut().filter(|input| input.progress.ended) {
            // What is written, not the engine: that is behind while it replays.
            input.progress.ended = input.sealed().0.is_some_and(|sealed| sealed > clock);
        }
        let timeout = if self.options.until_end { 0 } else { self.options.idle_timeout };
        for input in inputs.values_mut() {
            input.progress.idle = input.at_end && now - input.silent_since >= timeout;
        }
        let mut idle = inputs.values().map(|input| input.progress.idle);
        let (any_idle, every) = match self.options.until_end {
            // Also without partitions: the others may be read by other processes.
            true => (idle.all(|idle| idle), PROGRESS_POLL_AT_END_MS),
            false => (idle.any(|idle| idle), PROGRESS_POLL_MS),
        };
        // Poll also while held back, to report it.
        let waits = self.options.until_end && inputs.values().any(|input| input.is_held_back);
        if !any_idle && !waits || now < self.next_progress_poll {
            return Ok(());
        }
        self.next_progress_poll = now + if waits { PROGRESS_POLL_MS } else { every };
        let group = match member.committed() {
            Ok(committed) => GroupProgress::new(&committed),
            // A commit is in progress: poll again later.
            Err(Error::Retry(_)) => return Ok(()),
            Err(other) => return Err(other),
        };
        // Timestamps read by other processes also bound the broker's clock.
        if let Some(stamp) = group.newest_stamp().filter(|_| self.options.stamped_by_broker) {
            self.clock.stamped(stamp, now);
        }
        let clock = self.clock.at(now) - self.options.settings.out_of_orderness;
        let target = match self.options.until_end {
            true => self.target_at_end(&group, member, now)?,
            false => group.target(clock),
        };
        let Some(target) = target else { return Ok(()) };
        for input in inputs.values_mut().filter(|input| input.progress.idle) {
            // An advance within a slide would have no effect but a log entry.
            let sealed = target.div_euclid(self.options.settings.slide) * self.options.settings.slide;
            if input.engine.sealed().is_none_or(|now| now < sealed) {
                if target > clock && !input.progress.ended {
                    input.progress.before_end = input.engine.watermark();
                }
                input.progress.ended = target > clock;
                self.advance_watermark(input, target, out)?;
            }
        }
        Ok(())
    }

    /// Advances the watermark of an idle partition, and logs the advance.
    fn advance_watermark(
        &mut self,
        input: &mut Input,
        watermark: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        input.journal.advance_watermark(input.next, watermark, out)?;
        input.engine.advance_watermark(watermark);
        Ok(())
    }

    /// With `until_end`: the end of the last window, once every partition is read to its current end. Until then it regularly logs
    /// what it waits for.
    fn target_at_end<M: Member>(
        &mut self,
        group: &GroupProgress,
        member: &mut M,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        let ends = match group.are_idle().then(|| member.ends()).transpose() {
            Ok(ends) => ends,
            Err(Error::Retry(_)) => return Ok(None),
            Err(other) => return Err(other),
        };
        let unread = ends.map(|ends| group.unread(&ends));
        match unread {
            Some(unread) if unread.is_empty() => {
                let last = group.last_end();
                if group.have_sealed_all() {
                    self.end = Some(last.map_or(EndOfLog::Empty, EndOfLog::Sealed));
                }
                return Ok(last);
            }
            // Other processes still read them: poll at the slower interval.
            Some(unread) => {
                self.next_progress_poll = now + PROGRESS_POLL_MS;
                if self.waiting_warning.is_due(
                    self.waiting_warning.reported + 1,
                    now,
                    WAITING_REPORT_INTERVAL_MS,
                ) {
                    tracing::info!(
                        ?unread,
                        "waiting for partitions to be read to their ends: (partition, read to, end)"
                    );
                }
            }
            None => {
                let held = &self.outcomes.held_back;
                if !held.is_empty()
                    && self.waiting_warning.is_due(
                        self.waiting_warning.reported + 1,
                        now,
                        WAITING_REPORT_INTERVAL_MS,
                    )
                {
                    tracing::warn!(
                        ?held,
                        "waiting for open transactions of producers, which hold back what follows: (partition, read to)"
                    );
                }
            }
        }
        Ok(None)
    }
}
