//! The objects and rows of responses. Names are those of the Avro schemas; times are milliseconds since the epoch, UTC.

use serde::Serialize;
use utoipa::ToSchema;
use weir_events::SiteTotals;

use super::csv::{Line, Row};
use crate::store::windows::{Page, WindowView};

/// The totals of all pages in one window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Site {
    /// VIEW events.
    pub view_count: i64,
    /// CLICK events.
    pub click_count: i64,
    /// PURCHASE events.
    pub conversion_count: i64,
    /// Exact number of distinct visitors.
    pub unique_users: i32,
    /// Visits with an event in the window.
    pub visits: i64,
    /// Those of them that had exactly one event before the window's end.
    pub bounces: i64,
    /// Clicks per view; 0.0 without views.
    pub engagement_rate: f64,
    /// Share of visits that bounced; null without visits.
    pub bounce_rate: Option<f64>,
}

impl From<SiteTotals> for Site {
    fn from(site: SiteTotals) -> Self {
        let ratio = |part: i64, whole: i64| part as f64 / whole as f64;
        Self {
            view_count: site.view_count,
            click_count: site.click_count,
            conversion_count: site.conversion_count,
            unique_users: site.unique_users,
            visits: site.visits,
            bounces: site.bounces,
            engagement_rate: if site.view_count > 0 { ratio(site.click_count, site.view_count) } else { 0.0 },
            bounce_rate: (site.visits > 0).then(|| ratio(site.bounces, site.visits)),
        }
    }
}

impl Site {
    fn write(&self, line: &mut Line<'_>) {
        line.number(self.view_count);
        line.number(self.click_count);
        line.number(self.conversion_count);
        line.number(self.unique_users);
        line.number(self.visits);
        line.number(self.bounces);
        line.number(self.engagement_rate);
        line.optional(self.bounce_rate);
    }
}

/// One sealed window: final.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WindowTotals {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after it.
    pub window_end: i64,
    /// Whether the numbers of all its pages are here. False only while they arrive, or where the topic has lost them.
    pub complete: bool,
    /// Whether the window begins before the pipeline's first event, so that it has no data of a part of its time.
    pub filling: bool,
    /// How much of its time lies after the first event, milliseconds. Divide by it for rates.
    pub covered_ms: i64,
    /// Pages with an event.
    pub page_count: usize,
    /// All pages together.
    pub site: Site,
}

impl WindowTotals {
    pub(crate) fn of(window: WindowView<'_>) -> Self {
        Self {
            window_start: window.start(),
            window_end: window.end(),
            complete: window.complete(),
            filling: window.filling(),
            covered_ms: window.covered(),
            page_count: window.page_count(),
            site: window.site().into(),
        }
    }
}

impl Row for WindowTotals {
    const COLUMNS: &'static [&'static str] = &[
        "window_start",
        "window_end",
        "complete",
        "page_count",
        "view_count",
        "click_count",
        "conversion_count",
        "unique_users",
        "visits",
        "bounces",
        "engagement_rate",
        "bounce_rate",
        "filling",
        "covered_ms",
    ];

    fn write(&self, line: &mut Line<'_>) {
        line.number(self.window_start);
        line.number(self.window_end);
        line.number(self.complete);
        line.number(self.page_count);
        self.site.write(line);
        line.number(self.filling);
        line.number(self.covered_ms);
    }
}

/// A row with its window in the last columns: a saved table outlives the request that named the window.
pub(crate) struct Windowed<R> {
    row: R,
    window_start: i64,
    window_end: i64,
}

/// Rows of one window, each with that window.
pub(crate) fn windowed<R>(rows: &[R], window_start: i64, window_end: i64) -> Vec<Windowed<&R>> {
    rows.iter().map(|row| Windowed { row, window_start, window_end }).collect()
}

macro_rules! windowed_row {
    ($row:ty, $($column:literal),+) => {
        impl Row for Windowed<&$row> {
            const COLUMNS: &'static [&'static str] = &[$($column,)+ "window_start", "window_end"];

            fn write(&self, line: &mut Line<'_>) {
                self.row.write(line);
                line.number(self.window_start);
                line.number(self.window_end);
            }
        }
    };
}

/// One page in one sealed window: final.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PageNumbers {
    /// The page. Text from events: never markup.
    pub page_url: String,
    /// VIEW events.
    pub view_count: u32,
    /// Exact number of distinct visitors with any event.
    pub unique_users: u32,
    /// CLICK events.
    pub click_count: u32,
    /// PURCHASE events.
    pub conversion_count: u32,
    /// Clicks per view; 0.0 without views; not clamped.
    pub engagement_rate: f64,
    /// Share of the page's visits that had exactly one event.
    pub bounce_rate: f64,
    /// Mean duration of the page's visits, seconds.
    pub avg_session_duration: f64,
}

impl From<Page<'_>> for PageNumbers {
    fn from(page: Page<'_>) -> Self {
        Self {
            page_url: page.url.to_owned(),
            view_count: page.views,
            unique_users: page.users,
            click_count: page.clicks,
            conversion_count: page.conversions,
            engagement_rate: page.engagement_rate,
            bounce_rate: page.bounce_rate,
            avg_session_duration: page.duration,
        }
    }
}

