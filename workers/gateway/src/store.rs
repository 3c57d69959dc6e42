//! The sealed windows of the last day, and what the open one shows.

use std::collections::{BTreeMap, VecDeque};

use weir_analytics::{Interner, Live};
use weir_events::{PageAnalytics, TopPages};

/// What a store holds on to at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Event time that is kept, counted back from the newest window's end, milliseconds.
    pub keep: i64,
    /// Rows that are kept, 40 bytes each: the oldest windows go first.
    pub rows: usize,
}

impl Default for Limits {
    /// A day, and 160 MB of rows: a day of 460 pages at a window every 10 s.
    fn default() -> Self {
        Self { keep: 86_400_000, rows: 4_000_000 }
    }
}

/// One page in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    page: u32,
    users: u32,
    views: u32,
    clicks: u32,
    conversions: u32,
    bounce_rate: f64,
    avg_session_duration: f64,
}

/// A sealed window.
#[derive(Debug, Default)]
struct Window {
    top: Option<TopPages>,
    rows: Vec<Row>,
    /// Views, clicks and conversions of the rows.
    sums: [i64; 3],
}

/// Sealed windows by end, in memory; a restart reads them from the topics again.
pub struct Store {
    limits: Limits,
    pages: Interner,
    windows: BTreeMap<i64, Window>,
    rows: usize,
    /// The newest window that is whole.
    newest: Option<i64>,
    live: BTreeMap<Option<i32>, Live>,
    /// Ends of windows that became whole since somebody last looked.
    news: VecDeque<i64>,
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pages: Interner::default(),
            windows: BTreeMap::new(),
            rows: 0,
            newest: None,
            live: BTreeMap::new(),
            news: VecDeque::new(),
        }
    }

    /// Takes a page's final numbers: each once, as committed records are read.
    pub fn row(&mut self, row: &PageAnalytics) {
        if self.is_forgotten(row.window_end) {
            return;
        }
        let page = self.pages.acquire(&row.page_url);
        let window = self.windows.entry(row.window_end).or_default();
        for (sum, count) in
            window.sums.iter_mut().zip([row.view_count, row.click_count, row.conversion_count])
        {
            *sum += count;
        }
        let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        window.rows.push(Row {
            page,
            users: number(i64::from(row.unique_users)),
            views: number(row.view_count),
            clicks: number(row.click_count),
            conversions: number(row.conversion_count),
            bounce_rate: row.bounce_rate,
            avg_session_duration: row.avg_session_duration,
        });
        self.rows += 1;
        self.look_at(row.window_end);
    }

    /// Takes a window's ranking.
    pub fn top(&mut self, top: TopPages) {
        let end = top.window_end;
        if !self.is_forgotten(end) {
            self.windows.entry(end).or_default().top.get_or_insert(top);
            self.look_at(end);
        }
    }

    /// Takes what a partition's open window shows.
    pub fn live(&mut self, live: Live) {
        self.live.insert(live.partition, live);
    }

    /// What the open window shows, all partitions together.
    pub fn open(&self) -> Option<Live> {
        Live::together(self.live.values())
    }

    /// The newest window that is whole.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Windows that became whole since the last call.
    pub fn take_news(&mut self) -> Vec<i64> {
        self.news.drain(..).collect()
    }

    /// A window's ranking, trends and totals.
    pub fn ranking(&self, end: i64) -> Option<&TopPages> {
        self.windows.get(&end)?.top.as_ref()
    }

    /// Rankings of the windows that end in a range, in order.
    pub fn rankings(&self, from: i64, to: i64) -> impl Iterator<Item = &TopPages> {
        let (from, to) = (from.min(to), to);
        self.windows.range(from..=to).filter_map(|(_, window)| window.top.as_ref())
    }

    /// All pages of a window, in no order.
    pub fn pages(&self, end: i64) -> Vec<PageAnalytics> {
        let Some((window, start)) =
            self.windows.get(&end).and_then(|w| Some((w, w.top.as_ref()?.window_start)))
        else {
            return Vec::new();
        };
        window.rows.iter().map(|row| self.told(row, start, end)).collect()
    }

    /// One page's numbers in the windows that end in a range, in order; windows without it are left out.
    pub fn page(&self, url: &str, from: i64, to: i64) -> Vec<PageAnalytics> {
        let Some(page) = self.pages.find(url) else { return Vec::new() };
        let (from, to) = (from.min(to), to);
        let found = self.windows.range(from..=to).filter_map(|(&end, window)| {
            let row = window.rows.iter().find(|row| row.page == page)?;
            Some(self.told(row, window.top.as_ref()?.window_start, end))
        });
        found.collect()
    }

    /// How many windows and rows are held.
    pub fn held(&self) -> (usize, usize) {
        (self.windows.len(), self.rows)
    }

    fn told(&self, row: &Row, window_start: i64, window_end: i64) -> PageAnalytics {
        PageAnalytics {
            page_url: self.pages.text(row.page).to_owned(),
            window_start,
            window_end,
            view_count: i64::from(row.views),
            unique_users: i32::try_from(row.users).unwrap_or(i32::MAX),
            click_count: i64::from(row.clicks),
            conversion_count: i64::from(row.conversions),
            engagement_rate: if row.views > 0 { f64::from(row.clicks) / f64::from(row.views) } else { 0.0 },
            bounce_rate: row.bounce_rate,
            avg_session_duration: row.avg_session_duration,
        }
    }

    fn is_forgotten(&self, end: i64) -> bool {
        self.windows.last_key_value().is_some_and(|(newest, _)| end <= newest - self.limits.keep)
    }

    /// Notes a window that became whole: its rows add up to its totals.
    fn look_at(&mut self, end: i64) {
        let Some(window) = self.windows.get(&end) else { return };
        let Some(top) = &window.top else { return };
        let totals = [top.site.view_count, top.site.click_count, top.site.conversion_count];
        let ranked = |url: &str| {
            self.pages.find(url).is_some_and(|page| window.rows.iter().any(|row| row.page == page))
        };
        let whole = window.sums == totals && top.pages.iter().all(|page| ranked(&page.page_url));
        if whole && self.newest.is_none_or(|newest| newest < end) {
            self.newest = Some(end);
            self.news.push_back(end);
            if self.news.len() > 1_000 {
                self.news.pop_front();
            }
            self.forget();
        }
    }

    fn forget(&mut self) {
        while let Some(oldest) = self.windows.first_entry() {
            let old = self.newest.is_some_and(|newest| *oldest.key() <= newest - self.limits.keep);
            if !old && self.rows <= self.limits.rows {
                break;
            }
            for row in oldest.remove().rows {
                self.pages.release(row.page);
                self.rows -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
