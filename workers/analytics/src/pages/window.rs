//! The running sums of the window being sealed, updated per event, so that the cost does not depend on size or slide.

use std::collections::BTreeMap;

use super::{
    seen_pages::SeenPages,
    totals::{Counts, Totals},
    visits::{Visit, VisitEvent, Visits},
};
use crate::{
    event::{InternedEvent, Names, SITE},
    settings::Settings,
    snapshot::SnapshotWriter,
    timing_wheel::TimingWheel,
};

/// The running window.
#[derive(Default)]
pub(crate) struct PageWindow {
    totals: Vec<Totals>,
    /// By slice, then by page; the site's counts are their sums.
    slices: BTreeMap<i64, Vec<(u32, Counts)>>,
    /// By user.
    users: Vec<SeenPages>,
    /// Users with an event in the window, by the slice with which their first page may leave it.
    user_lists: TimingWheel<u32>,
    pub(super) visits: Visits,
    /// Empty between slices: reused buffers.
    near: Vec<u32>,
    tally: Tally,
}

/// Counts the events of one slice, by page.
#[derive(Default)]
struct Tally {
    counts: Vec<Counts>,
    pages: Vec<u32>,
}

impl PageWindow {
    /// Writes the whole window.
    pub(crate) fn save(&self, out: &mut SnapshotWriter<'_>) -> postcard::Result<()> {
        out.each(&self.totals)?;
        out.lists(&self.slices)?;
        out.each(&self.users)?;
        out.each(self.visits.all())
    }

    /// Restores a saved window.
    pub(super) fn restore(
        totals: Vec<Totals>,
        slices: BTreeMap<i64, Vec<(u32, Counts)>>,
        mut users: Vec<SeenPages>,
        visits: Vec<Option<Visit>>,
        settings: &Settings,
    ) -> Self {
        // Without slices no user has pages, so `near` does not matter.
        let near = slices.keys().next().copied().unwrap_or_default();
        let mut user_lists = TimingWheel::default();
        for (number, seen_pages) in (0..).zip(&mut users) {
            seen_pages.file_first(near, number, &mut user_lists);
        }
        let visits = Visits::restore(visits, settings.slide, near);
        Self { totals, slices, users, user_lists, visits, ..Self::default() }
    }

    /// Counts events of one slice.
    pub(crate) fn take_in(
        &mut self,
        slice: i64,
        events: &[InternedEvent],
        names: &mut Names,
        settings: &Settings,
    ) {
        for event in events {
            self.tally.count(event);
            self.user(event, slice, names);
            self.visit(event, slice, names, settings);
        }
        self.add_up(slice, names);
        let totals = &mut self.totals;
        self.visits.flush(|seen_pages, before, after| {
            for page in seen_pages.pages().chain([SITE]) {
                self::totals(totals, page).change(before, after);
            }
        });
    }

    /// Adds the tally to the sums and to its slice.
    fn add_up(&mut self, slice: i64, names: &mut Names) {
        let Tally { counts, pages } = &mut self.tally;
        pages.sort_unstable();
        pages.dedup();
        let known = self.slices.entry(slice).or_default();
        for page in pages.drain(..) {
            let counts = std::mem::take(&mut counts[page as usize]);
            for sum in [page, SITE] {
                totals(&mut self.totals, sum).counts.add(counts);
            }
            // Pages come sorted: only a slice that was counted before, by events out of order, needs a search.
            let after_all = known.last().is_none_or(|&(last, _)| last < page);
            let found = if after_all {
                Err(known.len())
            } else {
                known.binary_search_by_key(&page, |&(page, _)| page)
            };
            match found {
                Ok(index) => known[index].1.add(counts),
                Err(index) => {
                    known.insert(index, (page, counts));
                    names.pages.hold(page);
                }
            }
        }
    }

    fn user(&mut self, event: &InternedEvent, slice: i64, names: &mut Names) {
        let number = event.user as usize;
        if number >= self.users.len() {
            self.users.resize_with(number + 1, SeenPages::default);
        }
        let seen_pages = &mut self.users[number];
        if seen_pages.is_empty() {
            totals(&mut self.totals, SITE).users += 1;
            names.users.hold(event.user);
        }
        if seen_pages.see(event.page, slice, event.user, &mut self.user_lists) {
            totals(&mut self.totals, event.page).users += 1;
        }
    }

