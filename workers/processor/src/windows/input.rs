//! One input partition at work: its engine, its journal, and how far it is.

use std::collections::VecDeque;

use weir_analytics::Partition;
use weir_log::{Committed, PartitionProgress};

use crate::journal::{Journal, WatermarkAdvance};

/// One input partition at work.
pub struct Input {
    pub(super) number: i32,
    pub(super) engine: Partition,
    pub(super) next: i64,
    /// Up to here everything was committed before: it is read again without writing.
    pub(super) replay_to: i64,
    /// Where the group stands while that goes on.
    pub(super) committed: Option<Committed>,
    pub(super) advances: VecDeque<WatermarkAdvance>,
    pub(super) journal: Journal,
    /// When the last snapshot was taken, by the clock and in event time.
    pub(super) saved_at: i64,
    pub(super) saved_sealed: Option<i64>,
    /// The live values that were last published.
    pub(super) shown: Option<Shown>,
    /// When the newest record was read, as far as it is known: what live values age by.
    pub(super) newest_at: i64,
    pub(super) at_end: bool,
    /// An open transaction holds back what follows.
    pub(super) is_held_back: bool,
    pub(super) silent_since: i64,
    pub(super) progress: PartitionProgress,
    /// What was written by whoever was here before, beyond what it committed as read: the end that it had sealed, and rows of the next
    /// window. Not written again.
    pub(super) written: Option<(Option<i64>, u64)>,
    /// While windows are sealed that the last record closed: where the partition stood before it. It has not been read until they are.
    pub(super) before: Option<(i64, Box<PartitionProgress>)>,
    /// Its state is written with the next commit.
    pub(super) saving: Option<i64>,
}

/// What was published of an open window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// The next offset.
    pub(super) next: i64,
    /// The end of the window.
    pub(super) end: i64,
    /// Nothing is in it, so that time alone changes nothing any more.
    pub(super) empty: bool,
}

impl Input {
    /// Repeats the logged decisions that were taken before the record at `offset` was read.
    pub(super) fn repeat_advances(&mut self, offset: i64) {
        while let Some(advance) = self.advances.front().filter(|advance| advance.offset <= offset) {
            self.engine.advance_watermark(advance.watermark);
            self.advances.pop_front();
            self.pass_over_written();
        }
    }

    /// Seals, without writing, what was written before.
    pub(super) fn pass_over_written(&mut self) {
        if let Some((sealed, rows)) = self.written
            && self.engine.pass_over(sealed, rows)
        {
            self.written = None;
        }
    }

    /// Where it stands. What is written is ahead of the engine after a restart.
    pub(super) fn current_progress(&self) -> PartitionProgress {
        let (sealed, rows) = self.sealed();
        let before_end = self.progress.before_end.filter(|_| self.progress.ended);
        PartitionProgress {
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

    /// How late it is in event time, for what is only shown: the newest event's, and the time since it was read once nothing more is
    /// there.
    pub(super) fn event_time(&self, now: i64) -> i64 {
        let silence = if self.at_end { (now - self.newest_at).max(0) } else { 0 };
        self.engine.newest().unwrap_or(i64::MIN).saturating_add(silence)
    }

    pub(super) fn replays(&self) -> bool {
        self.next < self.replay_to
    }

    /// Everything before `offset` was read.
    pub(super) fn reach(&mut self, offset: i64) {
        // A broker that has just become the leader may not show yet what others have read and committed.
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
