//! The running sums of the window that is being closed, kept up event by event so that neither size nor slide costs.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use weir_events::EventType;

use crate::{
    intern::Interner,
    seen_pages::SeenPages,
    settings::Settings,
    snapshot::Saved,
    timing_wheel::TimingWheel,
    visits::{VisitEvent, VisitMetrics, Visits},
};

/// The number that stands for all pages together.
pub(crate) const SITE: u32 = 0;

/// Sums of one page, or of the site, over the window.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) users: u32,
    pub(crate) visits: u32,
    pub(crate) bounces: u32,
    pub(crate) duration: i64,
}

/// Events by what the results count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) views: u64,
    pub(crate) clicks: u64,
    pub(crate) conversions: u64,
    /// For live values only.
    pub(crate) carts: u64,
}

/// An event with its strings as numbers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Click {
    pub(crate) page: u32,
    pub(crate) user: u32,
    pub(crate) session: u32,
    pub(crate) kind: EventType,
    pub(crate) timestamp: i64,
    /// The visit's age as the client told it, milliseconds, where that is believable.
    pub(crate) measured: Option<u32>,
}

/// Strings of everything that is live.
pub(crate) struct Names {
    pub(crate) pages: Interner,
    pub(crate) users: Interner,
    pub(crate) sessions: Interner,
}

/// The running window.
#[derive(Default)]
pub(crate) struct Window {
    totals: Vec<Totals>,
    /// By slice, then by page; the site's are their sums.
    slices: BTreeMap<i64, Vec<(u32, Counts)>>,
    /// By user.
    users: Vec<SeenPages>,
    /// Users with an event in the window, by the slice in which the first of their pages may leave it.
    user_lists: TimingWheel<u32>,
    pub(crate) visits: Visits,
    /// Nothing between slices: kept for their memory.
    near: Vec<u32>,
    tally: Tally,
}

/// Counts the events of one slice, by page.
#[derive(Default)]
struct Tally {
    counts: Vec<Counts>,
    pages: Vec<u32>,
}

