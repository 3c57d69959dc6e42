//! The running sums of the window that is being closed, kept up event by event so that neither size nor slide costs.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use weir_events::EventType;

use crate::{
    intern::Interner,
    pairs::Pairs,
    settings::Settings,
    snapshot::Saved,
    visits::{Figures, Moment, Visits},
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
    pub(crate) measured: Option<i64>,
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
    /// By slice and page; the site's are their sums.
    slices: BTreeMap<i64, BTreeMap<u32, Counts>>,
    users: Pairs,
    members: Pairs,
    pub(crate) visits: Visits,
    /// Empty between events: kept for its memory.
    near: Vec<u32>,
}

impl Window {
    /// Everything the window holds, to be saved.
    pub(crate) fn save(&self) -> Saved<'_> {
        Saved {
            totals: (&self.totals).into(),
            slices: Cow::Borrowed(&self.slices),
            users: self.users.by_slice(),
            members: self.members.by_slice(),
            visits: self.visits.all().into(),
        }
    }

    /// The window that was saved.
    pub(crate) fn restore(saved: Saved<'_>, settings: &Settings) -> Self {
        Self {
            totals: saved.totals.into_owned(),
            slices: saved.slices.into_owned(),
            users: Pairs::restore(saved.users),
            members: Pairs::restore(saved.members),
            visits: Visits::restore(saved.visits.into_owned(), settings.slide),
            near: Vec::new(),
        }
    }

    /// Counts an event in the slice of its timestamp.
    pub(crate) fn count(&mut self, click: Click, names: &mut Names, settings: &Settings) {
        let slice = settings.slice_of(click.timestamp);
        let counted = self.slices.entry(slice).or_default().entry(click.page).or_insert_with(|| {
            names.pages.hold(click.page);
            Counts::default()
        });
        counted.add(click.kind);
        for page in [click.page, SITE] {
            let totals = totals(&mut self.totals, page);
            totals.counts.add(click.kind);
            if self.users.see(page, click.user, slice) {
                totals.users += 1;
                if page == SITE {
                    names.users.hold(click.user);
                }
            }
        }
        self.visit(click, slice, names, settings);
    }

    fn visit(&mut self, click: Click, slice: i64, names: &mut Names, settings: &Settings) {
        let moment = Moment { session: click.session, timestamp: click.timestamp, measured: click.measured };
        let mut near = std::mem::take(&mut self.near);
        self.visits.near(moment, settings.session_gap, &mut near);
        // A visit that ends in another one leaves its pages to it.
        let mut inherited = Vec::new();
        for &number in near.iter().skip(1) {
            self.weigh(number, -1);
            for page in std::mem::take(&mut self.visits.get_mut(number).pages) {
                if let Some(seen) = self.members.remove(page, number) {
                    inherited.push((page, seen));
                }
            }
            names.sessions.release(click.session);
        }
        let before = near.first().map(|&number| self.visits.get(number).figures());
        let number = self.visits.join(moment, &near, settings.slide);
        let after = self.visits.get(number).figures();
        match before {
            None => names.sessions.hold(click.session),
            Some(before) => {
                for &page in &self.visits.get(number).pages {
                    totals(&mut self.totals, page).change(before, after);
                }
            }
        }
        for (page, seen) in inherited.into_iter().chain([(click.page, slice), (SITE, slice)]) {
            if self.members.see(page, number, seen) {
                self.visits.get_mut(number).pages.push(page);
                totals(&mut self.totals, page).weigh(after, 1);
            }
        }
        self.near = near;
    }

    /// Puts a visit's figures into the sums of its pages (`sign` 1), or takes them out (-1).
    fn weigh(&mut self, number: u32, sign: i64) {
        let visit = self.visits.get(number);
        for &page in &visit.pages {
            totals(&mut self.totals, page).weigh(visit.figures(), sign);
        }
    }

    /// Lets go of everything up to and including a slice that left the window.
    pub(crate) fn leave(&mut self, slice: i64, names: &mut Names) {
        while let Some((page, user)) = self.users.expire(slice) {
            totals(&mut self.totals, page).users -= 1;
            if page == SITE {
                names.users.release(user);
            }
        }
        while let Some((page, number)) = self.members.expire(slice) {
            let visit = self.visits.get_mut(number);
            visit.pages.retain(|&p| p != page);
            totals(&mut self.totals, page).weigh(visit.figures(), -1);
        }
        while let Some(entry) = self.slices.first_entry() {
            if *entry.key() > slice {
                break;
            }
            for (page, counts) in entry.remove() {
                for sum in [page, SITE] {
                    totals(&mut self.totals, sum).counts.subtract(counts);
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
    pub(crate) fn counts_since(&self, first: i64) -> impl Iterator<Item = (u32, &Counts)> {
        self.slices.range(first..).flat_map(|(_, pages)| pages.iter().map(|(&page, counts)| (page, counts)))
    }

    /// Who was on which page; the site is among the pages.
    pub(crate) fn users(&self) -> &Pairs {
        &self.users
    }

    /// Whether the window holds no event.
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Live (page, visitor) and (page, visit) pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.users.len() + self.members.len()
    }
}

fn totals(all: &mut Vec<Totals>, page: u32) -> &mut Totals {
    if page as usize >= all.len() {
        all.resize(page as usize + 1, Totals::default());
    }
    &mut all[page as usize]
}

impl Totals {
    fn weigh(&mut self, figures: Figures, sign: i64) {
        self.visits = (i64::from(self.visits) + sign) as u32;
        self.bounces = (i64::from(self.bounces) + sign * i64::from(figures.bounced)) as u32;
        self.duration += sign * figures.duration;
    }

    /// A visit that is among them already has other figures now.
    fn change(&mut self, before: Figures, after: Figures) {
        self.bounces = self.bounces - u32::from(before.bounced) + u32::from(after.bounced);
        self.duration += after.duration - before.duration;
    }
}

impl Counts {
    pub(crate) fn add(&mut self, kind: EventType) {
        match kind {
            EventType::View => self.views += 1,
            EventType::Click => self.clicks += 1,
            EventType::Purchase => self.conversions += 1,
            EventType::AddToCart => self.carts += 1,
            EventType::Search => {}
        }
    }

    fn subtract(&mut self, other: Self) {
        self.views -= other.views;
        self.clicks -= other.clicks;
        self.conversions -= other.conversions;
        self.carts -= other.carts;
    }
}
