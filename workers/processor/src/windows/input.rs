//! The state of one input partition: its engine, journal and progress.

use std::collections::VecDeque;

use weir_analytics::{DecisiveSettings, MAX_VISIT_SECONDS, Partition};
use weir_log::{Committed, PartitionProgress};

use crate::journal::{Journal, WatermarkAdvance};

/// The state of one input partition.
pub struct Input {
    pub(super) number: i32,
    pub(super) engine: Partition,
    pub(super) next: i64,
    /// Offset of the group's commit: events before it are read again without writing.
    pub(super) replay_to: i64,
    /// The group's commit during the replay.
    pub(super) committed: Option<Committed>,
    pub(super) advances: VecDeque<WatermarkAdvance>,
    pub(super) journal: Journal,
    /// When the last snapshot was taken: clock time, and below the sealed end.
    pub(super) saved_at: i64,
    pub(super) saved_sealed: Option<i64>,
    /// The last published live values.
    pub(super) published: Option<Published>,
    /// When the newest record was read, as far as known: from it live values age.
    pub(super) newest_at: i64,
    pub(super) at_end: bool,
    /// Since the last end of the log only duplicates were read, if anything.
    pub(super) in_silence: bool,
    /// An open transaction holds back what follows.
    pub(super) is_held_back: bool,
    pub(super) silent_since: i64,
    pub(super) progress: PartitionProgress,
    pub(super) decisive_settings: DecisiveSettings,
    /// What a previous process wrote beyond the offset it committed: the sealed end, and the number of rows of the next window. Not
    /// written again.
    pub(super) written: Option<(Option<i64>, u64)>,
    /// While the windows closed by the last record are being sealed: offset and progress before that record.
    pub(super) before: Option<(i64, Box<PartitionProgress>)>,
    /// When a snapshot is due with the next commit: its time.
    pub(super) saving: Option<i64>,
}

/// The last published live values of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// The next offset.
    pub(super) next: i64,
    /// The end of the window.
    pub(super) end: i64,
    /// Whether the window is empty: time alone changes nothing any more.
    pub(super) empty: bool,
}

impl Input {
    /// Repeats the logged watermark advances that were taken before the record at `offset` was read.
    pub(super) fn repeat_advances(&mut self, offset: i64) {
        while let Some(advance) = self.advances.front().filter(|advance| advance.offset <= offset) {
            self.engine.advance_watermark(advance.watermark);
            self.advances.pop_front();
            self.pass_over_written();
        }
    }

    /// Seals windows without writing them: those that were written before, and those that are not told.
    pub(super) fn pass_over_written(&mut self) {
        while let Some((sealed, rows)) = self.written
            && self.engine.pass_over(sealed, rows)
        {
            self.written = None;
            // A window after all of these has begun.
            if let Some(reach) = self.progress.reach {
                if self.is_reached(reach) {
                    self.progress.told_after = self.engine.sealing();
                    self.written = Some((self.progress.told_after, 0));
                } else {
                    self.progress.reach = None;
                }
            }
        }
    }

    /// Whether the window being sealed may have a visit that began with deleted events: one that began within their reach and has not
    /// paused since. Reports of longer visits than a day are not believed, so after a day they are told: a visitor that never pauses
    /// must not silence a generation.
    fn is_reached(&self, reach: i64) -> bool {
        let limit = self.engine.settings().last_window_end(reach + i64::from(MAX_VISIT_SECONDS) * 1_000);
        self.progress.told_after < Some(limit) && self.engine.has_visit_since(reach)
    }

    /// The current progress. After a restart the written windows are ahead of the engine.
    pub(super) fn current_progress(&self) -> PartitionProgress {
        let (sealed, rows) = self.sealed();
        let before_end = self.progress.before_end.filter(|_| self.progress.ended);
        PartitionProgress {
            settings: self.decisive_settings.committed(self.progress.version_2_from.is_some()),
            journal: self.journal.number(),
            watermark: self.engine.watermark(),
            sealed,
            rows,
            last_end: self.engine.last_window_end(),
            before_end,
            ..self.progress.clone()
        }
    }

    /// The end up to which blocks are written, and how many rows of the next one.
    pub(super) fn sealed(&self) -> (Option<i64>, u64) {
        let by_engine = (self.engine.sealed(), self.engine.rows_written());
        self.written.map_or(by_engine, |written| written.max(by_engine))
    }

    /// The current event time, for live values: the newest event's timestamp, plus the time since it was read if the partition is at
    /// its end.
    pub(super) fn event_time(&self, now: i64) -> i64 {
        let silence = if self.at_end { (now - self.newest_at).max(0) } else { 0 };
        self.engine.newest().unwrap_or(i64::MIN).saturating_add(silence)
    }

    pub(super) fn replays(&self) -> bool {
        self.next < self.replay_to
    }

    /// Everything before `offset` was read.
    pub(super) fn reach(&mut self, offset: i64) {
        // A new leader may not yet return everything that others have read and committed.
        if offset < self.replay_to {
            return;
        }
        if self.replays() {
            self.next = self.replay_to;
            self.repeat_advances(self.next);
        }
        self.next = self.next.max(offset);
    }
}
