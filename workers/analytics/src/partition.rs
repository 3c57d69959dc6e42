//! Stage 1: one input partition as a deterministic state machine. Its output depends only on what it has read.

mod held_ids;
mod sealing;
mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_events::ClickstreamEvent;

use crate::{
    block::Block,
    event::{InternedEvent, Names},
    feature::{Extras, Feature},
    identity::identity,
    live::{self, Live},
    pages::Pages,
    settings::Settings,
};
use held_ids::HeldIds;
use sealing::Sealing;

/// Maximum plausible visit age reported by a client, seconds.
pub const MAX_VISIT_SECONDS: u32 = 86_400;

/// The outcome of reading an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Counted in all of its windows.
    Counted,
    /// Counted in those of its windows that were still open. The sealed ones, which end at [`Settings::first_window_end`] to
    /// [`Partition::sealed`], miss it.
    PartlyLate,
    /// All its windows are sealed: the event is not counted.
    Late,
    /// An event of its user with its id was counted before, and is still remembered: it changes nothing.
    Duplicate,
}

/// One input partition.
///
/// Events are buffered in their slice until the slice closes, and are then added to the running sums together: so the sums are
/// always those of a window's end, even if later events have been read.
pub struct Partition<F = Extras> {
    settings: Settings,
    number: i32,
    names: Names,
    /// Pages come first: every block begins with their rows.
    features: (Pages, F),
    /// Events of open slices.
    pending: BTreeMap<i64, Vec<InternedEvent>>,
    progress: Progress,
    /// The last window end that the watermark has passed: windows up to it are due, and are sealed one by one by the caller.
    due: i64,
    /// The window being sealed.
    sealing: Option<Sealing>,
    /// The aligned window of the event that made windows due: counted once they are sealed.
    next_aligned: Option<i64>,
    /// Blocks of windows that were still due when an event or a watermark arrived.
    blocks: Vec<Block>,
    held: HeldIds,
    /// Whether the last event that counted did so under another page than its own.
    is_other_page: bool,
}

/// A partition's progress; the field order is the snapshot format.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progress {
    watermark: Option<i64>,
    /// The greatest event time.
    greatest: Option<i64>,
    sealed: Option<i64>,
    first_aligned: Option<i64>,
}

impl Partition {
    /// An input partition before its first event.
    pub fn new(number: i32, settings: Settings) -> Self {
        Self::with_features(number, settings)
    }
}

impl<F: Feature> Partition<F> {
    /// A partition with other features than [`Extras`].
    pub(crate) fn with_features(number: i32, settings: Settings) -> Self {
        let names = Names::new();
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
            held: HeldIds::default(),
            is_other_page: false,
        }
    }

    /// Reads the next valid event of the partition's log. Windows that it closes become due.
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
        match event.event_id {
            Some(id) if !id.is_empty() => self.count_once(event, id),
            _ => self.count(event),
        }
    }

    /// Counts an event with an id, unless its identity is held.
    #[inline(never)]
    fn count_once(&mut self, event: &ClickstreamEvent<'_>, id: &str) -> Verdict {
        let identity = identity(event.user_id, id);
        if let Some(watermark) = self.progress.watermark {
            self.held.expire(watermark);
        }
        if self.held.contains(identity) {
            return Verdict::Duplicate;
        }
        let verdict = self.count(event);
        if let Some(watermark) = self.progress.watermark {
            self.held.hold(identity, watermark.saturating_add(self.settings.held_for()));
        }
        verdict
    }

    /// Counts an event that is not late.
    #[inline(always)]
    fn count(&mut self, event: &ClickstreamEvent<'_>) -> Verdict {
        let timestamp = event.timestamp;
        self.progress.greatest = self.progress.greatest.max(Some(timestamp));
        let aligned = timestamp.div_euclid(self.settings.size);
        self.advance(timestamp - self.settings.out_of_orderness);
        if self.is_behind() {
            self.next_aligned = Some(aligned);
        } else {
            self.progress.first_aligned =
                Some(self.progress.first_aligned.map_or(aligned, |first| first.min(aligned)));
        }
        let (page, is_other) = self.names.acquire_page(event.page_url, self.settings.live_pages());
        self.is_other_page = is_other;
        let interned = InternedEvent {
            page,
            user: self.names.acquire_user(event.user_id, &self.settings),
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
            // Its slice is closed, and so is the first of its windows.
            self.take_in(slice, &[interned]);
            return Verdict::PartlyLate;
        }
        // Also if it closes windows: it belongs to none of them.
        self.pending.entry(slice).or_default().push(interned);
        Verdict::Counted
    }

    /// Advances the watermark; windows that it passes become due. It never moves back.
    pub fn advance_watermark(&mut self, watermark: i64) {
        if self.is_behind() {
            self.seal_due();
        }
        self.advance(watermark);
    }

    fn advance(&mut self, watermark: i64) {
        if self.progress.watermark.is_none_or(|now| now < watermark) {
            self.progress.watermark = Some(watermark);
            // Most events advance the watermark, few past a window's end: this check avoids the division for the others.
            if self.progress.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide) {
                self.due = self.settings.sealed_by(watermark);
            }
        }
    }

    /// Whether an event with this timestamp, if counted, makes windows due.
    pub fn closes_windows(&self, timestamp: i64) -> bool {
        let watermark = timestamp - self.settings.out_of_orderness;
        self.progress.sealed.is_none_or(|sealed| watermark - sealed >= self.settings.slide)
    }

    /// Whether the last event that counted did so under the page `(other)`, because too many pages were live.
    pub fn is_other_page(&self) -> bool {
        self.is_other_page
    }

    /// Number of events whose identity is held.
    pub fn held_ids(&self) -> usize {
        self.held.len()
    }

    /// Whether due windows are not sealed yet.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.progress.sealed.unwrap_or(i64::MIN) < self.due
    }

    /// The watermark; `None` before the first event.
    pub fn watermark(&self) -> Option<i64> {
        self.progress.watermark
    }

    /// The end of the last sealed window.
    pub fn sealed(&self) -> Option<i64> {
        self.progress.sealed
    }

    /// The end of the window being sealed, if one is.
    pub fn sealing(&self) -> Option<i64> {
        self.sealing.map(|sealing| sealing.end)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a visit that began at or before `time` may still go on. Walks over all visits.
    pub fn has_visit_since(&self, time: i64) -> bool {
        self.features.0.window().has_visit_since(time)
    }

    /// The end of the last window with an event of this partition.
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

    /// The live values of the open window at event time `at`, or at the newest event's time if later; `None` before the first event.
    /// Walks over all live state.
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

    /// Number of live (page, visitor) pairs, (page, visit) pairs and visits: memory is proportional to it.
    pub fn live(&self) -> usize {
        self.features.0.live()
    }
}
