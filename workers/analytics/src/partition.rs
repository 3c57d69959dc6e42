//! Stage 1: one input partition as a deterministic state machine. What it has read decides all it says.

use std::{borrow::Cow, collections::BTreeMap};

use weir_events::ClickstreamEvent;

use crate::{
    block::{Block, Header, Part, Row, Sums, Writer},
    event::{InternedEvent, Names, SITE},
    intern::Interner,
    live::{self, Live},
    pages::{Baselines, Window},
    settings::Settings,
    snapshot::{Snapshot, SnapshotError},
};

/// The longest visit age that a client is believed, seconds.
const LONGEST_VISIT: u32 = 86_400;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts, in all of its windows.
    Counted,
    /// It counts in those of its windows that were still open; some were sealed, and those are not whole: the ones that end
    /// at [`Settings::first_window_end`] to [`Partition::sealed`].
    PartlyLate,
    /// All its windows are sealed: it changed nothing.
    Late,
}

/// One input partition.
///
/// Events wait in their slice until the slice is closed, and then go into the running sums in one go: so the sums are
/// always those of a window's end, however much later events were read.
pub struct Partition {
    settings: Settings,
    number: i32,
    names: Names,
    window: Window,
    baselines: Baselines,
    /// The pages of the last block, in its order, each held; and its views there, of those with a row.
    last_emitted_pages: Vec<(u32, Option<u64>)>,
    /// Events of slices that are not closed yet.
    pending: BTreeMap<i64, Vec<InternedEvent>>,
    watermark: Option<i64>,
    greatest: Option<i64>,
    sealed: Option<i64>,
    /// The end up to which the watermark has come: windows up to it are to be sealed, one after the other, when somebody takes them.
    due: i64,
    /// The window that is being sealed.
    sealing: Option<Sealing>,
    first_aligned: Option<i64>,
    /// The aligned window of the event that made windows due: it counts from when they are sealed.
    next_aligned: Option<i64>,
    /// What an event or a watermark found still to be sealed.
    blocks: Vec<Block>,
}

/// A window of which some rows are written.
#[derive(Clone, Copy)]
struct Sealing {
    end: i64,
    /// Rows of its block that are done: places in [`Partition::last_emitted_pages`].
    rows: usize,
    /// One of a run in which nothing differs.
    skipped: bool,
}

impl Partition {
    /// An input partition of which nothing was read yet.
    pub fn new(number: i32, settings: Settings) -> Self {
        let mut names =
            Names { pages: Interner::default(), users: Interner::default(), sessions: Interner::default() };
        // Held for good, so that it stays SITE. No event has an empty page_url.
        names.pages.acquire("");
        Self {
            settings,
            number,
            names,
            window: Window::default(),
            baselines: Baselines::default(),
            last_emitted_pages: Vec::new(),
            pending: BTreeMap::new(),
            watermark: None,
            greatest: None,
            sealed: None,
            due: i64::MIN,
            sealing: None,
            first_aligned: None,
            next_aligned: None,
            blocks: Vec::new(),
        }
    }

