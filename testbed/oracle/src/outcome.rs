//! What a computation ends with.

use std::collections::BTreeMap;

/// Everything the pipeline has to say about a set of logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Every window that the pipeline sealed and that has a row, by end.
    pub windows: Vec<Window>,
    /// The greatest end that the pipeline sealed, with rows or without; `None` while some partition has no watermark.
    pub sealed: Option<i64>,
    /// For each partition, the places of its late events in its log, from 0.
    pub late: Vec<Vec<usize>>,
    /// For each partition, the places of its partly late events in its log: they count, but not in all of their windows.
    pub partly_late: Vec<Vec<usize>>,
    /// For each partition, the places of its duplicates in its log; none of them is late or partly late.
    pub duplicates: Vec<Vec<usize>>,
    /// For each partition, the places of the events in its log that count under the page `(other)`.
    pub other_pages: Vec<Vec<usize>>,
    /// The windows that are not whole, by end, with the number of partly late events that each lacks.
    pub not_whole: BTreeMap<i64, usize>,
}

/// The final numbers of `[start, end)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after.
    pub end: i64,
    /// Every page with an event, by URL.
    pub pages: Vec<Page>,
    /// The most viewed pages, first rank first.
    pub top: Vec<Ranked>,
    /// Too few aligned windows lie behind to say what is usual.
    pub warming_up: bool,
    /// Pages with unusually many views, highest score first.
    pub trending: Vec<Trend>,
    /// All pages together.
    pub site: Site,
}

/// One page in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its URL.
    pub page: String,
    /// VIEW events.
    pub view_count: i64,
    /// Distinct users with any event.
    pub unique_users: i32,
    /// CLICK events.
    pub click_count: i64,
    /// PURCHASE events.
    pub conversion_count: i64,
    /// Clicks per view; 0.0 without views.
    pub engagement_rate: f64,
    /// Bounces per visit.
    pub bounce_rate: f64,
    /// Mean duration of the page's visits, seconds.
    pub avg_session_duration: f64,
    /// Visits with an event on the page in the window.
    pub visits: i64,
    /// Those of them with exactly one event before the window's end.
    pub bounces: i64,
    /// Sum of the visits' durations as of the window's end, milliseconds.
    pub duration_sum_ms: i64,
}

/// One place in the ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// From 1.
    pub rank: i32,
    /// The page's URL.
    pub page: String,
    /// VIEW events.
    pub view_count: i64,
    /// Distinct users.
    pub unique_users: i32,
    /// Rank in the window one slide before.
    pub previous_rank: Option<i32>,
}

/// One page with more views than expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// The page's URL.
    pub page: String,
    /// VIEW events x.
    pub view_count: i64,
    /// Expected views e.
    pub expected: f64,
    /// How far x is from e.
    pub score: f64,
    /// Distinct users.
    pub unique_users: i32,
}

/// All pages together in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Site {
    /// VIEW events.
    pub views: i64,
    /// CLICK events.
    pub clicks: i64,
    /// PURCHASE events.
    pub conversions: i64,
    /// Distinct users over all partitions.
    pub unique_users: i32,
    /// Visits with an event in the window.
    pub visits: i64,
    /// Those of them with exactly one event before the window's end.
    pub bounces: i64,
}
