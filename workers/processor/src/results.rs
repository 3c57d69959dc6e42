//! Stage 2: reads blocks, writes results; per lane.

mod covering;

use std::collections::BTreeMap;

use weir_analytics::{Block, Merge, Piece, Settings};
use weir_events::{decode_top_pages, encode_page_analytics, encode_top_pages, partition_of};

use weir_log::{
    Committed, Error, Member, Output, PartitionProgress, Record, ResultsProgress, ToldAfter,
    identity::TopicIds,
};

use crate::{
    ending,
    identity::{self, Expected},
    stage::{RecordError, Stage},
};

/// The output topics' roles in a commit.
const RESULTS: &str = "results";
const TOP_PAGES: &str = "topPages";

/// Topics and settings of stage 2.
pub struct ResultsOptions {
    /// Engine settings.
    pub settings: Settings,
    /// Number of input partitions: a window is complete with a block of each.
    pub inputs: i32,
    /// Stage 1's consumer group.
    pub windows: String,
    /// Stage 1's input topic.
    pub events: String,
    /// Topic of blocks, one partition per lane.
    pub blocks: String,
    /// Topic of results.
    pub results: String,
    /// Number of partitions of the results topic.
    pub result_partitions: i32,
    /// Topic of rankings, one partition.
    pub top_pages: String,
    /// After the first generation: the end up to which windows were told by those before.
    pub cut: Option<i64>,
    /// The generation that ends this one: a lane whose complete windows are all emitted is marked as ended.
    pub ended_by: Option<u32>,
}

/// Time between two reads of stage 1's progress while it is awaited, milliseconds.
const PROGRESS_POLL_MS: i64 = 500;

/// Stage 2.
pub struct Results {
    options: ResultsOptions,
    windows: u64,
    /// `windows` at the last commit.
    committed: u64,
    /// In a generation that is not the first, as it was read last.
    told_after: ToldAfter,
    next_progress_poll: i64,
}

/// The state of one lane.
pub struct Lane {
    merge: Merge,
    next: i64,
    topics: TopicIds,
    lost_up_to: Option<i64>,
    /// Whether it was read to its end.
    at_end: bool,
    /// The generation that has ended this one, once nothing is left to emit.
    ended_by: Option<u32>,
    /// Of a generation that has ended: whether all windows are covered that its partitions have sealed.
    is_covered: bool,
    /// It is not known yet which windows are told: nothing is read until then.
    waits: bool,
}

impl Results {
    /// Stage 2 over the given topics.
    pub fn new(options: ResultsOptions) -> Self {
        Self {
            options,
            windows: 0,
            committed: 0,
            told_after: ToldAfter::Unknown,
            next_progress_poll: i64::MIN,
        }
    }

    /// Number of windows that this process emitted and committed.
    pub fn committed_windows(&self) -> u64 {
        self.committed
    }

    /// In a generation that is not the first: the end up to which no window is told by it in any case, as far as that is known.
    pub fn nothing_told_up_to(&self) -> Option<i64> {
        self.told_after.least()
    }

    /// The end of a lane's first window after the last emitted one.
    fn next_end(&self, lane: i32, emitted: Option<i64>) -> Option<i64> {
        let settings = &self.options.settings;
        let lap = i64::from(settings.lanes) * settings.slide;
        emitted.map(|emitted| settings.last_end_in_lane(lane, emitted) + lap)
    }

