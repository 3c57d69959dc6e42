//! Visits: runs of one session's events with gaps of at most `session_gap`.

use serde::{Deserialize, Serialize};

use crate::recency::Recency;

/// A run of events of one session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) session: u32,
    first: i64,
    last: i64,
    events: u64,
    /// Greatest timestamp among the events whose age counts from `first`.
    last_unmeasured: Option<i64>,
    /// Greatest age that a client told, milliseconds.
    max_measured: Option<i64>,
    /// Pages (and the site) that the visit has an event on in the window.
    pub(crate) pages: Vec<u32>,
    /// The slice in whose list it is.
    #[serde(skip)]
    filed: i64,
    /// The next visit of the same session.
    #[serde(skip)]
    sibling: Option<u32>,
}

/// What a visit counts for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Exactly one event.
    pub(crate) bounced: bool,
    /// The greatest age over its events, milliseconds.
    pub(crate) duration: i64,
}

impl Visit {
    /// What it counts for, as of now.
    pub(crate) fn figures(&self) -> Figures {
        let unmeasured = self.last_unmeasured.map(|last| last - self.first);
        Figures { bounced: self.events == 1, duration: unmeasured.max(self.max_measured).unwrap_or(0) }
    }

    fn absorb(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.events += other.events;
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
    recency: Recency<u32>,
}

/// An event, as far as visits care.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) session: u32,
    pub(crate) timestamp: i64,
    /// The visit's age as the client told it, milliseconds, where that is believable.
    pub(crate) measured: Option<i64>,
}

impl Visits {
    /// The visits that an event touches, extends or joins: those of its session that are within `gap` of it.
    pub(crate) fn near(&self, moment: Moment, gap: i64, found: &mut Vec<u32>) {
        found.clear();
        let mut next = self.first_of(moment.session);
        while let Some(number) = next {
            let visit = self.get(number);
            if moment.timestamp >= visit.first - gap && moment.timestamp <= visit.last + gap {
                found.push(number);
            }
            next = visit.sibling;
        }
    }

    /// Makes one visit of an event and the visits near it, and says which: the first of them, or a new one. The pages of the
    /// others have been given to it before. `slide` gives the slice of its last event.
    pub(crate) fn join(&mut self, moment: Moment, near: &[u32], slide: i64) -> u32 {
        let mut joined = Visit {
            session: moment.session,
            first: moment.timestamp,
            last: moment.timestamp,
            events: 1,
            last_unmeasured: moment.measured.is_none().then_some(moment.timestamp),
            max_measured: moment.measured,
            pages: Vec::new(),
            filed: 0,
            sibling: None,
        };
        let Some((&number, others)) = near.split_first() else { return self.insert(joined, slide) };
        for &other in others {
            joined.absorb(&self.forget(other));
        }
        self.get_mut(number).absorb(&joined);
        number
    }

    fn insert(&mut self, visit: Visit, slide: i64) -> u32 {
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
        self.index(number, slide);
        number
    }

    /// Makes a visit be found by its session, and by time.
    fn index(&mut self, number: u32, slide: i64) {
        let visit = self.get(number);
        let (session, slice) = (visit.session as usize, visit.last.div_euclid(slide));
        if session >= self.of_session.len() {
            self.of_session.resize(session + 1, None);
        }
        let sibling = self.of_session[session].replace(number);
        let visit = self.get_mut(number);
        (visit.filed, visit.sibling) = (slice, sibling);
        self.recency.file(slice, number);
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
        while let Some((list, number)) = self.recency.pop(slice) {
            // What is in another list is a visit that got the number of one that ended in another.
            let Some(visit) = self.visits[number as usize].as_mut().filter(|visit| visit.filed == list)
            else {
                continue;
            };
            let last = visit.last.div_euclid(slide);
            if last <= slice {
                return Some(self.forget(number).session);
            }
            visit.filed = last;
            self.recency.file(last, number);
        }
        None
    }

    /// All visits at their numbers.
    pub(crate) fn all(&self) -> &[Option<Visit>] {
        &self.visits
    }

    /// Visits at their numbers, as [`all`](Self::all) gave them.
    pub(crate) fn restore(visits: Vec<Option<Visit>>, slide: i64) -> Self {
        let mut restored = Self { visits, ..Self::default() };
        for number in 0..restored.visits.len() as u32 {
            match restored.visits[number as usize] {
                None => restored.free.push(number),
                Some(_) => restored.index(number, slide),
            }
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
        let moment = Moment { session, timestamp, measured: None };
        let mut near = Vec::new();
        visits.near(moment, GAP, &mut near);
        visits.join(moment, &near, SLIDE);
    }

    #[test]
    fn a_number_that_is_used_again_is_filed_once() {
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
        // The list of the ended visit still names the number.
        assert_eq!(visits.expire(6, SLIDE), Some(0));
        assert_eq!(visits.expire(6, SLIDE), None);
        assert_eq!((visits.len(), visits.recency.len()), (1, 1));
        assert_eq!(visits.expire(10, SLIDE), Some(1));
        assert_eq!((visits.len(), visits.recency.len()), (0, 0));
    }
}
