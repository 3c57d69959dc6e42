//! The sealed windows of the last day, packed in memory.
//!
//! A page's URL is kept once, a page's numbers of a window in 40 bytes, so a day of 100 pages every 10 seconds takes some
//! 40 MB. Two bounds always hold: age, against the newest window (event time, so that a replay of last year is kept
//! as today is), and bytes. The oldest window is evicted first.

#[cfg(test)]
mod tests;
mod urls;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weir_events::{PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage};
use weir_manifest::Role;

use urls::UrlInterner;
use window::{PackedRow, StoredWindow};

/// Bounds of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Age of a window's end against the newest, milliseconds.
    pub age: i64,
    /// Bytes of all windows, without the pages' URLs.
    pub bytes: usize,
}

impl Default for Bounds {
    /// 24 hours, 512 MiB.
    fn default() -> Self {
        Self { age: 24 * 3_600_000, bytes: 512 << 20 }
    }
}

/// The sealed windows. The result does not depend on the order of records or on records read twice.
#[derive(Default)]
pub struct WindowStore {
    bounds: Bounds,
    slide: i64,
    /// The end of the earliest window ever added.
    first: Option<i64>,
    /// Whether that was the pipeline's first: the topic still had its first record when it was read.
    pub(crate) begins: bool,
    urls: UrlInterner,
    windows: BTreeMap<i64, StoredWindow>,
    dirty: BTreeSet<i64>,
    bytes: usize,
    refused: u64,
}

/// The size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Windows.
    pub windows: usize,
    /// Distinct pages.
    pub pages: usize,
    /// Bytes of all windows, without the pages' URLs.
    pub bytes: usize,
    /// Records refused because a count was out of range.
    pub refused: u64,
}

/// One page in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Page<'a> {
    /// The page.
    pub url: &'a str,
    /// VIEW events.
    pub views: u32,
    /// Distinct visitors.
    pub users: u32,
    /// CLICK events.
    pub clicks: u32,
    /// PURCHASE events.
    pub conversions: u32,
    /// Clicks per view; 0.0 without views.
    pub engagement_rate: f64,
    /// Share of the page's visits with exactly one event.
    pub bounce_rate: f64,
    /// Mean duration of the page's visits, seconds.
    pub duration: f64,
}

/// A sealed window, for reading.
#[derive(Clone, Copy)]
pub struct WindowView<'a> {
    end: i64,
    window: &'a StoredWindow,
    urls: &'a UrlInterner,
    began: Option<i64>,
}

/// A copy of a window's pages, to be searched and sorted without holding the lock.
pub struct WindowSnapshot {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after it.
    pub end: i64,
    /// As [`WindowView::complete`].
    pub complete: bool,
    /// As [`WindowView::filling`].
    pub filling: bool,
    rows: Vec<(Arc<str>, PackedRow)>,
}

impl WindowSnapshot {
    /// Every page with an event, in no meaningful order.
    pub fn pages(&self) -> impl Iterator<Item = Page<'_>> {
        self.rows.iter().map(|(url, row)| page(url, row))
    }
}

impl WindowStore {
    /// An empty store of windows whose ends lie `slide` milliseconds apart.
    pub fn new(bounds: Bounds, slide: i64) -> Self {
        Self { bounds, slide, ..Self::default() }
    }

    /// Adds a page's row. Call [`WindowStore::flush`] before reading.
    pub fn row(&mut self, row: &PageAnalytics) {
        if !self.in_time(row.window_end) {
            return;
        }
        let Some(packed) = StoredWindow::row(&mut self.urls, row) else {
            self.refused += 1;
            return;
        };
        let window = self.windows.entry(row.window_end).or_default();
        window.start = row.window_start;
        window.rows.push(packed);
        self.dirty.insert(row.window_end);
    }

