//! Visits: runs of a user's events of one session with gaps of at most `session_gap`.

use serde::{Deserialize, Serialize};

use super::seen_pages::SeenPages;
use crate::{event::SITE, identity::Identity, timing_wheel::TimingWheel};

/// Bytes of a visitor in a snapshot.
const SAVED_VISITOR: usize = size_of::<Identity>();

/// A run of events of one visitor and session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) session: u32,
    first: i64,
    last: i64,
    /// Greatest timestamp among events without a reported age; `i64::MIN` without any.
    last_unmeasured: i64,
    /// Greatest age reported by the client, milliseconds; 0 without any.
    max_measured: u32,
    /// Whether it has exactly one event.
    bounced: bool,
    /// Pages with an event of the visit in the window.
    pub(crate) seen_pages: SeenPages,
    /// The metrics that its pages' sums contain.
    #[serde(skip)]
    flushed: VisitMetrics,
    /// Whether its metrics may have changed since they were flushed.
    #[serde(skip)]
    dirty: bool,
    /// Whose it is: see [`Names::visitor`](crate::event::Names::visitor). In a section of its own.
    #[serde(skip)]
    pub(super) visitor: Identity,
    /// The next visit of the same session id.
    #[serde(skip)]
    sibling: Option<u32>,
}

/// A visit's contribution to the sums of its pages.
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

    /// The slice of its last event.
    pub(super) fn last_slice(&self, slide: i64) -> i64 {
        self.last.div_euclid(slide)
    }

    pub(crate) fn began_by(&self, time: i64) -> bool {
        self.first <= time
    }

    /// The metrics that its pages' sums contain.
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

/// All visits that a future event can still belong to.
#[derive(Default)]
pub(crate) struct Visits {
    visits: Vec<Option<Visit>>,
    free: Vec<u32>,
    /// By session id: the first of its visits, which is nearly always the only one.
    of_session: Vec<Option<u32>>,
    /// Visits with an event in the window, by the slice with which their first page may leave it.
    in_window: TimingWheel<u32>,
    /// The other visits, by the slice of their last event.
    past: TimingWheel<u32>,
    dirty: Vec<u32>,
}

/// The parts of an event that matter for visits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitEvent {
    pub(crate) session: u32,
    pub(crate) visitor: Identity,
    pub(crate) timestamp: i64,
    /// The visit's age as the client reported it, milliseconds, if plausible.
    pub(crate) measured: Option<u32>,
}

impl Visits {
    /// The visits that an event extends or joins: those of its visitor and session within `gap` of it.
    pub(crate) fn near(&self, event: VisitEvent, gap: i64, found: &mut Vec<u32>) {
        found.clear();
        let mut next = self.first_of(event.session);
        while let Some(number) = next {
            let visit = self.get(number);
            let is_near = event.timestamp >= visit.first - gap && event.timestamp <= visit.last + gap;
            if is_near && visit.visitor == event.visitor {
                found.push(number);
            }
            next = visit.sibling;
        }
    }

    /// Joins an event and the visits near it into one visit, and returns its number: the first of them, or a new one. The caller
    /// has taken the pages of the others.
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
            visitor: event.visitor,
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

    /// Records an event of a visit on a page in a slice. True if the page is new to the visit.
    pub(crate) fn see(&mut self, number: u32, page: u32, slice: i64) -> bool {
        let visit = self.visits[number as usize].as_mut();
        visit.is_some_and(|visit| visit.seen_pages.see(page, slice, number, &mut self.in_window))
    }

    /// Updates the flushed metrics of dirty visits; calls `change` with the old and the new ones.
    pub(crate) fn flush(&mut self, mut change: impl FnMut(&SeenPages, VisitMetrics, VisitMetrics)) {
        for number in self.dirty.drain(..) {
            // A visit that was joined to another is gone, and its number may have been reused.
            if let Some(visit) = self.visits[number as usize].as_mut().filter(|visit| visit.dirty) {
                let metrics = visit.metrics();
                change(&visit.seen_pages, visit.flushed, metrics);
                (visit.flushed, visit.dirty) = (metrics, false);
            }
        }
    }

