//! Stage 1: events in, blocks and dead letters out; one input partition at a time.
//!
//! The state of a partition is a function of its log: it is rebuilt from the last snapshot in the state topic and the events
//! since, read again without writing, up to where the group stands. The only decisions that are not in that log, watermarks
//! advanced because a partition was idle, are in the state topic too, and repeated at the same place.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use weir_analytics::{DecisiveSettings, MAX_RECORD_BYTES, Partition, Settings, Verdict};
use weir_events::{Decoder, Invalid, Privacy, Reason, Scratch, partition_of, unit_hint, validate};

use weir_log::{Committed, EndRanges, Error, Member, Output, PartitionProgress, Record, identity::AFRESH};

use crate::{
    clock::BrokerClock,
    dead_letter::dead_letter,
    identity::{self, Expected},
    idle::Everyone,
    journal::{Journal, WatermarkAdvance},
    pace::Pace,
    worker::Stage,
};

/// How long between two looks at where idle partitions' neighbours stand, milliseconds; and where only the others' ends are waited
/// for.
const LOOK: i64 = 250;
const LOOK_AT_END: i64 = 20;

/// How long between two remarks on one subject, milliseconds.
const REMARK_EVERY: i64 = 60_000;
const REMARK_ON_END_EVERY: i64 = 5_000;

/// Most records that are read again after a restart.
const MOST_REPLAYED: i64 = 2_000_000;

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

/// Stage 1.
pub struct Windows {
    options: Options,
    decoder: Decoder,
    privacy: Privacy,
    scratch: Scratch,
    clock: BrokerClock,
    next_look: i64,
    /// Whether the record that was counted last is of a visitor who belongs into another partition.
    is_misplaced: bool,
    /// Whether it missed windows that only `--until-end` had sealed.
    is_after_end: bool,
    misplaced_remark: Remark,
    ended_remark: Remark,
    waiting_remark: Remark,
    live: Pace,
    finished: Option<Option<i64>>,
    outcomes: Outcomes,
    /// The same as of the last commit: what was not committed is read again, and counted then.
    committed: Outcomes,
    /// Maximum bytes of a record of a block.
    block_bytes: usize,
}

/// Something that is said again only after a while, and only where it has become more.
#[derive(Default)]
struct Remark {
    next: i64,
    said: u64,
}

impl Remark {
    fn is_due(&mut self, count: u64, now: i64, every: i64) -> bool {
        let due = count > self.said && now >= self.next;
        if due {
            (self.said, self.next) = (count, now + every);
        }
        due
    }
}

/// What this process made of the records that it read, those left out that it only read again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Records read.
    pub read: u64,
    /// Events counted, partly late ones included.
    pub counted: u64,
    /// Events all of whose windows were sealed.
    pub late: u64,
    /// Events that count, but not in all of their windows.
    pub partly_late: u64,
    /// The windows that those missed.
    pub not_whole: EndRanges,
    /// Records that are no valid event.
    pub invalid: u64,
    /// The same by reason.
    pub invalid_for: BTreeMap<Reason, u64>,
    /// Valid events of visitors who belong into another partition.
    pub misplaced: u64,
    /// Events that were late or partly late because `--until-end` had sealed their windows ahead of the clock.
    pub after_end: u64,
    /// Partitions that an open transaction of a producer holds back now, and the offset that each was read to.
    pub held_back: Vec<(i32, i64)>,
    /// Windows sealed, one per input partition.
    pub sealed: u64,
    /// Snapshots of a partition's state.
    pub snapshots: u64,
}

