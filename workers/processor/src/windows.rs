//! Stage 1: events in, blocks and dead letters out; one input partition at a time.
//!
//! The state of a partition is a function of its log: it is rebuilt from the last snapshot in the state topic and the events
//! since, read again without writing, up to where the group stands. The only decisions that are not in that log, watermarks
//! advanced because a partition was idle, are in the state topic too, and repeated at the same place.

mod counting;
mod idleness;
mod input;
mod live;
mod outcomes;
mod restoring;
mod snapshots;
mod warnings;

use std::collections::BTreeMap;

use weir_analytics::{DecisiveSettings, MAX_RECORD_BYTES, Settings};
use weir_events::{Decoder, Privacy, Scratch};
use weir_log::{Committed, Error, Member, Output, PartitionProgress, Record};

use crate::{
    clock::BrokerClock,
    pace::Pace,
    stage::{RecordError, Stage},
};

pub use input::Input;
pub use outcomes::Outcomes;
use warnings::RateLimitedWarning;

/// Names and limits of stage 1. Times in milliseconds.
pub struct Options {
    /// Windows.
    pub settings: Settings,
    /// How far ahead of its record's timestamp an event may be.
    pub max_future: i64,
    /// Silence after which a partition that was read to its end is idle.
    pub idle_timeout: i64,
    /// Whether the broker stamps events with its own clock (`LogAppendTime`): then its clock is known from them.
    pub stamped_by_broker: bool,
    /// A partition that was read to its end is idle at once, and nothing is sealed for idleness before all are: for a log that
    /// has come to its end.
    pub until_end: bool,
    /// How much event time, or time on the clock, may lie between two snapshots of a partition's state. What came since the
    /// last one is read again after a restart, so it must be well below the retention of the events.
    pub snapshot_every: i64,
    /// Partitions of `events`, over which producers place visitors.
    pub inputs: i32,
    /// Topic names.
    pub events: String,
    /// Topic of blocks; as many partitions as `settings.lanes`.
    pub blocks: String,
    /// Topic of snapshots and logged decisions; as many partitions as `events`.
    pub state: String,
    /// Topic of live values, if they are wanted; one partition.
    pub live: Option<String>,
    /// Topic of dead letters, one partition.
    pub dead_letters: String,
    /// Whether dead letters carry their original bytes.
    pub keep_payload: bool,
}

/// How a log that has an end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfLog {
    /// It holds no event.
    Empty,
    /// Its last window ends here, and is sealed.
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
    options: Options,
    decoder: Decoder,
    privacy: Privacy,
    scratch: Scratch,
    clock: BrokerClock,
    next_progress_poll: i64,
    /// Whether the record that was counted last is of a visitor who belongs into another partition.
    is_misplaced: bool,
    /// Whether it missed windows that only `--until-end` had sealed.
    is_after_end: bool,
    misplaced_warning: RateLimitedWarning,
    ended_warning: RateLimitedWarning,
    waiting_warning: RateLimitedWarning,
    live: Pace,
    end: Option<EndOfLog>,
    outcomes: Outcomes,
    /// The same as of the last commit: what was not committed is read again, and counted then.
    committed: Outcomes,
    /// Maximum bytes of a record of a block.
    block_bytes: usize,
}

impl Windows {
    /// Stage 1 over the given topics.
    pub fn new(options: Options, decoder: Decoder, privacy: Privacy) -> Self {
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
            waiting_warning: RateLimitedWarning::default(),
            live: Pace::new(),
            end: None,
            outcomes: Outcomes::default(),
            committed: Outcomes::default(),
            block_bytes: MAX_RECORD_BYTES,
        }
    }

    /// Writes blocks as records of at most so many bytes, or of one row.
    #[must_use]
    pub fn with_block_bytes(self, block_bytes: usize) -> Self {
        Self { block_bytes, ..self }
    }

    /// What became of the records, as far as that is committed.
    pub fn committed_outcomes(&self) -> &Outcomes {
        &self.committed
    }

    /// With `until_end`: how the log ended, once every partition has sealed its last window.
    pub fn end_of_log(&self) -> Option<EndOfLog> {
        self.end
    }

    fn decisive_settings(&self) -> DecisiveSettings {
        DecisiveSettings::new(
            &self.options.settings,
            self.options.max_future,
            &self.privacy,
            self.options.inputs,
        )
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
        (input.at_end, input.is_held_back) = (false, false);
        input.silent_since = now;
        input.progress.idle = false;
        if record.offset < input.replay_to {
            input.newest_at = record.timestamp.clamp(input.newest_at.min(now), now);
            input.repeat_advances(record.offset);
            // What it counts as, and says, was committed before.
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
        }
        input.progress.stamp = input.progress.stamp.max(Some(record.timestamp));
        self.apply(input, record, out);
        input.newest_at = now;
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
        // One at a time, so that a process with many partitions has no long pause.
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
            // Silence begins where there is nothing more to come.
            input.silent_since = now;
        }
        (input.at_end, input.is_held_back) = (!input.replays(), false);
    }

    fn held_back(&mut self, input: &mut Input, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        input.reach(offset);
        (input.at_end, input.is_held_back) = (false, true);
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

    fn position(&self, input: &Input) -> Committed {
        // In the middle of a replay the engine is behind what was committed.
        if let Some(committed) = input.committed.as_ref().filter(|_| input.replays()) {
            return committed.clone();
        }
        let (offset, progress) = match &input.before {
            None => (input.next, input.current_progress()),
            Some((offset, before)) => {
                let (sealed, rows) = input.sealed();
                (*offset, PartitionProgress { sealed, rows, ..PartitionProgress::clone(before) })
            }
        };
        let metadata = serde_json::to_string(&progress).unwrap_or_default();
        Committed { offset, metadata }
    }
}
