//! Visits: runs of one session's events with gaps of at most `session_gap`.

use serde::{Deserialize, Serialize};

use super::seen_pages::SeenPages;
use crate::{event::SITE, timing_wheel::TimingWheel};

/// A run of events of one session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) session: u32,
    first: i64,
    last: i64,
    /// Greatest timestamp among the events whose age counts from `first`; without any, none is less.
    last_unmeasured: i64,
    /// Greatest age that a client told, milliseconds; 0 without any.
    max_measured: u32,
    /// Whether it has exactly one event.
    bounced: bool,
    /// Pages that the visit has an event on in the window.
    pub(crate) seen_pages: SeenPages,
    /// What its pages' sums hold of it.
    #[serde(skip)]
    flushed: VisitMetrics,
    /// Whether that may not be what it counts for.
    #[serde(skip)]
    dirty: bool,
    /// The next visit of the same session.
    #[serde(skip)]
    sibling: Option<u32>,
}

/// What a visit counts for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct VisitMetrics {
    /// Exactly one event.
    pub(crate) bounced: bool,
    /// The greatest age over its events, milliseconds.
    pub(crate) duration: i64,
}

impl Visit {
    fn metrics(&self) -> VisitMetrics {
        let unmeasured = self.last_unmeasured.saturating_sub(self.first);
        VisitMetrics { bounced: self.bounced, duration: unmeasured.max(self.max_measured.into()) }
    }

    /// What its pages' sums hold of it.
    pub(crate) fn flushed(&self) -> VisitMetrics {
        self.flushed
    }

    fn absorb(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.bounced = false;
        self.last_unmeasured = self.last_unmeasured.max(other.last_unmeasured);
        self.max_measured = self.max_measured.max(other.max_measured);
    }
}

/// All visits that an event to come could still belong to.
#[derive(Default)]
pub(crate) struct Visits {
    visits: Vec<Option<Visit>>,
    free: Vec<u32>,
    /// By session: the first of its visits. Nearly always the only one.
    of_session: Vec<Option<u32>>,
    /// Those with an event in the window, by the slice in which the first of their pages may leave it.
    in_window: TimingWheel<u32>,
    /// The others, by the slice of their last event.
    past: TimingWheel<u32>,
    dirty: Vec<u32>,
}

/// An event, as far as visits care.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitEvent {
    pub(crate) session: u32,
    pub(crate) timestamp: i64,
    /// The visit's age as the client told it, milliseconds, where that is believable.
    pub(crate) measured: Option<u32>,
}

impl Visits {
    /// The visits that an event touches, extends or joins: those of its session that are within `gap` of it.
    pub(crate) fn near(&self, event: VisitEvent, gap: i64, found: &mut Vec<u32>) {
        found.clear();
        let mut next = self.first_of(event.session);
        while let Some(number) = next {
            let visit = self.get(number);
            if event.timestamp >= visit.first - gap && event.timestamp <= visit.last + gap {
                found.push(number);
            }
            next = visit.sibling;
        }
    }

    /// Makes one visit of an event and the visits near it, and says which: the first of them, or a new one. The pages of the
    /// others have been given to it before.
    pub(crate) fn join(&mut self, event: VisitEvent, near: &[u32]) -> u32 {
        let mut joined = Visit {
            session: event.session,
            first: event.timestamp,
            last: event.timestamp,
            last_unmeasured: if event.measured.is_none() { event.timestamp } else { i64::MIN },
            max_measured: event.measured.unwrap_or(0),
            bounced: true,
            seen_pages: SeenPages::default(),
            flushed: VisitMetrics::default(),
            dirty: false,
            sibling: None,
        };
        let Some((&number, others)) = near.split_first() else {
            joined.flushed = joined.metrics();
            return self.insert(joined);
        };
        for &other in others {
            joined.absorb(&self.forget(other));
        }
        let visit = self.get_mut(number);
        visit.absorb(&joined);
        if !visit.dirty {
            visit.dirty = true;
            self.dirty.push(number);
        }
        number
    }