    /// Adds a window's ranking. Call [`WindowStore::flush`] before reading.
    pub fn top(&mut self, top: &TopPages) {
        self.first = Some(self.first.map_or(top.window_end, |first| first.min(top.window_end)));
        if !self.in_time(top.window_end) {
            return;
        }
        let window = self.windows.entry(top.window_end).or_default();
        window.start = top.window_start;
        window.rank(&mut self.urls, top);
        self.dirty.insert(top.window_end);
    }

    /// Drops everything read from the topic with this role.
    pub(crate) fn forget(&mut self, role: Role) {
        if !matches!(role, Role::Results | Role::TopPages) {
            return;
        }
        if role == Role::TopPages {
            (self.first, self.begins) = (None, false);
        }
        for window in self.windows.values_mut() {
            match role {
                Role::Results => window.forget_rows(&mut self.urls),
                _ => window.forget_ranking(&mut self.urls),
            }
        }
        self.windows.retain(|_, window| !window.is_empty());
        self.bytes = self.windows.values().map(StoredWindow::bytes).sum();
    }

    /// Makes added records readable, and evicts windows until the bounds hold. Returns the ends of the windows that this
    /// completed, earliest first.
    pub fn flush(&mut self) -> Vec<i64> {
        let mut completed = Vec::new();
        for end in std::mem::take(&mut self.dirty) {
            let Some(window) = self.windows.get_mut(&end) else { continue };
            let before = window.complete;
            window.flush(&mut self.urls);
            if window.complete && !before {
                completed.push(end);
            }
        }
        self.bytes = self.windows.values().map(StoredWindow::bytes).sum();
        let newest = self.windows.last_key_value().map_or(0, |(end, _)| *end);
        while let Some(oldest) = self.windows.first_entry()
            && (*oldest.key() < newest - self.bounds.age || self.bytes > self.bounds.bytes)
        {
            let oldest = oldest.remove();
            self.bytes -= oldest.bytes();
            oldest.release(&mut self.urls);
        }
        completed
    }

    fn in_time(&self, end: i64) -> bool {
        self.windows.last_key_value().is_none_or(|(newest, _)| end >= newest - self.bounds.age)
    }

    /// The newest complete window, or the newest ranked one if none is complete.
    pub fn latest(&self) -> Option<WindowView<'_>> {
        let mut newest_first = self.windows.iter().rev();
        newest_first
            .find(|(_, window)| window.complete)
            .or_else(|| self.windows.iter().rev().find(|(_, window)| window.ranking.is_some()))
            .map(|(&end, window)| self.view(end, window))
    }

    /// The ranked window that ends at `end`.
    pub fn window(&self, end: i64) -> Option<WindowView<'_>> {
        let window = self.windows.get(&end).filter(|window| window.ranking.is_some())?;
        Some(self.view(end, window))
    }

    /// The ranked windows that end in `from..=to`, earliest first.
    pub fn windows(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = WindowView<'_>> {
        let range = if from <= to { Some(self.windows.range(from..=to)) } else { None };
        range
            .into_iter()
            .flatten()
            .filter(|(_, window)| window.ranking.is_some())
            .map(|(&end, window)| self.view(end, window))
    }

    /// Start of the slice of the pipeline's first event; `None` where the topic no longer had its first window. A window without any
    /// event has no result, so the first one ends with that slice.
    pub fn began(&self) -> Option<i64> {
        self.first.filter(|_| self.begins).map(|first| first - self.slide)
    }

    /// Whether any window mentions the page.
    pub fn contains_page(&self, url: &str) -> bool {
        self.urls.find(url).is_some()
    }

    /// The pages that a request names: the one with exactly this URL; or, for an absolute path, all pages with this path on any host,
    /// in order. Scans all pages if the URL is unknown.
    pub fn resolve(&self, url: &str) -> Vec<String> {
        if self.contains_page(url) {
            return vec![url.to_owned()];
        }
        let mut found: Vec<String> = match url.starts_with('/') {
            true => self.urls.all().filter(|name| path(name) == url).map(str::to_owned).collect(),
            false => Vec::new(),
        };
        found.sort_unstable();
        found
    }

    /// Sizes, and the number of refused records.
    pub fn stats(&self) -> StoreStats {
        let (windows, pages) = (self.windows.len(), self.urls.len());
        StoreStats { windows, pages, bytes: self.bytes, refused: self.refused }
    }

    fn view<'a>(&'a self, end: i64, window: &'a StoredWindow) -> WindowView<'a> {
        WindowView { end, window, urls: &self.urls, began: self.began() }
    }
}

