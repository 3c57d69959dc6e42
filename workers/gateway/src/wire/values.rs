//! The topics' values, as they are now.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weir_analytics::{Live, LiveRow};

use super::{
    records::{Point, RankEntry, Trend, WindowTotals},
    topic::Topic,
};
use crate::store::{
    PipelineState,
    progress::{ended, watermark},
    windows::WindowView,
};

/// What the open window shows of a page, or of all: provisional.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Provisional {
    /// VIEW events so far.
    pub view_count: u64,
    /// CLICK events so far.
    pub click_count: u64,
    /// ADD_TO_CART events so far.
    pub cart_count: u64,
    /// PURCHASE events so far.
    pub conversion_count: u64,
    /// Distinct visitors so far.
    pub unique_users: u32,
}

impl From<&LiveRow> for Provisional {
    fn from(row: &LiveRow) -> Self {
        Self {
            view_count: row.views,
            click_count: row.clicks,
            cart_count: row.carts,
            conversion_count: row.conversions,
            unique_users: row.users,
        }
    }
}

/// Which time the open window covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Open {
    /// First millisecond of the open window; null before anything was heard.
    window_start: Option<i64>,
    /// First millisecond after it; null before anything was heard.
    window_end: Option<i64>,
    /// The newest event time read; null before anything was heard.
    as_of: Option<i64>,
    /// Whether the window begins before the pipeline's first event, so that it is not full yet.
    filling: bool,
    /// The time that its values cover, milliseconds: since the window's beginning or the first event, up to now. Divide by it for rates.
    covered_ms: Option<i64>,
}

impl Open {
    pub(crate) fn of(state: &PipelineState, sum: Option<&Live>) -> Self {
        let Some(sum) = sum else { return Self::default() };
        let began = state.began(Some(sum)).unwrap_or(i64::MIN);
        // Without recent events the window's last slice follows the clock, and the position within it is unknown.
        let last_slice = sum.end - state.manifest().spec.window.slide.as_millis();
        let now = sum.as_of.max(last_slice).min(sum.end);
        Self {
            window_start: Some(sum.start),
            window_end: Some(sum.end),
            as_of: Some(sum.as_of),
            filling: sum.start < began,
            covered_ms: Some((now - sum.start.max(began)).max(0)),
        }
    }
}

/// The input of a frame.
pub(crate) struct Values {
    /// The topics' values.
    pub(crate) topics: Vec<(Topic, Value)>,
    /// The windows completed since the last time, earliest first, by their ends.
    pub(crate) sealed: Vec<(i64, Value)>,
}

/// The values now, including those of these pages.
pub(crate) fn values(state: &PipelineState, wanted: Vec<String>) -> Values {
    let (sum, health) = (state.live(), health(state));
    let pages = sum.as_ref().map_or(&[][..], |sum| &sum.pages);
    let rows: HashMap<&str, &LiveRow> = pages.iter().map(|row| (row.url.as_str(), row)).collect();
    let mut completed = state.take_completed();
    completed.sort_unstable();
    completed.drain(..completed.len().saturating_sub(super::frame::MAX_SEALED_WINDOWS));

    let mut topics = vec![
        (Topic::Site, site(sum.as_ref(), Open::of(state, sum.as_ref()))),
        (Topic::Top, top(sum.as_ref(), 2 * state.manifest().spec.ranking.top as usize)),
        (Topic::Health, health),
    ];
    let store = state.windows();
    let latest = store.latest();
    for url in wanted {
        let now = rows.get(url.as_str()).map(|row| Provisional::from(*row));
        let sealed = latest.map(|window| Point::of(window, &url));
        let known = now.is_some() || store.contains_page(&url);
        let value = json!({"window_end": end(sum.as_ref()), "now": now, "sealed": sealed, "known": known});
        topics.push((Topic::Page(url), value));
    }
    let sealed = completed.into_iter().filter_map(|end| Some((end, sealed(store.window(end)?)))).collect();
    Values { topics, sealed }
}

fn end(sum: Option<&Live>) -> Option<i64> {
    sum.map(|sum| sum.end)
}

fn site(sum: Option<&Live>, open: Open) -> Value {
    json!({
        "window_start": open.window_start,
        "window_end": open.window_end,
        "as_of": open.as_of,
        "filling": open.filling,
        "covered_ms": open.covered_ms,
        "page_count": sum.map(|sum| sum.pages.len()),
        // Before any live value was received there are no values, which differs from values of zero.
        "now": sum.map(|sum| Provisional::from(&sum.site)),
    })
}

/// The `max` most viewed pages, by URL, so that a difference names only the pages that moved. `max` is twice the length of the
/// ranking, so that the pages of the last sealed ranking are usually among them.
fn top(sum: Option<&Live>, max: usize) -> Value {
    let ranked = sum.iter().flat_map(|sum| &sum.pages).take_while(|row| row.views > 0).take(max).zip(1..);
    let pages: Map<String, Value> = ranked
        .map(|(row, rank)| (row.url.clone(), json!({"rank": rank, "now": Provisional::from(row)})))
        .collect();
    json!({"window_end": end(sum), "pages": pages})
}

fn health(state: &PipelineState) -> Value {
    let partitions = &state.progress().partitions;
    json!({
        "partitions": partitions.len(),
        "expected_partitions": state.manifest().spec.topics.events.partitions,
        "watermark": watermark(partitions),
        "heard": state.live_received_at(),
        "lag": partitions.iter().map(|partition| partition.lag).sum::<i64>(),
        "counted": partitions.iter().map(|partition| partition.counted).sum::<u64>(),
        "late": partitions.iter().map(|partition| partition.late).sum::<u64>(),
        "dead_letters": partitions.iter().map(|partition| partition.dead_letters).sum::<u64>(),
        "partly_late": partitions.iter().map(|partition| partition.partly_late).sum::<u64>(),
        "duplicates": partitions.iter().map(|partition| partition.duplicates).sum::<u64>(),
        "other_pages": partitions.iter().map(|partition| partition.other_pages).sum::<u64>(),
        "misplaced": partitions.iter().map(|partition| partition.misplaced).sum::<u64>(),
        "ended": ended(partitions),
        "unready": state.unready(),
        "warnings": state.warnings(),
        "simulated": state.simulated(),
    })
}

/// A window when it is sealed: final.
pub(crate) fn sealed(window: WindowView<'_>) -> Value {
    json!({
        "window": WindowTotals::of(window),
        "top": window.top().into_iter().map(RankEntry::from).collect::<Vec<_>>(),
        "warming_up": window.warming_up(),
        "trending": window.trending().into_iter().map(Trend::from).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
