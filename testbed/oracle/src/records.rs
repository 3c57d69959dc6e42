//! Conversions of events and windows from and to the records in topics: nothing is computed here.

use std::collections::BTreeMap;

use weir_events::{ClickstreamEvent, EventType, PageAnalytics, TopPages};

use crate::{Event, Kind, Page, Ranked, Site, Trend, Window};

const KINDS: [(Kind, EventType); 5] = [
    (Kind::View, EventType::View),
    (Kind::Click, EventType::Click),
    (Kind::AddToCart, EventType::AddToCart),
    (Kind::Purchase, EventType::Purchase),
    (Kind::Search, EventType::Search),
];

impl<'a> From<&'a Event> for ClickstreamEvent<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            user_id: &event.user,
            session_id: &event.session,
            event_type: KINDS.iter().find(|(kind, _)| *kind == event.kind).expect("each kind is listed").1,
            page_url: &event.page,
            product_id: None,
            timestamp: event.timestamp,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: event.session_duration,
            event_id: event.event_id.as_deref(),
            ..ClickstreamEvent::EMPTY
        }
    }
}

impl From<ClickstreamEvent<'_>> for Event {
    fn from(event: ClickstreamEvent<'_>) -> Self {
        Self {
            user: event.user_id.into(),
            session: event.session_id.into(),
            kind: KINDS.iter().find(|(_, kind)| *kind == event.event_type).expect("each type is listed").0,
            page: event.page_url.into(),
            timestamp: event.timestamp,
            session_duration: event.session_duration,
            event_id: event.event_id.map(Into::into),
        }
    }
}

impl From<PageAnalytics> for Page {
    /// The sums behind the ratios are not in the record: see [`Window::with_sums`].
    fn from(row: PageAnalytics) -> Self {
        Self {
            page: row.page_url,
            view_count: row.view_count,
            unique_users: row.unique_users,
            click_count: row.click_count,
            conversion_count: row.conversion_count,
            engagement_rate: row.engagement_rate,
            bounce_rate: row.bounce_rate,
            avg_session_duration: row.avg_session_duration,
            visits: 0,
            bounces: 0,
            duration_sum_ms: 0,
        }
    }
}

impl From<TopPages> for Window {
    /// A window without its pages, which are records of their own.
    fn from(top: TopPages) -> Self {
        let ranked = top.pages.into_iter().map(|page| Ranked {
            rank: page.rank,
            page: page.page_url,
            view_count: page.view_count,
            unique_users: page.unique_users,
            previous_rank: page.previous_rank,
        });
        let trending = top.trending.into_iter().map(|trend| Trend {
            page: trend.page_url,
            view_count: trend.view_count,
            expected: trend.expected,
            score: trend.score,
            unique_users: trend.unique_users,
        });
        Self {
            start: top.window_start,
            end: top.window_end,
            pages: Vec::new(),
            top: ranked.collect(),
            warming_up: top.warming_up,
            trending: trending.collect(),
            site: Site {
                views: top.site.view_count,
                clicks: top.site.click_count,
                conversions: top.site.conversion_count,
                unique_users: top.site.unique_users,
                visits: top.site.visits,
                bounces: top.site.bounces,
            },
        }
    }
}

impl Window {
    /// This window with the sums behind its pages' ratios taken from `expected`, so that the two can be compared in full: no
    /// record carries them.
    #[must_use]
    pub fn with_sums(mut self, expected: Option<&Self>) -> Self {
        let sums: BTreeMap<&str, &Page> =
            expected.iter().flat_map(|window| &window.pages).map(|page| (page.page.as_str(), page)).collect();
        for page in &mut self.pages {
            if let Some(sums) = sums.get(page.page.as_str()) {
                (page.visits, page.bounces, page.duration_sum_ms) =
                    (sums.visits, sums.bounces, sums.duration_sum_ms);
            }
        }
        self
    }
}
