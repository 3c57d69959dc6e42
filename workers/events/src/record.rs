//! The records that cross a topic. Field for field as `schemas/` has them.

use serde::{Deserialize, Serialize};

use crate::Properties;

/// What a visitor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// Saw a page.
    View,
    /// Clicked something on it.
    Click,
    /// Put a product into the cart.
    AddToCart,
    /// Made a purchase: a conversion.
    Purchase,
    /// Searched.
    Search,
}

/// One action of one visitor (`schemas/clickstream-event.avsc`), borrowed from the bytes it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickstreamEvent<'a> {
    /// The visitor; the record's key.
    pub user_id: &'a str,
    /// The visit, as the client names it.
    pub session_id: &'a str,
    /// The kind of action.
    pub event_type: EventType,
    /// The page: an absolute http(s) URL or an absolute path.
    pub page_url: &'a str,
    /// The product, if the action is about one.
    pub product_id: Option<&'a str>,
    /// Event time, milliseconds since the epoch, UTC.
    pub timestamp: i64,
    /// The client's software.
    pub user_agent: &'a str,
    /// The client's address.
    pub ip_address: &'a str,
    /// The referring page.
    pub referrer: Option<&'a str>,
    /// Seconds since the visit began, as reported by the client.
    pub session_duration: Option<i32>,
    /// With `user_id`, the event's identity: sent again, it counts once. Like the fields after it, since version 2.
    pub event_id: Option<&'a str>,
    /// The site, where one topic has several.
    pub site_id: Option<&'a str>,
    /// What the site calls it.
    pub event_name: Option<&'a str>,
    /// Value, in millionths of the currency's unit.
    pub revenue_micros: Option<i64>,
    /// Of the value: ISO 4217.
    pub currency: Option<&'a str>,
    /// Whatever else is known of it.
    #[serde(skip_deserializing)]
    pub properties: Option<Properties<'a>>,
}

impl ClickstreamEvent<'_> {
    /// Nothing but empty fields, to be filled.
    pub const EMPTY: Self = Self {
        user_id: "",
        session_id: "",
        event_type: EventType::View,
        page_url: "",
        product_id: None,
        timestamp: 0,
        user_agent: "",
        ip_address: "",
        referrer: None,
        session_duration: None,
        event_id: None,
        site_id: None,
        event_name: None,
        revenue_micros: None,
        currency: None,
        properties: None,
    };

    pub(crate) fn has_fields_of_version_2(&self) -> bool {
        let Self { event_id, site_id, event_name, revenue_micros, currency, properties, .. } = self;
        // Without branches: it is asked for every event.
        let texts = event_id.is_some() | site_id.is_some() | event_name.is_some() | currency.is_some();
        texts | revenue_micros.is_some() | properties.is_some()
    }
}

/// The final numbers of one page in one sealed window (`schemas/page-analytics.avsc`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageAnalytics {
    /// The page; the record's key.
    pub page_url: String,
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// VIEW events.
    pub view_count: i64,
    /// Exact number of distinct visitors with any event.
    pub unique_users: i32,
    /// CLICK events.
    pub click_count: i64,
    /// PURCHASE events.
    pub conversion_count: i64,
    /// Clicks per view; 0.0 without views; not clamped.
    pub engagement_rate: f64,
    /// Share of the page's visits that had exactly one event.
    pub bounce_rate: f64,
    /// Mean duration of the page's visits, seconds.
    pub avg_session_duration: f64,
}

/// Ranking, trends and the site's totals of one sealed window (`schemas/top-pages.avsc`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopPages {
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// The most viewed pages, in rank order.
    pub pages: Vec<TopPage>,
    /// Whether there are still too few aligned windows for a baseline.
    pub warming_up: bool,
    /// Pages with unusually many views, highest score first.
    pub trending: Vec<TrendingPage>,
    /// All pages together.
    pub site: SiteTotals,
    /// Number of [`PageAnalytics`] records of the window: with fewer it is incomplete. `None` in records of versions without
    /// this field.
    #[serde(default)]
    pub page_count: Option<i32>,
}

/// One entry of the ranking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopPage {
    /// From 1.
    pub rank: i32,
    /// The page.
    pub page_url: String,
    /// VIEW events.
    pub view_count: i64,
    /// Distinct visitors.
    pub unique_users: i32,
    /// Rank one slide before; `None` if it was not in that ranking.
    pub previous_rank: Option<i32>,
}

/// A page with more views than expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrendingPage {
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

/// The site's totals in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SiteTotals {
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
    /// Visits among them with exactly one event before the window's end.
    pub bounces: i64,
}
