//! Sums by page over the window: events, visitors, visits and baselines. The engine's first feature.

mod baseline;
mod saved;
mod seen_pages;
mod totals;
mod visits;
mod window;

use std::ops::Range;

use crate::{
    block::{RowSink, Sums},
    event::{InternedEvent, Names, SITE},
    feature::Feature,
    section::{PAGES, Section, SectionError, VISITORS},
    settings::Settings,
    snapshot::{Sections, SnapshotError, SnapshotWriter},
};
use baseline::Baselines;
use saved::Saved;

pub(crate) use seen_pages::SeenPages;
pub(crate) use totals::Counts;
pub(crate) use window::PageWindow;

/// The sums of the window being sealed, and the baselines.
#[derive(Default)]
pub struct Pages {
    window: PageWindow,
    baselines: Baselines,
    /// The pages of the last block, in order, each held, with its views if it had a row.
    last_emitted_pages: Vec<(u32, Option<u64>)>,
}

impl Pages {
    /// The running window.
    pub(crate) fn window(&self) -> &PageWindow {
        &self.window
    }

    /// The sums of the whole site.
    pub(crate) fn site(&self) -> Sums {
        self.sums(SITE, None)
    }

    /// Number of live (page, visitor) pairs, (page, visit) pairs and visits.
    pub(crate) fn live(&self) -> usize {
        self.window.pairs() + self.window.visits.len()
    }

    /// Decodes the state from the start of `bytes`, and returns the rest.
    pub(crate) fn decode<'a>(
        bytes: &'a [u8],
        names: &Names,
        settings: &Settings,
    ) -> Result<(Self, &'a [u8]), SnapshotError> {
        let (saved, rest) = postcard::take_from_bytes::<Saved>(bytes)?;
        saved.check(names, settings)?;
        let Saved { totals, slices, users, visits, baselines, last_emitted_pages } = saved;
        let window = PageWindow::restore(totals, slices, users, visits, settings);
        Ok((Self { window, baselines, last_emitted_pages }, rest))
    }

    fn note_aligned(&mut self, end: i64, names: &mut Names, settings: &Settings) {
        let index = end.div_euclid(settings.size) - 1;
        let with_rows =
            self.last_emitted_pages.iter().filter(|(_, views)| views.is_some()).map(|&(page, _)| page);
        for page in with_rows.chain([SITE]) {
            let views = self.window.totals(page).counts.views;
            if views > 0 && self.baselines.note(page, index, views) {
                names.pages.hold(page);
            }
        }
    }

    /// Drops visits that can get no more events: a future counted event lies in a window that ends after `end`, and these visits
    /// ended more than a gap before the start of that window.
    fn expire_visits(&mut self, end: i64, names: &mut Names, settings: &Settings) {
        let earliest = end + settings.slide - settings.size;
        let over = settings.slice_of(earliest - settings.session_gap) - 1;
        let left = settings.first_slice(end) - 1;
        self.window.forget_visits(over.min(left), settings.slide, names);
    }

    /// Updates the list of pages: those with a row in this window or in the previous one, or with a baseline. Few change from one
    /// window to the next, so the list is kept sorted instead of rebuilt.
    fn choose_pages(&mut self, names: &mut Names) {
        let names = &mut names.pages;
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
            // Stable sort: fast on a mostly sorted list.
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

impl Feature for Pages {
    /// Stage 2 merges pages row by row (`merge::Pass`), because the rows of a window may not fit into memory.
    type Merged = ();

    fn new(_: &Settings) -> Self {
        Self::default()
    }

    fn is_on(&self) -> bool {
        true
    }

    fn take_in(&mut self, slice: i64, events: &[InternedEvent], names: &mut Names, settings: &Settings) {
        self.window.take_in(slice, events, names, settings);
    }

    fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings) {
        self.window.leave(slice, names, settings);
    }

    fn is_at_rest(&self) -> bool {
        let no_row = self.last_emitted_pages.iter().all(|(_, views)| views.is_none());
        no_row && self.window.is_empty() && !self.baselines.pending()
    }

    fn begin(&mut self, end: i64, names: &mut Names, settings: &Settings) {
        for page in self.baselines.advance(end, settings) {
            names.pages.release(page);
        }
        self.choose_pages(names);
    }

    fn rows(&self) -> usize {
        self.last_emitted_pages.len()
    }

    fn section(&mut self, from: usize, names: &Names, sink: &mut impl RowSink) -> usize {
        let mut row = from;
        while let Some(&(page, previous_views)) = self.last_emitted_pages.get(row) {
            let sums = self.sums(page, previous_views);
            if !sink.page(names.pages.text(page), &sums) {
                break;
            }
            self.last_emitted_pages[row].1 = (sums.users > 0).then_some(sums.views);
            row += 1;
        }
        row
    }

    fn pass_over(&mut self, rows: Range<usize>) {
        for row in rows {
            let (page, _) = self.last_emitted_pages[row];
            let sums = self.window.totals(page);
            self.last_emitted_pages[row].1 = (sums.users > 0).then_some(sums.counts.views);
        }
    }

    fn sealed(&mut self, end: i64, skipped: bool, names: &mut Names, settings: &Settings) {
        if !skipped && end.rem_euclid(settings.size) == 0 {
            self.note_aligned(end, names, settings);
        }
        self.expire_visits(end, names, settings);
    }

    fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        out.section(PAGES);
        self.window.save(out)?;
        out.each(self.baselines.all())?;
        out.each(&self.last_emitted_pages)?;
        if self.window.visits.have_visitors() {
            out.section(VISITORS);
            self.window.visits.visitors().for_each(|visitor| out.bytes(&visitor));
        }
        Ok(())
    }

    fn restore(sections: &Sections<'_>, names: &Names, settings: &Settings) -> Result<Self, SnapshotError> {
        let body = sections.find(PAGES)?.ok_or(SectionError::Missing(PAGES.tag))?;
        let (mut pages, _) = Self::decode(body, names, settings)?;
        if let Some(body) = sections.find(VISITORS)? {
            let is_whole = pages.window.visits.set_visitors(body);
            is_whole.then_some(()).ok_or(SectionError::Malformed(VISITORS.tag))?;
        }
        Ok(pages)
    }

    fn merge((): &mut (), _: &Section) -> Result<(), SectionError> {
        Ok(())
    }
}