    /// Evicts visits' pages up to a slice that left the window: calls `evicted` for each page, and for [`SITE`] after a visit's last.
    pub(crate) fn leave(&mut self, slice: i64, slide: i64, mut evicted: impl FnMut(u32, VisitMetrics)) {
        while let Some((list, number)) = self.in_window.pop(slice) {
            let Some(visit) =
                self.visits[number as usize].as_mut().filter(|visit| !visit.seen_pages.is_empty())
            else {
                continue;
            };
            let flushed = visit.flushed;
            let entry = (list, number);
            visit.seen_pages.leave(entry, slice, &mut self.in_window, |page| evicted(page, flushed));
            if visit.seen_pages.is_empty() {
                evicted(SITE, flushed);
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

    /// Adds a visit to the index by session id.
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

    /// A live visit, mutable.
    #[expect(clippy::expect_used, reason = "as for get")]
    pub(crate) fn get_mut(&mut self, number: u32) -> &mut Visit {
        self.visits[number as usize].as_mut().expect("a live visit")
    }

    /// Removes one visit whose last event was at or before a slice, and returns its session.
    pub(crate) fn expire(&mut self, slice: i64, slide: i64) -> Option<u32> {
        while let Some((list, number)) = self.past.pop(slice) {
            // A continued visit is in the window or in a later list; a joined one is gone.
            let is_over = |visit: &Visit| visit.seen_pages.is_empty() && visit.last.div_euclid(slide) == list;
            if self.visits[number as usize].as_ref().is_some_and(is_over) {
                return Some(self.forget(number).session);
            }
        }
        None
    }

    /// Whether visits do not span users.
    pub(crate) fn have_visitors(&self) -> bool {
        self.visits.iter().flatten().next().is_some_and(|visit| visit.visitor != Identity::default())
    }

    /// The visitors of all visits, in the order of their numbers.
    pub(crate) fn visitors(&self) -> impl Iterator<Item = [u8; SAVED_VISITOR]> {
        self.visits.iter().flatten().map(|visit| visit.visitor.to_le_bytes())
    }

    /// Sets what [`visitors`](Self::visitors) returned, one after the other; false if these are not as many as there are visits.
    pub(crate) fn set_visitors(&mut self, saved: &[u8]) -> bool {
        let (visitors, rest) = saved.as_chunks::<SAVED_VISITOR>();
        let is_whole = rest.is_empty() && visitors.len() == self.len();
        for (visit, &visitor) in self.visits.iter_mut().flatten().zip(visitors) {
            visit.visitor = Identity::from_le_bytes(visitor);
        }
        is_whole
    }

    /// All visits in the order of their numbers.
    pub(crate) fn all(&self) -> &[Option<Visit>] {
        &self.visits
    }

    /// Rebuilds visits from what [`all`](Self::all) returned; `near` is any slice of the window.
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

    /// Number of live visits.
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
        let event = VisitEvent { session, visitor: Identity::default(), timestamp, measured: None };
        let mut near = Vec::new();
        visits.near(event, GAP, &mut near);
        for &other in near.iter().skip(1) {
            visits.get_mut(other).seen_pages = SeenPages::default();
        }
        let number = visits.join(event, &near);
        visits.see(number, 1, timestamp.div_euclid(SLIDE));
    }

    /// Number of pages evicted with a slice, including the site.
    fn leave(visits: &mut Visits, slice: i64) -> usize {
        let mut evicted = 0;
        visits.leave(slice, SLIDE, |_, _| evicted += 1);
        evicted
    }

    #[test]
    fn a_reused_number_expires_once() {
        let mut visits = Visits::default();
        read(&mut visits, 0, 0);
        read(&mut visits, 0, 60);
        assert_eq!(visits.len(), 2);
        read(&mut visits, 0, 30);
        assert_eq!(visits.len(), 1, "the event between them joins them");
        read(&mut visits, 1, 100);
        assert_eq!(visits.all().len(), 2, "the number of the joined visit is reused");
        assert_eq!(leave(&mut visits, 6), 2, "the lists still contain the joined visit's number");
        assert_eq!((visits.expire(6, SLIDE), visits.expire(6, SLIDE)), (Some(0), None));
        assert_eq!(visits.len(), 1);
        assert_eq!((leave(&mut visits, 10), visits.expire(10, SLIDE)), (2, Some(1)));
        assert_eq!((visits.len(), visits.in_window.len(), visits.past.len()), (0, 0, 0));
    }

    #[test]
    fn a_visit_that_continues_does_not_expire() {
        let mut visits = Visits::default();
        read(&mut visits, 0, 0);
        assert_eq!(leave(&mut visits, 1), 2);
        read(&mut visits, 0, 25);
        assert_eq!(visits.expire(1, SLIDE), None, "it is in the window again");
        assert_eq!((leave(&mut visits, 2), visits.expire(1, SLIDE)), (2, None));
        assert_eq!((visits.expire(2, SLIDE), visits.len()), (Some(0), 0));
    }

    #[test]
    fn a_changed_visit_is_flushed_once() {
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
