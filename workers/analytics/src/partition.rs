//! Stage 1: one input partition as a deterministic state machine. What it has read decides all it says.

use std::{borrow::Cow, collections::BTreeMap};

use weir_events::ClickstreamEvent;

use crate::{
    baseline::Baselines,
    block::{Block, Row},
    intern::Interner,
    live::{self, Live},
    settings::Settings,
    snapshot::{Snapshot, SnapshotError},
    window::{Click, Names, SITE, Window},
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
    told: Vec<(u32, Option<u64>)>,
    /// Events of slices that are not closed yet.
    pending: BTreeMap<i64, Vec<Click>>,
    watermark: Option<i64>,
    greatest: Option<i64>,
    sealed: Option<i64>,
    first_aligned: Option<i64>,
    blocks: Vec<Block>,
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
            told: Vec::new(),
            pending: BTreeMap::new(),
            watermark: None,
            greatest: None,
            sealed: None,
            first_aligned: None,
            blocks: Vec::new(),
        }
    }

    /// Everything it knows, as bytes: about 8 bytes a live pair, and each live string once. Blocks must have been taken.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        debug_assert!(self.blocks.is_empty(), "blocks are no part of a snapshot");
        Snapshot {
            names: [&self.names.pages, &self.names.users, &self.names.sessions].map(Interner::all),
            window: self.window.save(),
            baselines: Cow::Borrowed(&self.baselines),
            told: (&self.told).into(),
            pending: Cow::Borrowed(&self.pending),
            watermark: self.watermark,
            greatest: self.greatest,
            sealed: self.sealed,
            first_aligned: self.first_aligned,
        }
        .encode()
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
            told: saved.told.into_owned(),
            pending: saved.pending.into_owned(),
            watermark: saved.watermark,
            greatest: saved.greatest,
            sealed: saved.sealed,
            first_aligned: saved.first_aligned,
            blocks: Vec::new(),
        })
    }

    /// Takes the next valid event of the partition's log. Windows that it closes go to [`take_blocks`](Self::take_blocks).
    pub fn read(&mut self, event: &ClickstreamEvent<'_>) -> Verdict {
        let timestamp = event.timestamp;
        if self.watermark.is_some_and(|watermark| self.settings.last_window_end(timestamp) <= watermark) {
            return Verdict::Late;
        }
        self.greatest = self.greatest.max(Some(timestamp));
        let aligned = timestamp.div_euclid(self.settings.size);
        // The event is in none of the windows that it closes, so they can be closed before it is taken in.
        self.raise(timestamp - self.settings.out_of_orderness);
        self.first_aligned = Some(self.first_aligned.map_or(aligned, |first| first.min(aligned)));
        let click = Click {
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
            self.take_in(slice, &[click]);
            return Verdict::PartlyLate;
        }
        self.pending.entry(slice).or_default().push(click);
        Verdict::Counted
    }

    /// Raises the watermark, and seals what it passes. It never moves back.
    pub fn raise(&mut self, watermark: i64) {
        if self.watermark.is_some_and(|now| now >= watermark) {
            return;
        }
        self.watermark = Some(watermark);
        let target = self.settings.sealed_by(watermark);
        while self.sealed.is_none_or(|sealed| sealed < target) {
            if self.nothing_can_change() {
                self.skip(target);
            } else {
                self.seal_next();
            }
        }
    }

    /// The blocks of the windows sealed since the last call, in order.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.blocks)
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

    /// The end of the window that [`look`](Self::look) shows.
    pub fn open_window_end(&self, at: i64) -> Option<i64> {
        self.greatest.map(|newest| live::end(newest, self.sealed, at, &self.settings))
    }

    /// What the open window shows when event time is `at`, or that of the newest event if that is later; once something was read. Walks
    /// over all that is live.
    pub fn look(&self, at: i64) -> Option<Live> {
        let (newest, end) = (self.greatest?, self.open_window_end(at)?);
        Some(live::look(self.number, (newest, end), &self.window, &self.pending, &self.names, &self.settings))
    }

    /// How many (page, visitor) pairs, (page, visit) pairs and visits are live: what memory follows.
    pub fn live(&self) -> usize {
        self.window.pairs() + self.window.visits.len()
    }

    /// True while sealing a window would say nothing that the window before did not say.
    fn nothing_can_change(&self) -> bool {
        let no_row = self.told.iter().all(|(_, views)| views.is_none());
        no_row && self.window.is_empty() && !self.baselines.pending()
    }

    /// Passes over windows in which nothing can differ, as far as `target` or the next slice with an event. The last of them
    /// in each lane gets a block, so that stage 2 hears of the rest too.
    fn skip(&mut self, target: i64) {
        let slide = self.settings.slide;
        let next_event = self.pending.keys().next().map(|slice| slice * slide);
        let to = next_event.map_or(target, |start| target.min(start));
        if self.sealed == Some(to) {
            return self.seal_next();
        }
        let lanes = i64::from(self.settings.lanes);
        let from = to - (lanes - 1) * slide;
        let first = self.sealed.map_or(from, |sealed| from.max(sealed + slide));
        for end in (first..=to).step_by(slide as usize) {
            self.release_forgotten(end);
            let block = self.block(end);
            self.blocks.push(block);
        }
        self.sealed = Some(to);
        self.expire_visits(to);
    }

    /// Seals one window: lets the slice before it go, takes the newest slice in, says the sums.
    fn seal_next(&mut self) {
        let Some(sealed) = self.sealed else { return };
        let end = sealed + self.settings.slide;
        self.window.leave(self.settings.first_slice(end) - 1, &mut self.names, &self.settings);
        let slice = self.settings.slice_of(end) - 1;
        if let Some(clicks) = self.pending.remove(&slice) {
            self.take_in(slice, &clicks);
        }
        self.sealed = Some(end);
        self.release_forgotten(end);
        let block = self.block(end);
        if end.rem_euclid(self.settings.size) == 0 {
            self.note_aligned(end);
        }
        self.blocks.push(block);
        self.expire_visits(end);
    }

    fn take_in(&mut self, slice: i64, clicks: &[Click]) {
        self.window.take_in(slice, clicks, &mut self.names, &self.settings);
        for click in clicks {
            self.names.pages.release(click.page);
            self.names.users.release(click.user);
            self.names.sessions.release(click.session);
        }
    }

    fn note_aligned(&mut self, end: i64) {
        let index = end.div_euclid(self.settings.size) - 1;
        let with_rows = self.told.iter().filter(|(_, views)| views.is_some()).map(|&(page, _)| page);
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

    /// Says the sums of the window that ends at `end`.
    fn block(&mut self, end: i64) -> Block {
        self.choose_pages();
        let mut block = Block::new(self.number, end, self.first_aligned);
        block.site = self.row(SITE, None);
        block.pages = self.told.iter().map(|&(page, views)| self.row(page, views)).collect();
        for ((_, views), row) in self.told.iter_mut().zip(&block.pages) {
            *views = (row.users > 0).then_some(row.views);
        }
        block
    }

    /// Brings the list of pages up to date: those with a row in this window or in the one before, or with a baseline. Few come
    /// or go from one window to the next, so it is kept in order instead of being put into it each time.
    fn choose_pages(&mut self) {
        let names = &mut self.names.pages;
        let mut wanted = vec![false; names.len()];
        for page in self.window.pages().chain(self.baselines.pages()) {
            wanted[page as usize] = page != SITE;
        }
        self.told.retain(|&(page, views)| {
            let stays = std::mem::take(&mut wanted[page as usize]) || views.is_some();
            if !stays {
                names.release(page);
            }
            stays
        });
        let known = self.told.len();
        for (page, _) in (0..).zip(wanted).filter(|(_, wanted)| *wanted) {
            names.hold(page);
            self.told.push((page, None));
        }
        if self.told.len() > known {
            // Stable, because that is quick where most are in order.
            self.told.sort_by(|(a, _), (b, _)| names.text(*a).cmp(names.text(*b)));
        }
    }

    fn row(&self, page: u32, previous_views: Option<u64>) -> Row {
        let totals = self.window.totals(page);
        let baseline = self.baselines.get(page).unwrap_or_default();
        Row {
            url: self.names.pages.text(page).to_owned(),
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