    /// Notes that a visit has an event on a page in a slice. True if the page is new to it.
    pub(crate) fn see(&mut self, number: u32, page: u32, slice: i64) -> bool {
        let visit = self.visits[number as usize].as_mut();
        visit.is_some_and(|visit| visit.seen_pages.see(page, slice, number, &mut self.in_window))
    }

    /// Gives each visit whose metrics have changed what it counts for now, and hands out what it counted for before.
    pub(crate) fn flush(&mut self, mut change: impl FnMut(&SeenPages, VisitMetrics, VisitMetrics)) {
        for number in self.dirty.drain(..) {
            // One that was joined to another is no more, and its number may already be that of a new one.
            if let Some(visit) = self.visits[number as usize].as_mut().filter(|visit| visit.dirty) {
                let metrics = visit.metrics();
                change(&visit.seen_pages, visit.flushed, metrics);
                (visit.flushed, visit.dirty) = (metrics, false);
            }
        }
    }

    /// Lets go of what visits did in and before a slice that left the window: of each page, and of [`SITE`] after the last.
    pub(crate) fn leave(&mut self, slice: i64, slide: i64, mut gone: impl FnMut(u32, VisitMetrics)) {
        while let Some((list, number)) = self.in_window.pop(slice) {
            let Some(visit) =
                self.visits[number as usize].as_mut().filter(|visit| !visit.seen_pages.is_empty())
            else {
                continue;
            };
            let flushed = visit.flushed;
            let place = (list, number);
            visit.seen_pages.leave(place, slice, &mut self.in_window, |page| gone(page, flushed));
            if visit.seen_pages.is_empty() {
                gone(SITE, flushed);
                self.past.file(visit.last.div_euclid(slide), number);
            }
        }
    }