    /// Everything it knows, as bytes: about 8 bytes a live pair, and each live string once. Blocks must have been taken.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        self.write_snapshot(&mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// As [`snapshot`](Self::snapshot), part by part, so that the whole need not be in memory twice. Parts are of 64 KiB, and at
    /// most what is known of sixteen visitors more.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    pub fn write_snapshot(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
        debug_assert!(self.blocks.is_empty() && !self.is_behind(), "blocks are no part of a snapshot");
        Snapshot {
            names: [&self.names.pages, &self.names.users, &self.names.sessions].map(Interner::all),
            window: self.window.save(),
            baselines: Cow::Borrowed(&self.baselines),
            last_emitted_pages: (&self.last_emitted_pages).into(),
            pending: Cow::Borrowed(&self.pending),
            watermark: self.watermark,
            greatest: self.greatest,
            sealed: self.sealed,
            first_aligned: self.first_aligned,
        }
        .encode(sink)
    }

    /// An input partition that goes on exactly where the one that gave the snapshot was. The settings must be the same.
    ///
    /// # Errors
    /// Bytes of another version, or no snapshot.
    pub fn restore(number: i32, settings: Settings, snapshot: &[u8]) -> Result<Self, SnapshotError> {
        let saved = Snapshot::decode(snapshot)?;
        let [pages, users, sessions] = saved.names.map(Interner::restore);
        Ok(Self {
            settings,
            number,
            names: Names { pages, users, sessions },
            window: Window::restore(saved.window, &settings),
            baselines: saved.baselines.into_owned(),
            last_emitted_pages: saved.last_emitted_pages.into_owned(),
            pending: saved.pending.into_owned(),
            watermark: saved.watermark,
            greatest: saved.greatest,
            sealed: saved.sealed,
            due: saved.watermark.map_or(i64::MIN, |watermark| settings.sealed_by(watermark)),
            sealing: None,
            first_aligned: saved.first_aligned,
            next_aligned: None,
            blocks: Vec::new(),
        })
    }

    /// Takes the next valid event of the partition's log. Windows that it closes are due from then on.
    pub fn read(&mut self, event: &ClickstreamEvent<'_>) -> Verdict {
        let timestamp = event.timestamp;
        if self.is_behind() {
            self.seal_due();
        }
        if self.watermark.is_some_and(|watermark| self.settings.last_window_end(timestamp) <= watermark) {
            return Verdict::Late;
        }
        self.greatest = self.greatest.max(Some(timestamp));
        let aligned = timestamp.div_euclid(self.settings.size);
        self.advance(timestamp - self.settings.out_of_orderness);
        if self.is_behind() {
            self.next_aligned = Some(aligned);
        } else {
            self.first_aligned = Some(self.first_aligned.map_or(aligned, |first| first.min(aligned)));
        }
        let interned = InternedEvent {
            page: self.names.pages.acquire(event.page_url),
            user: self.names.users.acquire(event.user_id),
            session: self.names.sessions.acquire(event.session_id),
            kind: event.event_type,
            timestamp,
            measured: event
                .session_duration
                .and_then(|seconds| u32::try_from(seconds).ok())
                .filter(|&seconds| seconds <= LONGEST_VISIT)
                .map(|seconds| seconds * 1000),
        };
        let slice = self.settings.slice_of(timestamp);
        if self.sealed.is_some_and(|sealed| timestamp < sealed) {
            // Its slice is closed, and with it the first of its windows.
            self.take_in(slice, &[interned]);
            return Verdict::PartlyLate;
        }
        // Also where it closes windows: it is in none of them, so they are sealed without it.
        self.pending.entry(slice).or_default().push(interned);
        Verdict::Counted
    }

    /// Raises the watermark; windows that it passes are due from then on. It never moves back.
    pub fn raise(&mut self, watermark: i64) {
        if self.is_behind() {
            self.seal_due();
        }
        self.advance(watermark);
    }

    fn advance(&mut self, watermark: i64) {
        if self.watermark.is_none_or(|now| now < watermark) {
            self.watermark = Some(watermark);
            // Most events move the watermark, few of them past a window's end: those are told apart without a division.
            if self.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide) {
                self.due = self.settings.sealed_by(watermark);
            }
        }
    }

    /// Whether the event, if it counts, makes windows due.
    pub fn closes_windows(&self, timestamp: i64) -> bool {
        let watermark = timestamp - self.settings.out_of_orderness;
        self.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide)
    }

    /// Whether windows are due that are not sealed yet.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.sealed.unwrap_or(i64::MIN) < self.due
    }

    /// Seals what is due, as far as one record of at most `max_bytes` takes, which it returns; `None` where nothing is due. So what is
    /// in memory at a time does not grow with how far the watermark has jumped, nor with the number of pages.
    pub fn seal(&mut self, max_bytes: usize) -> Option<Part> {
        let sealing = self.begin()?;
        let mut writer = Writer::new(&self.header(sealing.end), max_bytes);
        let mut rows = sealing.rows;
        while let Some(&(page, previous_views)) = self.last_emitted_pages.get(rows) {
            let sums = self.sums(page, previous_views);
            if !writer.push(self.names.pages.text(page), &sums) {
                break;
            }
            self.last_emitted_pages[rows].1 = (sums.users > 0).then_some(sums.views);
            rows += 1;
        }
        let more = self.reach(sealing, rows);
        Some(Part { end: sealing.end, rows: rows as u64, more, record: writer.finish(more) })
    }

    /// Seals what is due up to the window that ends at `end`, and of the one after it the first `rows` rows, all without writing anything:
    /// that was done before. True where that is all that was done before, and something is left.
    pub fn pass_over(&mut self, end: Option<i64>, rows: u64) -> bool {
        while let Some(sealing) = self.begin() {
            let known = end.is_some_and(|end| sealing.end <= end);
            let to = if known {
                self.last_emitted_pages.len()
            } else {
                self.last_emitted_pages.len().min(rows as usize)
            };
            for row in sealing.rows..to {
                let (page, _) = self.last_emitted_pages[row];
                let sums = self.window.totals(page);
                self.last_emitted_pages[row].1 = (sums.users > 0).then_some(sums.counts.views);
            }
            if !known {
                // Were all of them written, the window would be sealed.
                self.sealing = Some(Sealing { rows: to.max(sealing.rows), ..sealing });
                return true;
            }
            self.reach(sealing, to);
        }
        false
    }

    /// How many rows of the block of the window after [`sealed`](Self::sealed) are written.
    pub fn rows_written(&self) -> u64 {
        self.sealing.map_or(0, |sealing| sealing.rows as u64)
    }

    /// The blocks of the windows that have become due since the last call, in order, each as a whole.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        self.seal_due();
        std::mem::take(&mut self.blocks)
    }

    fn seal_due(&mut self) {
        while let Some(sealing) = self.begin() {
            let mut block = Block::new(&self.header(sealing.end));
            for row in sealing.rows..self.last_emitted_pages.len() {
                let (page, previous_views) = self.last_emitted_pages[row];
                let sums = self.sums(page, previous_views);
                self.last_emitted_pages[row].1 = (sums.users > 0).then_some(sums.views);
                block.pages.push(Row { url: self.names.pages.text(page).to_owned(), sums });
            }
            self.blocks.push(block);
            self.reach(sealing, self.last_emitted_pages.len());
        }
    }

    /// The watermark, once something was read.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The end up to which everything is sealed.
    pub fn sealed(&self) -> Option<i64> {
        self.sealed
    }

    /// The end of the last window that holds an event of this partition.
    pub fn last_window_end(&self) -> Option<i64> {
        self.greatest.map(|timestamp| self.settings.last_window_end(timestamp))
    }

    /// The newest event time read.
    pub fn newest(&self) -> Option<i64> {
        self.greatest
    }

    /// The end of the window that [`live_snapshot`](Self::live_snapshot) shows.
    pub fn open_window_end(&self, at: i64) -> Option<i64> {
        self.greatest.map(|newest| live::end(newest, self.sealed, at, &self.settings))
    }

    /// What the open window shows when event time is `at`, or that of the newest event if that is later; once something was read. Walks
    /// over all that is live.
    pub fn live_snapshot(&self, at: i64) -> Option<Live> {
        let (newest, end) = (self.greatest?, self.open_window_end(at)?);
        Some(live::snapshot(
            self.number,
            (newest, end),
            &self.window,
            &self.pending,
            &self.names,
            &self.settings,
        ))
    }

    /// How many (page, visitor) pairs, (page, visit) pairs and visits are live: what memory follows.
    pub fn live(&self) -> usize {
        self.window.pairs() + self.window.visits.len()
    }

    /// True while sealing a window would say nothing that the window before did not say.
    fn nothing_can_change(&self) -> bool {
        let no_row = self.last_emitted_pages.iter().all(|(_, views)| views.is_none());
        no_row && self.window.is_empty() && !self.baselines.pending()
    }

    /// The window to be sealed now, if one is due: begins with it, unless some of its rows are done.
    fn begin(&mut self) -> Option<Sealing> {
        if self.sealing.is_none() && self.is_behind() {
            let sealing = if self.nothing_can_change() { self.begin_skipped() } else { self.begin_next() };
            self.choose_pages();
            self.sealing = Some(sealing);
        }
        self.sealing
    }

    /// Passes over windows in which nothing can differ, as far as what is due or the next slice with an event. The last of them
    /// in each lane gets a block, so that stage 2 hears of the rest too.
    fn begin_skipped(&mut self) -> Sealing {
        let slide = self.settings.slide;
        let next_event = self.pending.keys().next().map(|slice| slice * slide);
        let to = next_event.map_or(self.due, |start| self.due.min(start));
        if self.sealed == Some(to) {
            return self.begin_next();
        }
        let lanes = i64::from(self.settings.lanes);
        let from = to - (lanes - 1) * slide;
        let end = self.sealed.map_or(from, |sealed| from.max(sealed + slide));
        self.release_forgotten(end);
        Sealing { end, rows: 0, skipped: true }
    }

    /// Lets the slice before the next window go, and takes its newest slice in.
    fn begin_next(&mut self) -> Sealing {
        // Nothing was sealed at all only where nothing can change.
        let end = self.sealed.unwrap_or(self.due - self.settings.slide) + self.settings.slide;
        self.window.leave(self.settings.first_slice(end) - 1, &mut self.names, &self.settings);
        let slice = self.settings.slice_of(end) - 1;
        if let Some(events) = self.pending.remove(&slice) {
            self.take_in(slice, &events);
        }
        self.release_forgotten(end);
        Sealing { end, rows: 0, skipped: false }
    }

    /// So many rows of the window are done; with the last it is sealed. Whether there are more.
    fn reach(&mut self, sealing: Sealing, rows: usize) -> bool {
        if rows < self.last_emitted_pages.len() {
            self.sealing = Some(Sealing { rows, ..sealing });
            return true;
        }
        let end = sealing.end;
        self.sealing = None;
        self.sealed = Some(end);
        if !sealing.skipped && end.rem_euclid(self.settings.size) == 0 {
            self.note_aligned(end);
        }
        self.expire_visits(end);
        if !self.is_behind()
            && let Some(aligned) = self.next_aligned.take()
        {
            self.first_aligned = Some(self.first_aligned.map_or(aligned, |first| first.min(aligned)));
        }
        false
    }

    fn take_in(&mut self, slice: i64, events: &[InternedEvent]) {
        self.window.take_in(slice, events, &mut self.names, &self.settings);
        for event in events {
            self.names.pages.release(event.page);
            self.names.users.release(event.user);
            self.names.sessions.release(event.session);
        }
    }

    fn note_aligned(&mut self, end: i64) {
        let index = end.div_euclid(self.settings.size) - 1;
        let with_rows =
            self.last_emitted_pages.iter().filter(|(_, views)| views.is_some()).map(|&(page, _)| page);
        for page in with_rows.chain([SITE]) {
            let views = self.window.totals(page).counts.views;
            if views > 0 && self.baselines.note(page, index, views) {
                self.names.pages.hold(page);
            }
        }
    }

    fn release_forgotten(&mut self, end: i64) {
        for page in self.baselines.advance(end, &self.settings) {
            self.names.pages.release(page);
        }
    }

    /// An event to come that counts lies in a window that ends after `end`, so after its first slice; a visit that ended more
    /// than a gap before that can get no more events.
    fn expire_visits(&mut self, end: i64) {
        let earliest = end + self.settings.slide - self.settings.size;
        let over = self.settings.slice_of(earliest - self.settings.session_gap) - 1;
        let left = self.settings.first_slice(end) - 1;
        self.window.forget_visits(over.min(left), self.settings.slide, &mut self.names);
    }

    fn header(&self, end: i64) -> Header {
        Header {
            partition: self.number,
            end,
            first_aligned: self.first_aligned,
            site: self.sums(SITE, None),
            more: false,
        }
    }

    /// Brings the list of pages up to date: those with a row in this window or in the one before, or with a baseline. Few come
    /// or go from one window to the next, so it is kept in order instead of being put into it each time.
    fn choose_pages(&mut self) {
        let names = &mut self.names.pages;
        let mut wanted = vec![false; names.len()];
        for page in self.window.pages().chain(self.baselines.pages()) {
            wanted[page as usize] = page != SITE;
        }
        self.last_emitted_pages.retain(|&(page, views)| {
            let stays = std::mem::take(&mut wanted[page as usize]) || views.is_some();
            if !stays {
                names.release(page);
            }
            stays
        });
        let known = self.last_emitted_pages.len();
        for (page, _) in (0..).zip(wanted).filter(|(_, wanted)| *wanted) {
            names.hold(page);
            self.last_emitted_pages.push((page, None));
        }
        if self.last_emitted_pages.len() > known {
            // Stable, because that is quick where most are in order.
            self.last_emitted_pages.sort_by(|(a, _), (b, _)| names.text(*a).cmp(names.text(*b)));
        }
    }

    fn sums(&self, page: u32, previous_views: Option<u64>) -> Sums {
        let totals = self.window.totals(page);
        let baseline = self.baselines.get(page).unwrap_or_default();
        Sums {
            views: totals.counts.views,
            clicks: totals.counts.clicks,
            conversions: totals.counts.conversions,
            users: totals.users,
            visits: totals.visits,
            bounces: totals.bounces,
            duration: totals.duration,
            previous_views,
            baseline: baseline.sum,
            baseline_at: baseline.at,
        }
    }
}
