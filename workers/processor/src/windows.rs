//! Stage 1: reads events, writes blocks and dead letters; per input partition.
//!
//! The state of a partition is a function of its log: it is rebuilt from the last snapshot in the state topic and the events
//! since, replayed without writing up to the group's commit. The only decisions that are not in that log, watermarks
//! advanced because a partition was idle, are in the state topic too, and repeated at the same offsets.

mod counting;
mod idleness;
mod input;
mod live;
mod outcomes;
mod restoring;
mod snapshots;
mod warnings;

use std::collections::BTreeMap;

use weir_analytics::{MAX_RECORD_BYTES, Settings};
use weir_events::{Decoder, Privacy, Scratch};
use weir_log::{Committed, Error, Member, Output, PartitionProgress, Record};

use crate::{
    clock::BrokerClock,
    first_start::Written,
    pace::Pace,
    stage::{RecordError, Stage},
};

pub use input::Input;
pub use outcomes::Outcomes;
use warnings::RateLimitedWarning;

/// Topics, settings and limits of stage 1. Times in milliseconds.
pub struct WindowsOptions {
    /// Engine settings; after the first generation with the definitions that are recorded of it.
    pub settings: Settings,
    /// Maximum time that an event may be ahead of its record's timestamp.
    pub max_future: i64,
    /// Time without records after which a partition that was read to its end is idle.
    pub idle_timeout: i64,
    /// Whether the broker stamps events with its own clock (`LogAppendTime`), so that they bound its clock.
    pub stamped_by_broker: bool,
    /// For bounded logs: a partition that was read to its end is idle at once, and nothing is sealed for idleness until all
    /// are.
    pub until_end: bool,
    /// Maximum event time or clock time between two snapshots of a partition's state. Events since the last snapshot are read
    /// again after a restart, so it must be well below their retention.
    pub snapshot_every: i64,
    /// Number of partitions of `events`, by which producers partition visitors.
    pub inputs: i32,
    /// Topic of events.
    pub events: String,
    /// Topic of blocks; as many partitions as `settings.lanes`.
    pub blocks: String,
    /// Topic of snapshots and logged decisions; as many partitions as `events`.
    pub state: String,
    /// Topic of live values, one partition; `None`: not published.
    pub live: Option<String>,
    /// Topic of dead letters, one partition.
    pub dead_letters: String,
    /// Whether dead letters carry their original bytes.
    pub keep_payload: bool,
    /// After the first generation: the end up to which windows were told by those before.
    pub cut: Option<i64>,
}

/// The end of a bounded log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfLog {
    /// The log has no events.
    Empty,
    /// All windows are sealed; the last one ends here.
    Sealed(i64),
}

impl EndOfLog {
    /// The end of the last window.
    pub fn last_window_end(self) -> Option<i64> {
        match self {
            Self::Empty => None,
            Self::Sealed(end) => Some(end),
        }
    }
}

/// Stage 1.
pub struct Windows {
    options: WindowsOptions,
    decoder: Decoder,
    privacy: Privacy,
    scratch: Scratch,
    clock: BrokerClock,
    next_progress_poll: i64,
    /// Whether the last counted record is in the wrong partition for its visitor.
    is_misplaced: bool,
    /// Whether the last counted record missed windows sealed only because of `--until-end`.
    is_after_end: bool,
    misplaced_warning: RateLimitedWarning,
    ended_warning: RateLimitedWarning,
    duplicates_warning: RateLimitedWarning,
    waiting_warning: RateLimitedWarning,
    live: Pace,
    end: Option<EndOfLog>,
    outcomes: Outcomes,
    /// `outcomes` at the last commit: uncommitted records are read and counted again.
    committed: Outcomes,
    /// Maximum bytes of a record of a block.
    block_bytes: usize,
    written: Written,
}

impl Windows {
    /// Stage 1 over the given topics.
    pub fn new(options: WindowsOptions, decoder: Decoder, privacy: Privacy) -> Self {
        Self {
            options,
            decoder,
            privacy,
            scratch: Scratch::default(),
            clock: BrokerClock::default(),
            next_progress_poll: i64::MIN,
            is_misplaced: false,
            is_after_end: false,
            misplaced_warning: RateLimitedWarning::default(),
            ended_warning: RateLimitedWarning::default(),
            duplicates_warning: RateLimitedWarning::default(),
            waiting_warning: RateLimitedWarning::default(),
            live: Pace::new(),
            end: None,
            outcomes: Outcomes::default(),
            committed: Outcomes::default(),
            block_bytes: MAX_RECORD_BYTES,
            written: Written::default(),
        }
    }

    /// Limits the records of blocks to `block_bytes`, but at least one row.
    #[must_use]
    pub fn with_block_bytes(self, block_bytes: usize) -> Self {
        Self { block_bytes, ..self }
    }

    /// Outcomes of the committed records.
    pub fn committed_outcomes(&self) -> &Outcomes {
        &self.committed
    }

    /// With `until_end`: how the log ended, once every partition has sealed its last window.
    pub fn end_of_log(&self) -> Option<EndOfLog> {
        self.end
    }
}

impl Stage for Windows {
    type State = Input;