    /// The partitions of which stage 1 has written blocks that a lane needs after the last emitted window: it commits its sealed end in
    /// the transaction that writes them. Later blocks stand for those without events.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn needed_of<M: Member>(
        &self,
        member: &mut M,
        lane: i32,
        emitted: Option<i64>,
    ) -> Result<Vec<i32>, Error> {
        let ResultsOptions { settings, windows, events, .. } = &self.options;
        let next = self.next_end(lane, emitted);
        let is_needed = |committed: &Committed| {
            let Ok(progress) = serde_json::from_str::<PartitionProgress>(&committed.metadata) else {
                return true;
            };
            let last = progress.sealed.map(|sealed| settings.last_end_in_lane(lane, sealed));
            // A window has the views of the one before it, too.
            let has_events = progress.last_end.map(|end| end + settings.slide) >= next;
            // With rows the block of the next window is partly written.
            (progress.rows > 0 || emitted < last) && progress.last_end.is_some() && has_events
        };
        let committed = member.committed_by(windows, events)?;
        let partitions = (0..).zip(committed.iter().map(Option::as_ref));
        let needed = partitions.filter(|(_, committed)| committed.is_some_and(is_needed));
        Ok(needed.map(|(partition, _)| partition).collect())
    }

    /// Whether a lane without a commit misses blocks that retention deleted: of a partition whose blocks are needed, the first one that is
    /// left is of a later window than the first that is to be emitted.
    ///
    /// # Errors
    /// As [`Error`] says.
    fn misses_blocks<M: Member>(
        &self,
        member: &mut M,
        lane: i32,
        emitted: Option<i64>,
    ) -> Result<bool, Error> {
        if member.beginning(lane)? == 0 {
            return Ok(false);
        }
        let needed = self.needed_of(member, lane, emitted)?;
        if needed.is_empty() {
            return Ok(false);
        }
        let mut first = BTreeMap::new();
        member.read(&self.options.blocks, lane, 0, &mut |record| {
            // What cannot be read is reported when it is merged.
            if let Ok(block) = Block::decode(record.value.unwrap_or_default()) {
                first.entry(block.partition).or_insert(block.end);
            }
        })?;
        let next = self.next_end(lane, emitted);
        Ok(needed.iter().any(|partition| first.get(partition).is_none_or(|first| Some(*first) > next)))
    }

    /// The error for blocks that retention deleted before they were read.
    fn deleted(&self, lane: i32, beginning: i64, needed: Option<i64>) -> Error {
        let blocks = &self.options.blocks;
        let from =
            needed.map_or("earlier ones".to_owned(), |needed| format!("those from offset {needed} on"));
        let deleted = Error::fatal(format!(
            "{blocks}/{lane} begins at offset {beginning}, and {from} are needed: retention deleted them before they were read. To go on, \
             give the pipeline a new name and new names for its results (topics.results, topics.topPages), so that nothing is counted \
             twice, and a longer topics.events.retention, for which blocks are kept too: what the events topic still has is counted \
             there from the start"
        ));
        deleted.at(blocks, lane, needed)
    }

    /// In a generation that is not the first: reads the end up to which it tells no window, unless that is known.
    fn read_told_after<M: Member>(&mut self, member: &mut M) -> Result<(), Error> {
        let ResultsOptions { windows, events, .. } = &self.options;
        if matches!(self.told_after, ToldAfter::Known(_)) {
            return Ok(());
        }
        match member.committed_by(windows, events) {
            Ok(committed) => self.told_after = ToldAfter::of(&committed),
            // A commit is in progress.
            Err(Error::Retry(_)) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// The end up to which a lane without a commit has nothing to emit; the outer `None` while that is not known.
    fn emitted_before<M: Member>(&self, member: &mut M, lane: i32) -> Result<Option<Option<i64>>, Error> {
        let told_after = match self.options.cut.map(|_| self.told_after) {
            None => None,
            Some(ToldAfter::Known(end)) => Some(end),
            Some(ToldAfter::Unknown | ToldAfter::AtLeast(_)) => return Ok(None),
        };
        self.last_emitted(member, lane, told_after).map(|last| Some(last.max(told_after)))
    }

    /// The last window of a lane with a ranking, which is written last: the results of the lane are complete up to it.
    fn last_emitted<M: Member>(
        &self,
        member: &mut M,
        lane: i32,
        told_after: Option<i64>,
    ) -> Result<Option<i64>, Error> {
        let mut last = None;
        member.read(&self.options.top_pages, 0, 0, &mut |record| {
            let end = record.value.and_then(|value| decode_top_pages(value).ok()).map(|top| top.window_end);
            last = last.max(end.filter(|&end| self.options.settings.lane(end) == lane));
        })?;
        if let Some(last) = last.filter(|&last| Some(last) > told_after) {
            tracing::warn!(
                lane,
                last,
                "no commit, but rankings: the group's offsets were deleted or have expired. Continuing after the last emitted window"
            );
        }
        Ok(last)
    }

    fn output(&self, piece: &Piece) -> Output {
        let (topic, partition, key, value) = match piece {
            Piece::Page(page) => {
                let key = page.page_url.as_bytes();
                let partition = partition_of(key, self.options.result_partitions);
                (&self.options.results, partition, Some(key.to_vec()), encode_page_analytics(page))
            }
            Piece::Top(top) => (&self.options.top_pages, 0, None, encode_top_pages(top)),
        };
        Output { topic: topic.clone(), partition, key, value: Some(value), headers: Vec::new() }
    }
}

impl Stage for Results {
    type State = Lane;

    fn restore<M: Member>(
        &mut self,
        member: &mut M,
        partition: i32,
        committed: Option<&Committed>,
        _now: i64,
        _heartbeat: &dyn Fn(),
    ) -> Result<(Lane, i64), Error> {
        let beginning = member.beginning(partition)?;
        if self.options.cut.is_some() && committed.is_none() {
            self.read_told_after(member)?;
        }
        let ResultsOptions { settings, blocks, .. } = &self.options;
        let topics = [Expected { role: "blocks", topic: blocks, partitions: settings.lanes }];
        let committed_ids = identity::committed(committed);
        let mut topics = identity::verify(member, &topics, &committed_ids)?;
        let outputs = [(RESULTS, &*self.options.results), (TOP_PAGES, &*self.options.top_pages)];
        let (outputs, anew) = identity::outputs(member, &outputs, &committed_ids)?;
        topics.extend(outputs);
        let mut waits = false;
        let known = identity::progress::<ResultsProgress>(blocks, partition, committed)?;
        if let Some(by) = known.as_ref().and_then(|progress| progress.ended_by)
            && self.options.ended_by != Some(by)
        {
            return Err(ending::ended(blocks, partition, by));
        }
        let start = committed.map_or(beginning, |committed| committed.offset);
        let ResultsProgress { emitted, mut begun, mut lost_up_to, ended_by, .. } = match known {
            Some(progress) => progress,
            // A group whose offsets were deleted or have expired may have emitted windows: none is emitted twice.
            None => {
                let emitted = self.emitted_before(member, partition)?;
                waits = emitted.is_none();
                ResultsProgress { emitted: emitted.flatten(), ..ResultsProgress::default() }
            }
        };
        let is_missing = match committed {
            Some(_) => start < beginning && !self.needed_of(member, partition, emitted)?.is_empty(),
            None => !waits && self.misses_blocks(member, partition, emitted)?,
        };
        if is_missing {
            return Err(self.deleted(partition, beginning, committed.map(|_| start)));
        }
        if !anew.is_empty() {
            lost_up_to = lost_up_to.max(emitted);
        }
        if anew.iter().any(|role| role == RESULTS) {
            // The pages emitted of the partly emitted window are lost too.
            begun = None;
        }
        if waits {
            tracing::info!(
                lane = partition,
                "waiting until stage 1 knows in all partitions from where on this generation tells windows"
            );
        }
        let start = start.max(beginning);
        let merge = Merge::new(*settings, self.options.inputs, emitted).within(begun);
        let lane = Lane {
            merge,
            next: start,
            topics,
            lost_up_to,
            at_end: false,
            ended_by,
            waits,
            is_covered: false,
        };
        Ok((lane, start))
    }

    fn record(
        &mut self,
        lane: &mut Lane,
        record: &Record<'_>,
        _now: i64,
        _out: &mut Vec<Output>,
    ) -> Result<(), RecordError> {
        lane.merge.read(record.value.unwrap_or_default(), record.offset).map_err(|error| RecordError {
            topic: self.options.blocks.clone(),
            partition: record.partition,
            offset: record.offset,
            source: error.into(),
        })?;
        lane.next = record.offset + 1;
        (lane.at_end, lane.is_covered) = (false, false);
        Ok(())
    }

    fn is_unfinished(&self, lane: &Lane) -> bool {
        lane.merge.is_behind()
    }

    fn resume(&mut self, lane: &mut Lane, out: &mut Vec<Output>) {
        if let Some(piece) = lane.merge.next_piece() {
            // The ranking is a window's last piece.
            self.windows += u64::from(matches!(piece, Piece::Top(_)));
            out.push(self.output(&piece));
        }
    }

    fn waits(&self, lanes: &BTreeMap<i32, Lane>) -> bool {
        lanes.values().any(|lane| lane.waits)
    }

    fn tick<M: Member>(
        &mut self,
        lanes: &mut BTreeMap<i32, Lane>,
        member: &mut M,
        now: i64,
        _out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        // Together, so that each lane that covers others is read once.
        if self.options.ended_by.is_some()
            && lanes.values().all(|lane| lane.at_end)
            && lanes.values().any(|lane| !lane.is_covered)
        {
            covering::cover(&self.options, member, lanes)?;
            lanes.values_mut().for_each(|lane| lane.is_covered = true);
        }
        let is_known = matches!(self.told_after, ToldAfter::Known(_)) && !self.waits(lanes);
        if self.options.cut.is_none() || is_known || now < self.next_progress_poll {
            return Ok(());
        }
        self.next_progress_poll = now + PROGRESS_POLL_MS;
        self.read_told_after(member)?;
        for (&number, lane) in lanes.iter_mut().filter(|(_, lane)| lane.waits) {
            // Reading begins after what retention has deleted meanwhile.
            if member.beginning(number)? > lane.next {
                let blocks = &self.options.blocks;
                let deleted = "blocks were deleted while it was not known yet from where on windows are told";
                return Err(Error::abort(deleted).at(blocks, number, Some(lane.next)));
            }
            let Some(emitted) = self.emitted_before(member, number)? else { return Ok(()) };
            if self.misses_blocks(member, number, emitted)? {
                return Err(self.deleted(number, lane.next, None));
            }
            lane.merge = Merge::new(self.options.settings, self.options.inputs, emitted);
            lane.waits = false;
        }
        Ok(())
    }

    fn wants_commit(&self, _lanes: &BTreeMap<i32, Lane>, _now: i64) -> bool {
        self.options.ended_by.is_some()
    }

    fn end(&mut self, lane: &mut Lane, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        lane.next = lane.next.max(offset);
        lane.at_end = true;
    }

    fn held_back(&mut self, lane: &mut Lane, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        lane.next = lane.next.max(offset);
    }

    fn committed(&mut self) {
        self.committed = self.windows;
    }

    fn forgotten(&mut self) {
        self.windows = self.committed;
    }

    fn position(&self, lane: &Lane) -> Option<Committed> {
        if lane.waits {
            return None;
        }
        let emitted = ResultsProgress {
            emitted: lane.merge.emitted(),
            begun: lane.merge.begun(),
            topics: lane.topics.clone(),
            lost_up_to: lane.lost_up_to,
            ended_by: lane
                .ended_by
                .or(self.options.ended_by.filter(|_| lane.is_covered && !lane.merge.is_behind())),
        };
        Some(Committed {
            offset: lane.merge.needed().unwrap_or(lane.next),
            metadata: serde_json::to_string(&emitted).unwrap_or_default(),
        })
    }
}
