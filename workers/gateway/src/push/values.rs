//! The topics' values, as they are now.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weir_analytics::{Live, LiveRow};

use super::topic::Topic;
use crate::{
    Gateway,
    api::records::{Place, Point, Trend, WindowTotals},
    gateway::lock,
    live::{Now, watermark},
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

/// What a picture is drawn of.
pub(super) struct Values {
    /// The topics' values.
    pub(super) topics: Vec<(Topic, Value)>,
    /// The windows completed since the last time, earliest first, by their ends.
    pub(super) sealed: Vec<(i64, Value)>,
}

/// The values as they are now.
pub(super) fn values(gateway: &Gateway) -> Values {
    let (sum, health) = {
        let now = gateway.now();
        (now.sum(), health(&now, gateway))
    };
    let wanted = lock(&gateway.shared.subscriptions).pages();
    let pages = sum.as_ref().map_or(&[][..], |sum| &sum.pages);
    let rows: HashMap<&str, &LiveRow> = pages.iter().map(|row| (row.url.as_str(), row)).collect();
    let mut completed = gateway.take_completed();
    completed.sort_unstable();
    completed.drain(..completed.len().saturating_sub(super::picture::REMEMBERED));

    let mut topics = vec![
        (Topic::Site, site(sum.as_ref())),
        (Topic::Top, top(sum.as_ref(), 2 * gateway.shared.pipeline.spec.ranking.top as usize)),
        (Topic::Health, health),
    ];
    let store = gateway.store();
    let latest = store.latest();
    for url in wanted {
        let now = rows.get(url.as_str()).map(|row| Provisional::from(*row));
        let sealed = latest.map(|window| Point::of(window, &url));
        let value = json!({"window_end": end(sum.as_ref()), "now": now, "sealed": sealed});
        topics.push((Topic::Page(url), value));
    }
    let sealed = completed.into_iter().filter_map(|end| Some((end, sealed(store.window(end)?)))).collect();
    Values { topics, sealed }
}

fn end(sum: Option<&Live>) -> Option<i64> {
    sum.map(|sum| sum.end)
}

fn site(sum: Option<&Live>) -> Value {
    json!({
        "window_end": end(sum),
        "as_of": sum.map(|sum| sum.as_of),
        "page_count": sum.map(|sum| sum.pages.len()),
        // Before anything was heard there are no values, which is not the same as values of zero.
        "now": sum.map(|sum| Provisional::from(&sum.site)),
    })
}

/// Twice as many as are ranked, so that those of the last sealed ranking are mostly among them. By page, so that a difference
/// names only the pages that moved.
fn top(sum: Option<&Live>, most: usize) -> Value {
    let ranked = sum.iter().flat_map(|sum| &sum.pages).take_while(|row| row.views > 0).take(most).zip(1..);
    let pages: Map<String, Value> = ranked
        .map(|(row, rank)| (row.url.clone(), json!({"rank": rank, "now": Provisional::from(row)})))
        .collect();
    json!({"window_end": end(sum), "pages": pages})
}

fn health(now: &Now, gateway: &Gateway) -> Value {
    let standings = now.standings();
    json!({
        "partitions": standings.len(),
        "expected_partitions": gateway.shared.pipeline.spec.topics.events.partitions,
        "watermark": watermark(standings),
        "heard": now.heard(),
        "lag": standings.iter().map(|standing| standing.lag).sum::<i64>(),
        "counted": standings.iter().map(|standing| standing.counted).sum::<u64>(),
        "late": standings.iter().map(|standing| standing.late).sum::<u64>(),
        "dead_letters": standings.iter().map(|standing| standing.dead_letters).sum::<u64>(),
        "unready": gateway.unready(),
    })
}

/// A window when it is sealed: final.
pub(crate) fn sealed(window: crate::store::View<'_>) -> Value {
    json!({
        "window": WindowTotals::of(window),
        "top": window.top().into_iter().map(Place::from).collect::<Vec<_>>(),
        "warming_up": window.warming_up(),
        "trending": window.trending().into_iter().map(Trend::from).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