    fn insert(&mut self, visit: Visit) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.visits[number as usize] = Some(visit);
                number
            }
            None => {
                self.visits.push(Some(visit));
                (self.visits.len() - 1) as u32
            }
        };
        self.index(number);
        number
    }

    /// Makes a visit be found by its session.
    fn index(&mut self, number: u32) {
        let session = self.get(number).session as usize;
        if session >= self.of_session.len() {
            self.of_session.resize(session + 1, None);
        }
        self.get_mut(number).sibling = self.of_session[session].replace(number);
    }

    fn first_of(&self, session: u32) -> Option<u32> {
        self.of_session.get(session as usize).copied().flatten()
    }

    /// A live visit.
    #[expect(
        clippy::expect_used,
        reason = "numbers are handed out here and forgotten by all holders when a visit ends"
    )]
    pub(crate) fn get(&self, number: u32) -> &Visit {
        self.visits[number as usize].as_ref().expect("a live visit")
    }

    /// A live visit, to change.
    #[expect(clippy::expect_used, reason = "as for get")]
    pub(crate) fn get_mut(&mut self, number: u32) -> &mut Visit {
        self.visits[number as usize].as_mut().expect("a live visit")
    }

    /// Takes out one visit whose last event was at or before a slice, and gives its session.
    pub(crate) fn expire(&mut self, slice: i64, slide: i64) -> Option<u32> {
        while let Some((list, number)) = self.past.pop(slice) {
            // What has gone on since is in the window, or in a later list. What was joined to another is no more.
            let is_over = |visit: &Visit| visit.seen_pages.is_empty() && visit.last.div_euclid(slide) == list;
            if self.visits[number as usize].as_ref().is_some_and(is_over) {
                return Some(self.forget(number).session);
            }
        }
        None
    }

    /// All visits at their numbers.
    pub(crate) fn all(&self) -> &[Option<Visit>] {
        &self.visits
    }

    /// Visits at their numbers, as [`all`](Self::all) gave them; `near` is some slice of the window.
    pub(crate) fn restore(visits: Vec<Option<Visit>>, slide: i64, near: i64) -> Self {
        let mut restored = Self { visits, ..Self::default() };
        for number in 0..restored.visits.len() as u32 {
            let Some(visit) = restored.visits[number as usize].as_mut() else {
                restored.free.push(number);
                continue;
            };
            visit.flushed = visit.metrics();
            if visit.seen_pages.is_empty() {
                restored.past.file(visit.last.div_euclid(slide), number);
            } else {
                visit.seen_pages.file_first(near, number, &mut restored.in_window);
            }
            restored.index(number);
        }
        restored
    }

    /// How many visits are live.
    pub(crate) fn len(&self) -> usize {
        self.visits.len() - self.free.len()
    }

    #[expect(clippy::expect_used, reason = "as for get")]
    fn forget(&mut self, number: u32) -> Visit {
        let visit = self.visits[number as usize].take().expect("a live visit");
        self.free.push(number);
        let mut link = &mut self.of_session[visit.session as usize];
        while let Some(other) = *link {
            if other == number {
                *link = visit.sibling;
                break;
            }
            link = &mut self.visits[other as usize].as_mut().expect("a live visit").sibling;
        }
        visit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLIDE: i64 = 10;
    const GAP: i64 = 30;

    fn read(visits: &mut Visits, session: u32, timestamp: i64) {
        let event = VisitEvent { session, timestamp, measured: None };
        let mut near = Vec::new();
        visits.near(event, GAP, &mut near);
        for &other in near.iter().skip(1) {
            visits.get_mut(other).seen_pages = SeenPages::default();
        }
        let number = visits.join(event, &near);
        visits.see(number, 1, timestamp.div_euclid(SLIDE));
    }

    /// How many pages leave with a slice, the site among them.
    fn leave(visits: &mut Visits, slice: i64) -> usize {
        let mut gone = 0;
        visits.leave(slice, SLIDE, |_, _| gone += 1);
        gone
    }

    #[test]
    fn a_number_that_is_used_again_is_over_once() {
        let mut visits = Visits::default();
        read(&mut visits, 0, 0);
        read(&mut visits, 0, 60);
        assert_eq!(visits.len(), 2);
        read(&mut visits, 0, 30);
        assert_eq!(visits.len(), 1, "the event between them joins them");
        read(&mut visits, 1, 100);
        assert_eq!(
            visits.all().len(),
            2,
            "the number of the visit that was joined to the other is used again"
        );
        assert_eq!(leave(&mut visits, 6), 2, "the lists still name the number of the visit that is no more");
        assert_eq!((visits.expire(6, SLIDE), visits.expire(6, SLIDE)), (Some(0), None));
        assert_eq!(visits.len(), 1);
        assert_eq!((leave(&mut visits, 10), visits.expire(10, SLIDE)), (2, Some(1)));
        assert_eq!((visits.len(), visits.in_window.len(), visits.past.len()), (0, 0, 0));
    }

    #[test]
    fn a_visit_that_goes_on_is_not_over() {
        let mut visits = Visits::default();
        read(&mut visits, 0, 0);
        assert_eq!(leave(&mut visits, 1), 2);
        read(&mut visits, 0, 25);
        assert_eq!(visits.expire(1, SLIDE), None, "it is in the window again");
        assert_eq!((leave(&mut visits, 2), visits.expire(1, SLIDE)), (2, None));
        assert_eq!((visits.expire(2, SLIDE), visits.len()), (Some(0), 0));
    }

    #[test]
    fn what_changed_is_settled_once() {
        let mut visits = Visits::default();
        for timestamp in [0, 3, 7] {
            read(&mut visits, 0, timestamp);
        }
        let mut changes = Vec::new();
        for _ in 0..2 {
            visits.flush(|seen_pages, before, after| {
                changes.push((
                    seen_pages.pages().count(),
                    before.bounced,
                    before.duration,
                    after.bounced,
                    after.duration,
                ));
            });
        }
        assert_eq!(changes, [(1, true, 0, false, 7)]);
    }
}