/// One input partition at work.
pub struct Input {
    number: i32,
    engine: Partition,
    next: i64,
    /// Up to here everything was committed before: it is read again without writing.
    replay_to: i64,
    /// Where the group stands while that goes on.
    committed: Option<Committed>,
    advances: VecDeque<WatermarkAdvance>,
    journal: Journal,
    /// When the last snapshot was taken, by the clock and in event time.
    saved_at: i64,
    saved_sealed: Option<i64>,
    /// The live values that were last published.
    shown: Option<Shown>,
    /// When the newest record was read, as far as it is known: what live values age by.
    newest_at: i64,
    at_end: bool,
    /// An open transaction holds back what follows.
    is_held_back: bool,
    silent_since: i64,
    standing: PartitionProgress,
    /// What was written by whoever was here before, beyond what it committed as read: the end that it had sealed, and rows of the next
    /// window. Not written again.
    written: Option<(Option<i64>, u64)>,
    /// While windows are sealed that the last record closed: where the partition stood before it. It has not been read until they are.
    before: Option<(i64, Box<PartitionProgress>)>,
    /// Its state is written with the next commit.
    saving: Option<i64>,
}

/// What was published of an open window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    /// The next offset.
    next: i64,
    /// The end of the window.
    end: i64,
    /// Nothing is in it, so that time alone changes nothing any more.
    empty: bool,
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
            next_look: i64::MIN,
            is_misplaced: false,
            is_after_end: false,
            misplaced_remark: Remark::default(),
            ended_remark: Remark::default(),
            waiting_remark: Remark::default(),
            live: Pace::new(),
            finished: None,
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

    /// With `until_end`: the end of the last window of the whole log (`None` inside if it holds no event), once every
    /// partition has sealed it.
    pub fn finished(&self) -> Option<Option<i64>> {
        self.finished
    }

    fn apply(&mut self, input: &mut Input, record: &Record<'_>, out: &mut Vec<Output>) {
        self.outcomes.read += 1;
        let declared = input.standing.ended.then(|| input.engine.watermark());
        let counted = self.count(input, record);
        if self.is_misplaced {
            input.standing.misplaced += 1;
            self.outcomes.misplaced += 1;
        }
        self.outcomes.after_end += u64::from(self.is_after_end);
        if let Some(before) = declared {
            // The log has gone on to where it was said to end.
            input.standing.ended = input.engine.watermark() <= before;
        }
        match counted {
            Ok(missed) => {
                input.standing.counted += 1;
                self.outcomes.counted += 1;
                if let Some(missed) = missed {
                    input.standing.partly_late += 1;
                    input.standing.not_whole.add(missed, self.options.settings.slide);
                    self.outcomes.partly_late += 1;
                    self.outcomes.not_whole.add(missed, self.options.settings.slide);
                }
            }
            Err(invalid) => {
                if invalid.reason == Reason::Late {
                    input.standing.late += 1;
                    self.outcomes.late += 1;
                } else {
                    input.standing.dead += 1;
                    self.outcomes.invalid += 1;
                    *self.outcomes.invalid_for.entry(invalid.reason).or_default() += 1;
                }
                let Options { events, dead_letters, keep_payload, .. } = &self.options;
                out.push(dead_letter(record, &invalid, (events, dead_letters), *keep_payload));
            }
        }
        input.standing.read += 1;
    }

    /// Counts an event. Some are partly late: then the first and the last end of the windows that they missed.
    fn count(&mut self, input: &mut Input, record: &Record<'_>) -> Result<Option<(i64, i64)>, Invalid> {
        (self.is_misplaced, self.is_after_end) = (false, false);
        let event = self.decoder.decode(record.value.unwrap_or_default())?;
        validate(&event, record.timestamp, self.options.max_future)?;
        let timestamp = event.timestamp;
        // The producer placed it by what it had: the raw id.
        self.is_misplaced = partition_of(event.user_id.as_bytes(), self.options.inputs) != record.partition;
        let undeclared = input.standing.ended.then(|| self.sealed_without_end(input));
        let event = self.privacy.apply(event, &mut self.scratch);
        if !input.replays() && input.engine.closes_windows(timestamp) {
            input.before = Some((record.offset, Box::new(input.stands())));
        }
        let verdict = input.engine.read(&event);
        if let Some(undeclared) = undeclared {
            let last_missed = match verdict {
                Verdict::Counted => None,
                Verdict::PartlyLate => input.engine.sealed(),
                Verdict::Late => Some(self.options.settings.last_window_end(timestamp)),
            };
            self.is_after_end = last_missed > undeclared;
        }
        match verdict {
            Verdict::Counted => Ok(None),
            Verdict::PartlyLate => Ok(input
                .engine
                .sealed()
                .map(|sealed| (self.options.settings.first_window_end(timestamp), sealed))),
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

    /// The end up to which windows would be sealed had the log not been declared to end.
    fn sealed_without_end(&self, input: &Input) -> Option<i64> {
        let Settings { slide, out_of_orderness, .. } = self.options.settings;
        let by_events = input.engine.newest().map(|newest| newest - out_of_orderness);
        let watermark = input.standing.before_end.max(by_events)?;
        Some(watermark.div_euclid(slide) * slide)
    }

    /// Advances the watermark of an idle partition, and logs that.
    fn advance_watermark(
        &mut self,
        input: &mut Input,
        watermark: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        input.journal.advance_watermark(input.next, watermark, out)?;
        input.engine.raise(watermark);
        Ok(())
    }

    fn made_with(&self) -> DecisiveSettings {
        DecisiveSettings::new(
            &self.options.settings,
            self.options.max_future,
            &self.privacy,
            self.options.inputs,
        )
    }

    /// With `until_end`: the end of the last window, once every partition was read to the end that its log has now. Before that it
    /// says now and then what it waits for.
    fn end_of_log<M: Member>(
        &mut self,
        everyone: &Everyone,
        member: &mut M,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        let ends = match everyone.are_idle().then(|| member.ends()).transpose() {
            Ok(ends) => ends,
            Err(Error::Retry(_)) => return Ok(None),
            Err(other) => return Err(other),
        };
        let unread = ends.map(|ends| everyone.unread(&ends));
        match unread {
            Some(unread) if unread.is_empty() => {
                let last = everyone.last_end();
                if everyone.have_sealed_all() {
                    self.finished = Some(last);
                }
                return Ok(last);
            }
            // They are read by somebody, and then committed: no use in asking as often as where all is done.
            Some(unread) => {
                self.next_look = now + LOOK;
                if self.waiting_remark.is_due(self.waiting_remark.said + 1, now, REMARK_ON_END_EVERY) {
                    tracing::info!(?unread, "waiting for partitions to be read: (partition, read to, end)");
                }
            }
            None => {
                let held = &self.outcomes.held_back;
                if !held.is_empty()
                    && self.waiting_remark.is_due(self.waiting_remark.said + 1, now, REMARK_ON_END_EVERY)
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

    /// What a person should know who reads the log, now and then.
    fn remark(&mut self, now: i64) {
        let Outcomes { read, misplaced, after_end, .. } = self.outcomes;
        if self.misplaced_remark.is_due(misplaced, now, REMARK_EVERY) {
            tracing::warn!(
                misplaced,
                read,
                "events of visitors who belong into another partition: such a visitor is counted once in each partition that he appears in. \
                 Producers must give records the event's user_id as key and place them by murmur2, as Java's do. Likely causes: records \
                 without a key, another key than user_id, librdkafka's default partitioner (set partitioner=murmur2_random), a number of \
                 partitions that was changed"
            );
        }
        if self.ended_remark.is_due(after_end, now, REMARK_EVERY) {
            tracing::warn!(
                missed = after_end,
                "the log was declared to end (--until-end) and goes on: events are late or partly late because their windows were sealed ahead \
                 of the clock"
            );
        }
    }

    /// Publishes what the open windows show, where that changed: by events, or because time has passed and some have left. So a site that
    /// falls silent shows nobody once its window is over, and after that nothing needs to be published.
    fn publish_live<M: Member>(&mut self, inputs: &mut BTreeMap<i32, Input>, member: &mut M, now: i64) {
        let Some(topic) = self.options.live.as_ref().filter(|_| self.live.is_due(now)) else { return };
        let begun = Instant::now();
        // Right after a restart it is not known yet how much is still to be read.
        let known = |input: &Input| input.next > input.replay_to || input.at_end && !input.replays();
        for input in inputs.values_mut().filter(|input| known(input)) {
            let at = input.event_time(now);
            let Some(end) = input.engine.open_window_end(at) else { continue };
            if input.shown.is_some_and(|shown| shown.next == input.next && (shown.empty || shown.end == end))
            {
                continue;
            }
            let Some(live) = input.engine.live_snapshot(at) else { continue };
            input.shown = Some(Shown { next: input.next, end, empty: live.pages.is_empty() });
            let value = live.encode().ok();
            member.publish(Output {
                topic: topic.clone(),
                partition: 0,
                key: Some(input.number.to_string().into_bytes()),
                value,
                headers: Vec::new(),
            });
        }
        self.live.turned(now, begun.elapsed());
    }

    fn snapshot_due(&self, input: &Input, now: i64) -> bool {
        let changed = input.next > input.standing.from || input.journal.has_advances();
        let every = self.options.snapshot_every;
        let advanced = match (input.saved_sealed, input.engine.sealed()) {
            (Some(before), Some(sealed)) => sealed - before >= every,
            (before, sealed) => before != sealed,
        };
        let much = input.next - input.standing.from >= MOST_REPLAYED;
        changed
            && !input.replays()
            && !input.engine.is_behind()
            && (advanced || much || now - input.saved_at >= every)
    }

    /// Writes the state of a partition, chunk by chunk.
    fn save(
        &mut self,
        input: &mut Input,
        taken: i64,
        send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let state = |sink: &mut dyn FnMut(&[u8])| input.engine.write_snapshot(sink);
        let bytes = input.journal.write_snapshot(input.next, taken, state, send)?;
        self.outcomes.snapshots += 1;
        tracing::debug!(partition = input.number, offset = input.next, bytes, "state saved");
        Ok(())
    }
}

/// What open transactions hold back: partitions, and the offset that each was read to.
fn held_back(inputs: &BTreeMap<i32, Input>) -> Vec<(i32, i64)> {
    inputs.values().filter(|input| input.is_held_back).map(|input| (input.number, input.next)).collect()
}

impl Input {
    /// Repeats the logged decisions that were taken before the record at `offset` was read.
    fn repeat_advances(&mut self, offset: i64) {
        while let Some(advance) = self.advances.front().filter(|advance| advance.offset <= offset) {
            self.engine.raise(advance.watermark);
            self.advances.pop_front();
            self.pass_over_written();
        }
    }

    /// Seals, without writing, what was written before.
    fn pass_over_written(&mut self) {
        if let Some((sealed, rows)) = self.written
            && self.engine.pass_over(sealed, rows)
        {
            self.written = None;
        }
    }

    /// Where it stands. What is written is ahead of the engine after a restart.
    fn stands(&self) -> PartitionProgress {
        let (sealed, rows) = self.sealed();
        let before_end = self.standing.before_end.filter(|_| self.standing.ended);
        PartitionProgress {
            journal: self.journal.number(),
            watermark: self.engine.watermark(),
            sealed,
            rows,
            last_end: self.engine.last_window_end(),
            before_end,
            ..self.standing.clone()
        }
    }

    /// The end up to which blocks are written, and how many rows of the next one.
    fn sealed(&self) -> (Option<i64>, u64) {
        let by_engine = (self.engine.sealed(), self.engine.rows_written());
        self.written.map_or(by_engine, |written| written.max(by_engine))
    }

    /// How late it is in event time, for what is only shown: the newest event's, and the time since it was read once nothing more is
    /// there.
    fn event_time(&self, now: i64) -> i64 {
        let silence = if self.at_end { (now - self.newest_at).max(0) } else { 0 };
        self.engine.newest().unwrap_or(i64::MIN).saturating_add(silence)
    }

    fn replays(&self) -> bool {
        self.next < self.replay_to
    }

    /// Everything before `offset` was read.
    fn reach(&mut self, offset: i64) {
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
        let Options { settings, events, state, .. } = &self.options;
        let made_with = self.made_with();
        let topics = [
            Expected { role: "events", topic: events, partitions: self.options.inputs },
            Expected { role: "state", topic: state, partitions: self.options.inputs },
            Expected { role: "blocks", topic: &self.options.blocks, partitions: settings.lanes },
        ];
        // Before anything else is made of the offsets and the journal: in another topic they mean nothing.
        let topics = identity::verify(member, &topics, &identity::committed(committed))?;
        let beginning = member.beginning(partition)?;
        let (journal, snapshot, advances) = Journal::read(member, state, partition, heartbeat)?;
        let mut standing = match committed {
            None if journal.number() > 0 => {
                // The state was read after the commits: whoever has taken the partition over meanwhile may have made the first of both.
                if member.committed()?.get(partition as usize).is_some_and(Option::is_some) {
                    return Err(Error::Retry(format!(
                        "{events}/{partition} was committed for the first time just now"
                    )));
                }
                return Err(Error::Fatal(format!(
                    "{state}/{partition} holds state, but the consumer group has no commit for {events}/{partition}: its offsets were \
                     deleted, with the topic or by hand, or have expired, and what it counted since is not known any more: {AFRESH}"
                )));
            }
            None => PartitionProgress {
                settings: made_with.as_str().to_owned(),
                from: beginning,
                ..PartitionProgress::default()
            },
            Some(committed) if committed.metadata.is_empty() => {
                return Err(identity::reset_by_hand(events, partition));
            }
            Some(committed) => {
                serde_json::from_str::<PartitionProgress>(&committed.metadata).map_err(|error| {
                    Error::Fatal(format!(
                        "the group's commit for {events}/{partition} is not of this version: {error}"
                    ))
                })?
            }
        };
        if let Some(refusal) = made_with.refusal(&standing.settings) {
            return Err(Error::Fatal(format!("the state of {events}/{partition} {refusal}")));
        }
        made_with.as_str().clone_into(&mut standing.settings);
        if standing.ended {
            tracing::warn!(
                partition,
                sealed = standing.sealed,
                "the log was declared to end (--until-end), its windows are sealed up to there ahead of the clock: events of before miss them"
            );
        }
        if journal.number() != standing.journal {
            // A transaction's offsets and records become visible one after the other.
            return Err(Error::Retry(format!(
                "{state}/{partition} shows {} entries, the commit speaks of {}",
                journal.number(),
                standing.journal
            )));
        }
        let start = standing.from;
        let replay_to = committed.map_or(start, |committed| committed.offset);
        if beginning > start && replay_to > start {
            return Err(Error::Fatal(format!(
                "{events}/{partition} begins at offset {beginning}, but what was counted since the last snapshot begins at {start}: \
                 retention deleted it. Give the topic a longer retention, and {AFRESH}"
            )));
        }
        let (engine, saved_at) = match snapshot {
            None => (Partition::new(partition, *settings), 0),
            Some(snapshot) => {
                let engine = Partition::restore(partition, *settings, &snapshot.bytes)
                    .map_err(|error| Error::Fatal(format!("{state}/{partition}: {error}")))?;
                (engine, snapshot.taken)
            }
        };
        if replay_to > start || standing.snapshot {
            let read_again = (replay_to - start).max(0);
            tracing::info!(
                partition,
                from = start,
                snapshot = standing.snapshot,
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
            shown: None,
            // No event came between the last snapshot and now but those that are read again.
            newest_at: if saved_at > 0 { saved_at.min(now) } else { now },
            at_end: false,
            is_held_back: false,
            silent_since: now,
            written: Some((standing.sealed, standing.rows)),
            standing: PartitionProgress { topics, ..standing },
            before: None,
            saving: None,
        };
        if !input.replays() {
            input.repeat_advances(input.next);
        }
        Ok((input, start))
    }

    fn record(
        &mut self,
        input: &mut Input,
        record: &Record<'_>,
        now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        if input.at_end && self.options.stamped_by_broker {
            self.clock.read_live(record.timestamp, now);
        }
        (input.at_end, input.is_held_back) = (false, false);
        input.silent_since = now;
        input.standing.idle = false;
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
        input.standing.stamp = input.standing.stamp.max(Some(record.timestamp));
        self.apply(input, record, out);
        input.newest_at = now;
        input.next = record.offset + 1;
        Ok(())
    }

    fn is_unfinished(&self, input: &Input) -> bool {
        input.engine.is_behind()
    }

    fn resume(&mut self, input: &mut Input, out: &mut Vec<Output>) -> Result<(), Error> {
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
        Ok(())
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
            (input.standing.from, input.standing.snapshot) = (input.next, true);
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
        self.remark(now);
        self.outcomes.held_back = held_back(inputs);
        self.committed.held_back.clone_from(&self.outcomes.held_back);
        let clock = self.clock.at(now) - self.options.settings.out_of_orderness;
        for input in inputs.values_mut().filter(|input| input.standing.ended) {
            // What is written, not the engine: that is behind while it replays.
            input.standing.ended = input.sealed().0.is_some_and(|sealed| sealed > clock);
        }
        let timeout = if self.options.until_end { 0 } else { self.options.idle_timeout };
        for input in inputs.values_mut() {
            input.standing.idle = input.at_end && now - input.silent_since >= timeout;
        }
        let mut idle = inputs.values().map(|input| input.standing.idle);
        let (look, every) = match self.options.until_end {
            // Even without partitions: somebody's last one may be read elsewhere.
            true => (idle.all(|idle| idle), LOOK_AT_END),
            false => (idle.any(|idle| idle), LOOK),
        };
        // One that was held back is waited for, and that is said.
        let waits = self.options.until_end && inputs.values().any(|input| input.is_held_back);
        if !look && !waits || now < self.next_look {
            return Ok(());
        }
        self.next_look = now + if waits { LOOK } else { every };
        let everyone = match member.committed() {
            Ok(committed) => Everyone::new(&committed),
            // Somebody commits right now: look again later.
            Err(Error::Retry(_)) => return Ok(()),
            Err(other) => return Err(other),
        };
        // The stamps that others have read also tell of the broker's clock.
        if let Some(stamp) = everyone.newest_stamp().filter(|_| self.options.stamped_by_broker) {
            self.clock.stamped(stamp, now);
        }
        let clock = self.clock.at(now) - self.options.settings.out_of_orderness;
        let target = match self.options.until_end {
            true => self.end_of_log(&everyone, member, now)?,
            false => everyone.target(clock),
        };
        let Some(target) = target else { return Ok(()) };
        for input in inputs.values_mut().filter(|input| input.standing.idle) {
            // Raising it within a slide would change nothing but the log.
            let sealed = target.div_euclid(self.options.settings.slide) * self.options.settings.slide;
            if input.engine.sealed().is_none_or(|now| now < sealed) {
                if target > clock && !input.standing.ended {
                    input.standing.before_end = input.engine.watermark();
                }
                input.standing.ended = target > clock;
                self.advance_watermark(input, target, out)?;
            }
        }
        Ok(())
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
        let (offset, standing) = match &input.before {
            None => (input.next, input.stands()),
            Some((offset, before)) => {
                let (sealed, rows) = input.sealed();
                (*offset, PartitionProgress { sealed, rows, ..PartitionProgress::clone(before) })
            }
        };
        let metadata = serde_json::to_string(&standing).unwrap_or_default();
        Committed { offset, metadata }
    }
}