impl<'a> WindowView<'a> {
    /// First millisecond.
    pub fn start(&self) -> i64 {
        self.window.start
    }

    /// First millisecond after it.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Whether it begins before the first event, so that a part of its time has no data.
    pub fn filling(&self) -> bool {
        self.began.is_some_and(|began| self.start() < began)
    }

    /// The part of its time after the first event, milliseconds: all of it if the first event is not known.
    pub fn covered(&self) -> i64 {
        self.end - self.began.unwrap_or(i64::MIN).max(self.start())
    }

    /// Whether the rows of all its pages are there: as many as the ranking has, and their sums are the site's. Rankings of the first version
    /// have no number of pages.
    pub fn complete(&self) -> bool {
        self.window.complete
    }

    /// How many pages have an event.
    pub fn page_count(&self) -> usize {
        self.window.rows.len()
    }

    /// A copy of all its pages.
    pub fn snapshot(&self) -> WindowSnapshot {
        let rows = self.window.rows.iter().map(|row| (self.urls.shared(row.page), *row));
        WindowSnapshot {
            start: self.start(),
            end: self.end(),
            complete: self.complete(),
            filling: self.filling(),
            rows: rows.collect(),
        }
    }

    /// One page; `None` if it has no event.
    pub fn page(&self, url: &str) -> Option<Page<'a>> {
        let row = self.window.find(self.urls.find(url)?)?;
        Some(page(self.urls.url(row.page), row))
    }

    /// The site's totals.
    pub fn site(&self) -> SiteTotals {
        self.window.ranking.as_ref().map_or(SiteTotals::default(), |ranking| ranking.site)
    }

    /// Whether too few windows precede it to detect trends.
    pub fn warming_up(&self) -> bool {
        self.window.ranking.as_ref().is_some_and(|ranking| ranking.warming_up)
    }

    /// The most viewed pages, first rank first.
    pub fn top(&self) -> Vec<TopPage> {
        let ranks = self.window.ranking.iter().flat_map(|ranking| &ranking.ranks);
        let page = |rank: &window::PackedRank| TopPage {
            rank: rank.rank,
            page_url: self.urls.url(rank.page).to_owned(),
            view_count: rank.views,
            unique_users: rank.users,
            previous_rank: rank.previous_rank,
        };
        ranks.map(page).collect()
    }

    /// The trending pages, highest score first.
    pub fn trending(&self) -> Vec<TrendingPage> {
        let trends = self.window.ranking.iter().flat_map(|ranking| &ranking.trends);
        let page = |trend: &window::PackedTrend| TrendingPage {
            page_url: self.urls.url(trend.page).to_owned(),
            view_count: trend.views,
            expected: trend.expected,
            score: trend.score,
            unique_users: trend.users,
        };
        trends.map(page).collect()
    }
}

/// A URL without scheme and host; that of a bare host is `/`.
fn path(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://").filter(|_| !url.starts_with('/')) else { return url };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

fn page<'a>(url: &'a str, row: &PackedRow) -> Page<'a> {
    Page {
        url,
        views: row.views,
        users: row.users,
        clicks: row.clicks,
        conversions: row.conversions,
        engagement_rate: if row.views == 0 { 0.0 } else { f64::from(row.clicks) / f64::from(row.views) },
        bounce_rate: row.bounce_rate,
        duration: row.duration,
    }
}