    fn visit(&mut self, event: &InternedEvent, slice: i64, names: &mut Names, settings: &Settings) {
        let InternedEvent { page, user, session, timestamp, measured, .. } = *event;
        let event = VisitEvent { session, visitor: names.visitor(user), timestamp, measured };
        let mut near = std::mem::take(&mut self.near);
        self.visits.near(event, settings.session_gap, &mut near);
        // A visit that is joined to another passes its pages on to it.
        let mut inherited = Vec::new();
        for &number in near.iter().skip(1) {
            let visit = self.visits.get_mut(number);
            let (seen_pages, flushed) = (std::mem::take(&mut visit.seen_pages), visit.flushed());
            for page in seen_pages.pages().chain((!seen_pages.is_empty()).then_some(SITE)) {
                totals(&mut self.totals, page).weigh(flushed, -1);
            }
            inherited.extend(seen_pages.into_pages(slice));
            names.sessions.release(session);
        }
        if near.is_empty() {
            names.sessions.hold(session);
        }
        let number = self.visits.join(event, &near);
        for (page, seen) in inherited.into_iter().chain([(page, slice)]) {
            let visit = self.visits.get(number);
            let (new_here, flushed) = (visit.seen_pages.is_empty(), visit.flushed());
            if self.visits.see(number, page, seen) {
                for sum in [page].into_iter().chain(new_here.then_some(SITE)) {
                    totals(&mut self.totals, sum).weigh(flushed, 1);
                }
            }
        }
        self.near = near;
    }

    /// Evicts everything up to and including a slice that left the window.
    pub(crate) fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings) {
        let totals = &mut self.totals;
        while let Some((list, user)) = self.user_lists.pop(slice) {
            let seen_pages = &mut self.users[user as usize];
            let had_pages = !seen_pages.is_empty();
            seen_pages.leave((list, user), slice, &mut self.user_lists, |page| {
                self::totals(totals, page).users -= 1
            });
            if had_pages && seen_pages.is_empty() {
                self::totals(totals, SITE).users -= 1;
                names.users.release(user);
            }
        }
        self.visits
            .leave(slice, settings.slide, |page, flushed| self::totals(totals, page).weigh(flushed, -1));
        while let Some(entry) = self.slices.first_entry() {
            if *entry.key() > slice {
                break;
            }
            for (page, counts) in entry.remove() {
                for sum in [page, SITE] {
                    self::totals(totals, sum).counts.subtract(counts);
                }
                names.pages.release(page);
            }
        }
    }

    /// Drops visits that no future event can belong to: those whose last event was at or before a slice.
    pub(crate) fn forget_visits(&mut self, slice: i64, slide: i64, names: &mut Names) {
        while let Some(session) = self.visits.expire(slice, slide) {
            names.sessions.release(session);
        }
    }

    /// The sums of a page.
    pub(super) fn totals(&self, page: u32) -> Totals {
        self.totals.get(page as usize).copied().unwrap_or_default()
    }

    /// Whether a visit that began at or before `time` is kept.
    pub(crate) fn has_visit_since(&self, time: i64) -> bool {
        self.visits.all().iter().flatten().any(|visit| visit.began_by(time))
    }

    /// The pages with an event in the window.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> + '_ {
        let all = self.totals.iter().enumerate();
        all.filter(|(page, totals)| *page as u32 != SITE && totals.users > 0).map(|(page, _)| page as u32)
    }

    /// Events by page, slice by slice, starting at a slice; without the site.
    pub(crate) fn counts_since(&self, first: i64) -> impl Iterator<Item = (u32, Counts)> {
        self.slices.range(first..).flat_map(|(_, pages)| pages.iter().copied())
    }

    /// The first slice with an event, starting at a slice.
    pub(crate) fn first_slice_since(&self, first: i64) -> Option<i64> {
        self.slices.range(first..).next().map(|(&slice, _)| slice)
    }

    /// The pages seen by each user.
    pub(crate) fn users(&self) -> &[SeenPages] {
        &self.users
    }

    /// Whether the window holds no event.
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Number of live (page, visitor) and (page, visit) pairs, including the site.
    pub(crate) fn pairs(&self) -> usize {
        self.totals.iter().map(|totals| (totals.users + totals.visits) as usize).sum()
    }
}

impl Tally {
    fn count(&mut self, event: &InternedEvent) {
        let page = event.page as usize;
        if page >= self.counts.len() {
            self.counts.resize(page + 1, Counts::default());
        }
        let counts = &mut self.counts[page];
        // A page with searches only is pushed several times.
        if *counts == Counts::default() {
            self.pages.push(event.page);
        }
        counts.count(event.kind);
    }
}

fn totals(all: &mut Vec<Totals>, page: u32) -> &mut Totals {
    if page as usize >= all.len() {
        all.resize(page as usize + 1, Totals::default());
    }
    &mut all[page as usize]
}