impl Window {
    /// Everything the window holds, to be saved.
    pub(crate) fn save(&self) -> Saved<'_> {
        Saved {
            totals: (&self.totals).into(),
            slices: Cow::Borrowed(&self.slices),
            users: (&self.users).into(),
            visits: self.visits.all().into(),
        }
    }

    /// The window that was saved.
    pub(crate) fn restore(saved: Saved<'_>, settings: &Settings) -> Self {
        let slices = saved.slices.into_owned();
        // Without an event in the window nobody was on a page in it.
        let near = slices.keys().next().copied().unwrap_or_default();
        let (mut users, mut user_lists) = (saved.users.into_owned(), TimingWheel::default());
        for (number, seen_pages) in (0..).zip(&mut users) {
            seen_pages.file_first(near, number, &mut user_lists);
        }
        let visits = Visits::restore(saved.visits.into_owned(), settings.slide, near);
        Self { totals: saved.totals.into_owned(), slices, users, user_lists, visits, ..Self::default() }
    }

    /// Counts events of one slice.
    pub(crate) fn take_in(&mut self, slice: i64, clicks: &[Click], names: &mut Names, settings: &Settings) {
        for click in clicks {
            self.tally.count(click);
            self.user(click, slice, names);
            self.visit(click, slice, names, settings);
        }
        self.add_up(slice, names);
        let totals = &mut self.totals;
        self.visits.flush(|seen_pages, before, after| {
            for page in seen_pages.pages().chain([SITE]) {
                self::totals(totals, page).change(before, after);
            }
        });
    }

    /// Puts what was tallied into the sums and into its slice.
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
            // The pages come in order: only those of events out of order find others there already.
            let after_all = known.last().is_none_or(|&(last, _)| last < page);
            let place = if after_all {
                Err(known.len())
            } else {
                known.binary_search_by_key(&page, |&(page, _)| page)
            };
            match place {
                Ok(place) => known[place].1.add(counts),
                Err(place) => {
                    known.insert(place, (page, counts));
                    names.pages.hold(page);
                }
            }
        }
    }

    fn user(&mut self, click: &Click, slice: i64, names: &mut Names) {
        let number = click.user as usize;
        if number >= self.users.len() {
            self.users.resize_with(number + 1, SeenPages::default);
        }
        let seen_pages = &mut self.users[number];
        if seen_pages.is_empty() {
            totals(&mut self.totals, SITE).users += 1;
            names.users.hold(click.user);
        }
        if seen_pages.see(click.page, slice, click.user, &mut self.user_lists) {
            totals(&mut self.totals, click.page).users += 1;
        }
    }

    fn visit(&mut self, click: &Click, slice: i64, names: &mut Names, settings: &Settings) {
        let event =
            VisitEvent { session: click.session, timestamp: click.timestamp, measured: click.measured };
        let mut near = std::mem::take(&mut self.near);
        self.visits.near(event, settings.session_gap, &mut near);
        // A visit that ends in another one leaves its pages to it.
        let mut inherited = Vec::new();
        for &number in near.iter().skip(1) {
            let visit = self.visits.get_mut(number);
            let (seen_pages, flushed) = (std::mem::take(&mut visit.seen_pages), visit.flushed());
            for page in seen_pages.pages().chain((!seen_pages.is_empty()).then_some(SITE)) {
                totals(&mut self.totals, page).weigh(flushed, -1);
            }
            inherited.extend(seen_pages.into_pages(slice));
            names.sessions.release(click.session);
        }
        if near.is_empty() {
            names.sessions.hold(click.session);
        }
        let number = self.visits.join(event, &near);
        for (page, seen) in inherited.into_iter().chain([(click.page, slice)]) {
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

    /// Lets go of everything up to and including a slice that left the window.
    pub(crate) fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings) {
        let totals = &mut self.totals;
        while let Some((list, user)) = self.user_lists.pop(slice) {
            let seen_pages = &mut self.users[user as usize];
            let was_there = !seen_pages.is_empty();
            seen_pages.leave((list, user), slice, &mut self.user_lists, |page| {
                self::totals(totals, page).users -= 1
            });
            if was_there && seen_pages.is_empty() {
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

    /// Forgets visits that no event to come can belong to: those whose last event was at or before a slice.
    pub(crate) fn forget_visits(&mut self, slice: i64, slide: i64, names: &mut Names) {
        while let Some(session) = self.visits.expire(slice, slide) {
            names.sessions.release(session);
        }
    }

    /// The sums of a page.
    pub(crate) fn totals(&self, page: u32) -> Totals {
        self.totals.get(page as usize).copied().unwrap_or_default()
    }

    /// The pages with an event in the window.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> + '_ {
        let all = self.totals.iter().enumerate();
        all.filter(|(page, totals)| *page as u32 != SITE && totals.users > 0).map(|(page, _)| page as u32)
    }

    /// Events by page, slice by slice, from a slice on; the site is not among the pages.
    pub(crate) fn counts_since(&self, first: i64) -> impl Iterator<Item = (u32, Counts)> {
        self.slices.range(first..).flat_map(|(_, pages)| pages.iter().copied())
    }

    /// The first slice with an event, from a slice on.
    pub(crate) fn first_slice_since(&self, first: i64) -> Option<i64> {
        self.slices.range(first..).next().map(|(&slice, _)| slice)
    }

    /// Who was on which page, by user.
    pub(crate) fn users(&self) -> &[SeenPages] {
        &self.users
    }

    /// Whether the window holds no event.
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Live (page, visitor) and (page, visit) pairs; the site is among the pages.
    pub(crate) fn pairs(&self) -> usize {
        self.totals.iter().map(|totals| (totals.users + totals.visits) as usize).sum()
    }
}

impl Tally {
    fn count(&mut self, click: &Click) {
        let page = click.page as usize;
        if page >= self.counts.len() {
            self.counts.resize(page + 1, Counts::default());
        }
        let counts = &mut self.counts[page];
        // One that is only searched on comes several times.
        if *counts == Counts::default() {
            self.pages.push(click.page);
        }
        counts.count(click.kind);
    }
}

fn totals(all: &mut Vec<Totals>, page: u32) -> &mut Totals {
    if page as usize >= all.len() {
        all.resize(page as usize + 1, Totals::default());
    }
    &mut all[page as usize]
}

impl Totals {
    fn weigh(&mut self, metrics: VisitMetrics, sign: i64) {
        self.visits = (i64::from(self.visits) + sign) as u32;
        self.bounces = (i64::from(self.bounces) + sign * i64::from(metrics.bounced)) as u32;
        self.duration += sign * metrics.duration;
    }

    /// A visit that is among them already has other metrics now.
    fn change(&mut self, before: VisitMetrics, after: VisitMetrics) {
        self.bounces = self.bounces - u32::from(before.bounced) + u32::from(after.bounced);
        self.duration += after.duration - before.duration;
    }
}

impl Counts {
    pub(crate) fn count(&mut self, kind: EventType) {
        match kind {
            EventType::View => self.views += 1,
            EventType::Click => self.clicks += 1,
            EventType::Purchase => self.conversions += 1,
            EventType::AddToCart => self.carts += 1,
            EventType::Search => {}
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.views += other.views;
        self.clicks += other.clicks;
        self.conversions += other.conversions;
        self.carts += other.carts;
    }

    fn subtract(&mut self, other: Self) {
        self.views -= other.views;
        self.clicks -= other.clicks;
        self.conversions -= other.conversions;
        self.carts -= other.carts;
    }
}