    fn restore<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        now: i64,
        heartbeat: &dyn Fn(),
    ) -> Result<(Input, i64), Error> {
        self.restore_partition(member, partition, committed, now, heartbeat)
    }

    fn record(
        &mut self,
        input: &mut Input,
        record: &Record<'_>,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), RecordError> {
        if input.at_end && self.options.stamped_by_broker {
            self.clock.read_live(record.timestamp, now);
        }
        // Duplicates do not end a silence that has begun.
        let silence = input.in_silence.then_some((input.silent_since, input.newest_at));
        (input.at_end, input.in_silence, input.is_held_back) = (false, false, false);
        input.silent_since = now;
        input.progress.idle = false;
        if record.offset < input.replay_to {
            input.newest_at = record.timestamp.clamp(input.newest_at.min(now), now);
            input.repeat_advances(record.offset);
            // Its outcome was committed before.
            let _ = self.count(input, record);
            input.pass_over_written();
            input.next = record.offset + 1;
            if !input.replays() {
                input.repeat_advances(input.next);
            }
            return Ok(());
        }
        if input.replays() {
            input.next = input.replay_to;
            input.repeat_advances(input.next);
            // Of what an advance has sealed a part may have been written before a restart: the rest goes before this record.
            while self.is_unfinished(input) {
                self.resume(input, out);
            }
        }
        self.begin_generation(input, record.timestamp);
        input.progress.stamp = input.progress.stamp.max(Some(record.timestamp));
        let duplicates = input.progress.duplicates;
        self.apply(input, record, out);
        input.newest_at = now;
        if let Some(silence) = silence.filter(|_| input.progress.duplicates > duplicates) {
            (input.silent_since, input.newest_at) = silence;
            input.in_silence = true;
        }
        input.next = record.offset + 1;
        Ok(())
    }

    fn is_unfinished(&self, input: &Input) -> bool {
        input.engine.is_behind()
    }

    fn resume(&mut self, input: &mut Input, out: &mut Vec<Output>) {
        input.pass_over_written();
        if let Some(part) = input.engine.seal(self.block_bytes) {
            self.outcomes.sealed += u64::from(!part.more);
            out.push(Output {
                topic: self.options.blocks.clone(),
                partition: self.options.settings.lane(part.end),
                key: None,
                value: Some(part.record),
                headers: Vec::new(),
            });
        }
        if !input.engine.is_behind() {
            input.before = None;
        }
    }

    fn wants_commit(&self, inputs: &BTreeMap<i32, Input>, now: i64) -> bool {
        inputs.values().any(|input| self.snapshot_due(input, now))
    }

    fn prepare(&mut self, inputs: &mut BTreeMap<i32, Input>, now: i64) {
        // One partition per commit, so that a process with many has no long pause.
        let due = inputs.values_mut().filter(|input| self.snapshot_due(input, now));
        if let Some(input) = due.min_by_key(|input| input.saved_at) {
            input.journal.begin_snapshot();
            (input.saved_at, input.saved_sealed) = (now, input.engine.sealed());
            (input.progress.from, input.progress.snapshot) = (input.next, true);
            input.saving = Some(now);
        }
    }

    fn stream(
        &mut self,
        inputs: &mut BTreeMap<i32, Input>,
        send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for input in inputs.values_mut() {
            if let Some(taken) = input.saving.take() {
                self.save(input, taken, send)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, input: &mut Input, offset: i64, now: i64, _out: &mut Vec<Output>) {
        input.reach(offset);
        if input.is_held_back {
            // The idle time starts now: until here a transaction held the partition back.
            input.silent_since = now;
        }
        (input.at_end, input.is_held_back) = (!input.replays(), false);
        input.in_silence = input.at_end;
        if input.at_end {
            self.begin_generation(input, now);
        }
    }

    fn held_back(&mut self, input: &mut Input, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        input.reach(offset);
        (input.at_end, input.in_silence, input.is_held_back) = (false, false, true);
    }

    fn tick<M: Member>(
        &mut self,
        inputs: &mut BTreeMap<i32, Input>,
        member: &mut M,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        self.publish_live(inputs, member, now);
        self.warn(now);
        self.outcomes.held_back = outcomes::held_back(inputs);
        self.committed.held_back.clone_from(&self.outcomes.held_back);
        self.advance_idle(inputs, member, now, out)
    }

    fn is_ending(&self) -> bool {
        self.options.until_end
    }

    fn committed(&mut self) {
        self.committed.clone_from(&self.outcomes);
    }

    fn forgotten(&mut self) {
        self.outcomes.clone_from(&self.committed);
    }

    fn position(&self, input: &Input) -> Option<Committed> {
        // During a replay the engine is behind the commit.
        if let Some(committed) = input.committed.as_ref().filter(|_| input.replays()) {
            return Some(committed.clone());
        }
        let (offset, progress) = match &input.before {
            None => (input.next, input.current_progress()),
            Some((offset, before)) => {
                let (sealed, rows) = input.sealed();
                let PartitionProgress { told_after, reach, .. } = input.progress;
                let before = PartitionProgress::clone(before);
                (*offset, PartitionProgress { sealed, rows, told_after, reach, ..before })
            }
        };
        let metadata = serde_json::to_string(&progress).unwrap_or_default();
        Some(Committed { offset, metadata })
    }
}