windowed_row!(
    PageNumbers,
    "page_url",
    "view_count",
    "unique_users",
    "click_count",
    "conversion_count",
    "engagement_rate",
    "bounce_rate",
    "avg_session_duration"
);

impl PageNumbers {
    fn write(&self, line: &mut Line<'_>) {
        line.text(&self.page_url);
        line.number(self.view_count);
        line.number(self.unique_users);
        line.number(self.click_count);
        line.number(self.conversion_count);
        line.number(self.engagement_rate);
        line.number(self.bounce_rate);
        line.number(self.avg_session_duration);
    }
}

/// One page in one window of a series. A window without an event of the page has counts of zero and no rates.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after it.
    pub window_end: i64,
    /// VIEW events.
    pub view_count: u32,
    /// Exact number of distinct visitors with any event.
    pub unique_users: u32,
    /// CLICK events.
    pub click_count: u32,
    /// PURCHASE events.
    pub conversion_count: u32,
    /// Clicks per view; null without an event.
    pub engagement_rate: Option<f64>,
    /// Share of the page's visits that had exactly one event; null without an event.
    pub bounce_rate: Option<f64>,
    /// Mean duration of the page's visits, seconds; null without an event.
    pub avg_session_duration: Option<f64>,
    /// Whether the window begins before the pipeline's first event, so that it has no data of a part of its time.
    pub filling: bool,
    /// How much of its time lies after the first event, milliseconds. Divide by it for rates.
    pub covered_ms: i64,
}

impl Point {
    pub(crate) fn of(window: WindowView<'_>, url: &str) -> Self {
        let page = window.page(url);
        let count = |count: fn(Page<'_>) -> u32| page.map_or(0, count);
        Self {
            window_start: window.start(),
            window_end: window.end(),
            view_count: count(|page| page.views),
            unique_users: count(|page| page.users),
            click_count: count(|page| page.clicks),
            conversion_count: count(|page| page.conversions),
            engagement_rate: page.map(|page| page.engagement_rate),
            bounce_rate: page.map(|page| page.bounce_rate),
            avg_session_duration: page.map(|page| page.duration),
            filling: window.filling(),
            covered_ms: window.covered(),
        }
    }
}

impl Row for Point {
    const COLUMNS: &'static [&'static str] = &[
        "window_start",
        "window_end",
        "view_count",
        "unique_users",
        "click_count",
        "conversion_count",
        "engagement_rate",
        "bounce_rate",
        "avg_session_duration",
        "filling",
        "covered_ms",
    ];

    fn write(&self, line: &mut Line<'_>) {
        line.number(self.window_start);
        line.number(self.window_end);
        line.number(self.view_count);
        line.number(self.unique_users);
        line.number(self.click_count);
        line.number(self.conversion_count);
        line.optional(self.engagement_rate);
        line.optional(self.bounce_rate);
        line.optional(self.avg_session_duration);
        line.number(self.filling);
        line.number(self.covered_ms);
    }
}

/// One place in a window's ranking.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Place)]
pub struct RankEntry {
    /// From 1.
    pub rank: i32,
    /// The page.
    pub page_url: String,
    /// VIEW events.
    pub view_count: i64,
    /// Distinct visitors.
    pub unique_users: i32,
    /// Rank in the window one slide before; null if it was not ranked there.
    pub previous_rank: Option<i32>,
}

impl From<weir_events::TopPage> for RankEntry {
    fn from(page: weir_events::TopPage) -> Self {
        let weir_events::TopPage { rank, page_url, view_count, unique_users, previous_rank } = page;
        Self { rank, page_url, view_count, unique_users, previous_rank }
    }
}

windowed_row!(RankEntry, "rank", "page_url", "view_count", "unique_users", "previous_rank");

impl RankEntry {
    fn write(&self, line: &mut Line<'_>) {
        line.number(self.rank);
        line.text(&self.page_url);
        line.number(self.view_count);
        line.number(self.unique_users);
        line.optional(self.previous_rank);
    }
}

/// A page with clearly more views than expected.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Trend {
    /// The page.
    pub page_url: String,
    /// VIEW events.
    pub view_count: i64,
    /// Views expected from the page's usual level and the site's present traffic.
    pub expected: f64,
    /// Over-dispersed Poisson z of `view_count` against `expected`.
    pub score: f64,
    /// Distinct visitors.
    pub unique_users: i32,
}

impl From<weir_events::TrendingPage> for Trend {
    fn from(page: weir_events::TrendingPage) -> Self {
        let weir_events::TrendingPage { page_url, view_count, expected, score, unique_users } = page;
        Self { page_url, view_count, expected, score, unique_users }
    }
}

windowed_row!(Trend, "page_url", "view_count", "expected", "score", "unique_users");

impl Trend {
    fn write(&self, line: &mut Line<'_>) {
        line.text(&self.page_url);
        line.number(self.view_count);
        line.number(self.expected);
        line.number(self.score);
        line.number(self.unique_users);
    }
}
