//! Stage 1: one input partition as a deterministic state machine. What it has read decides all it says.

mod sealing;
mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_events::ClickstreamEvent;

use crate::{
    block::Block,
    event::{InternedEvent, Names},
    feature::{Extras, Feature},
    intern::Interner,
    live::{self, Live},
    pages::Pages,
    settings::Settings,
};
use sealing::Sealing;

/// The longest visit age that a client is believed, seconds.
const MAX_VISIT_SECONDS: u32 = 86_400;

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
pub struct Partition<F = Extras> {
    settings: Settings,
    number: i32,
    names: Names,
    /// Pages come first: whatever is sealed has their rows.
    features: (Pages, F),
    /// Events of slices that are not closed yet.
    pending: BTreeMap<i64, Vec<InternedEvent>>,
    progress: Progress,
    /// The end up to which the watermark has come: windows up to it are to be sealed, one after the other, when somebody takes them.
    due: i64,
    /// The window that is being sealed.
    sealing: Option<Sealing>,
    /// The aligned window of the event that made windows due: it counts from when they are sealed.
    next_aligned: Option<i64>,
    /// What an event or a watermark found still to be sealed.
    blocks: Vec<Block>,
}

/// How far a partition has come, in the order in which snapshots have it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progress {
    watermark: Option<i64>,
    /// The newest event time.
    greatest: Option<i64>,
    sealed: Option<i64>,
    first_aligned: Option<i64>,
}

impl Partition {
    /// An input partition of which nothing was read yet.
    pub fn new(number: i32, settings: Settings) -> Self {
        Self::with_features(number, settings)
    }
}

impl<F: Feature> Partition<F> {
    /// A partition with other features than [`Extras`].
    pub(crate) fn with_features(number: i32, settings: Settings) -> Self {
        let mut names =
            Names { pages: Interner::default(), users: Interner::default(), sessions: Interner::default() };
        // Held for good, so that it stays SITE. No event has an empty page_url.
        names.pages.acquire("");
        Self {
            settings,
            number,
            names,
            features: Feature::new(&settings),
            pending: BTreeMap::new(),
            progress: Progress::default(),
            due: i64::MIN,
            sealing: None,
            next_aligned: None,
            blocks: Vec::new(),
        }
    }

    /// Takes the next valid event of the partition's log. Windows that it closes are due from then on.
    pub fn read(&mut self, event: &ClickstreamEvent<'_>) -> Verdict {
        let timestamp = event.timestamp;
        if self.is_behind() {
            self.seal_due();
        }
        if self
            .progress
            .watermark
            .is_some_and(|watermark| self.settings.last_window_end(timestamp) <= watermark)
        {
            return Verdict::Late;
        }
        self.progress.greatest = self.progress.greatest.max(Some(timestamp));
        let aligned = timestamp.div_euclid(self.settings.size);
        self.advance(timestamp - self.settings.out_of_orderness);
        if self.is_behind() {
            self.next_aligned = Some(aligned);
        } else {
            self.progress.first_aligned =
                Some(self.progress.first_aligned.map_or(aligned, |first| first.min(aligned)));
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
                .filter(|&seconds| seconds <= MAX_VISIT_SECONDS)
                .map(|seconds| seconds * 1000),
        };
        let slice = self.settings.slice_of(timestamp);
        if self.progress.sealed.is_some_and(|sealed| timestamp < sealed) {
            // Its slice is closed, and with it the first of its windows.
            self.take_in(slice, &[interned]);
            return Verdict::PartlyLate;
        }
        // Also where it closes windows: it is in none of them, so they are sealed without it.
        self.pending.entry(slice).or_default().push(interned);
        Verdict::Counted
    }

    /// Raises the watermark; windows that it passes are due from then on. It never moves back.
    pub fn advance_watermark(&mut self, watermark: i64) {
        if self.is_behind() {
            self.seal_due();
        }
        self.advance(watermark);
    }

    fn advance(&mut self, watermark: i64) {
        if self.progress.watermark.is_none_or(|now| now < watermark) {
            self.progress.watermark = Some(watermark);
            // Most events move the watermark, few of them past a window's end: those are told apart without a division.
            if self.progress.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide) {
                self.due = self.settings.sealed_by(watermark);
            }
        }
    }

    /// Whether the event, if it counts, makes windows due.
    pub fn closes_windows(&self, timestamp: i64) -> bool {
        let watermark = timestamp - self.settings.out_of_orderness;
        self.progress.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide)
    }

    /// Whether windows are due that are not sealed yet.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.progress.sealed.unwrap_or(i64::MIN) < self.due
    }

    /// The watermark, once something was read.
    pub fn watermark(&self) -> Option<i64> {
        self.progress.watermark
    }

    /// The end up to which everything is sealed.
    pub fn sealed(&self) -> Option<i64> {
        self.progress.sealed
    }

    /// The end of the last window that holds an event of this partition.
    pub fn last_window_end(&self) -> Option<i64> {
        self.progress.greatest.map(|timestamp| self.settings.last_window_end(timestamp))
    }

    /// The newest event time read.
    pub fn newest(&self) -> Option<i64> {
        self.progress.greatest
    }

    /// The end of the window that [`live_snapshot`](Self::live_snapshot) shows.
    pub fn open_window_end(&self, at: i64) -> Option<i64> {
        self.progress.greatest.map(|newest| live::end(newest, self.progress.sealed, at, &self.settings))
    }

    /// What the open window shows when event time is `at`, or that of the newest event if that is later; once something was read. Walks
    /// over all that is live.
    pub fn live_snapshot(&self, at: i64) -> Option<Live> {
        let (newest, end) = (self.progress.greatest?, self.open_window_end(at)?);
        Some(live::snapshot(
            self.number,
            (newest, end),
            self.features.0.window(),
            &self.pending,
            &self.names,
            &self.settings,
        ))
    }

    /// How many (page, visitor) pairs, (page, visit) pairs and visits are live: what memory follows.
    pub fn live(&self) -> usize {
        self.features.0.live()
    }
}
