//! Decodes, validates and counts events.

use weir_analytics::{Settings, Verdict};
use weir_events::{Invalid, Reason, is_version_2, partition_of, unit_hint, validate};
use weir_log::{Output, Record};

use super::{Input, Windows, WindowsOptions};
use crate::dead_letter::dead_letter;

/// What became of a valid event that is not late.
pub(super) enum Accepted {
    /// It counts in all of its windows.
    Whole,
    /// It counts, but not in the windows from this end to that one.
    PartlyLate((i64, i64)),
    /// It had been counted before.
    Duplicate,
}

impl Windows {
    pub(super) fn apply(&mut self, input: &mut Input, record: &Record<'_>, out: &mut Vec<Output>) {
        self.outcomes.read += 1;
        let ended_at = input.progress.ended.then(|| input.engine.watermark());
        let counted = self.count(input, record);
        if self.is_misplaced {
            input.progress.misplaced += 1;
            self.outcomes.misplaced += 1;
        }
        self.outcomes.after_end += u64::from(self.is_after_end);
        if let Some(ended_at) = ended_at {
            // The log has continued past the end that it was declared to have.
            input.progress.ended = input.engine.watermark() <= ended_at;
        }
        match counted {
            Ok(Accepted::Whole) => self.add_counted(input),
            Ok(Accepted::PartlyLate(missed)) => {
                self.add_counted(input);
                input.progress.partly_late += 1;
                input.progress.not_whole.add(missed, self.options.settings.slide);
                self.outcomes.partly_late += 1;
                self.outcomes.not_whole.add(missed, self.options.settings.slide);
            }
            Ok(Accepted::Duplicate) => {
                input.progress.duplicates += 1;
                self.outcomes.duplicates += 1;
            }
            Err(invalid) => {
                if invalid.reason == Reason::Late {
                    input.progress.late += 1;
                    self.outcomes.late += 1;
                } else {
                    input.progress.dead += 1;
                    self.outcomes.invalid += 1;
                    *self.outcomes.invalid_for.entry(invalid.reason).or_default() += 1;
                }
                let WindowsOptions { events, dead_letters, keep_payload, .. } = &self.options;
                out.push(dead_letter(record, &invalid, (events, dead_letters), *keep_payload));
            }
        }
        input.progress.read += 1;
    }

    fn add_counted(&mut self, input: &mut Input) {
        input.progress.counted += 1;
        self.outcomes.counted += 1;
        let is_other_page = u64::from(input.engine.is_other_page());
        input.progress.other_pages += is_other_page;
        self.outcomes.other_pages += is_other_page;
    }

    /// Counts an event. Returns what became of it.
    pub(super) fn count(&mut self, input: &mut Input, record: &Record<'_>) -> Result<Accepted, Invalid> {
        (self.is_misplaced, self.is_after_end) = (false, false);
        let value = record.value.unwrap_or_default();
        if is_version_2(value) {
            let is_known = match input.progress.version_2_from {
                None if input.replays() => false,
                None => {
                    input.progress.version_2_from = Some(record.offset);
                    true
                }
                Some(from) => record.offset >= from,
            };
            if !is_known {
                // A release that did not know these events has read it: it is dead, as it is committed.
                return Err(Invalid { reason: Reason::UnknownSchema, detail: String::new() });
            }
        }
        let event = self.decoder.decode(value)?;
        validate(&event, record.timestamp, self.options.max_future)?;
        let timestamp = event.timestamp;
        // The producer partitioned by the raw id.
        self.is_misplaced = partition_of(event.user_id.as_bytes(), self.options.inputs) != record.partition;
        let sealed_by_events = input.progress.ended.then(|| self.sealed_without_end(input));
        let event = self.privacy.apply(event, &mut self.scratch);
        if !input.replays() && input.engine.closes_windows(timestamp) {
            input.before = Some((record.offset, Box::new(input.current_progress())));
        }
        let verdict = input.engine.read(&event);
        if let Some(sealed_by_events) = sealed_by_events {
            let last_missed = match verdict {
                Verdict::Counted | Verdict::Duplicate => None,
                Verdict::PartlyLate => input.engine.sealed(),
                Verdict::Late => Some(self.options.settings.last_window_end(timestamp)),
            };
            self.is_after_end = last_missed > sealed_by_events;
        }
        match verdict {
            Verdict::Counted => Ok(Accepted::Whole),
            Verdict::PartlyLate => {
                let first = self.options.settings.first_window_end(timestamp);
                Ok(input
                    .engine
                    .sealed()
                    .map_or(Accepted::Whole, |sealed| Accepted::PartlyLate((first, sealed))))
            }
            Verdict::Duplicate => {
                // It closes no window, whatever its timestamp.
                input.before = None;
                Ok(Accepted::Duplicate)
            }
            Verdict::Late => {
                let watermark = input.engine.watermark().unwrap_or_default();
                let detail = format!(
                    "timestamp {timestamp} lies in no window that ends after the watermark {watermark}{}",
                    unit_hint(timestamp)
                );
                Err(Invalid { reason: Reason::Late, detail })
            }
        }
    }

    /// The sealed end without `--until-end`.
    pub(super) fn sealed_without_end(&self, input: &Input) -> Option<i64> {
        let Settings { slide, out_of_orderness, .. } = self.options.settings;
        let by_events = input.engine.newest().map(|newest| newest - out_of_orderness);
        let watermark = input.progress.before_end.max(by_events)?;
        Some(watermark.div_euclid(slide) * slide)
    }
}
