//! The topics' values, as they are now.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::topic::Topic;
use crate::{
    Gateway,
    api::records::{Place, Point, Trend, WindowTotals},
    gateway::lock,
    live::{Standing, Sum},
    stub::LiveRow,
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
    pub unique_users: u64,
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
    let (sum, standings) = gateway.now();
    let wanted = lock(&gateway.shared.subscriptions).pages();
    let rows: HashMap<&str, &LiveRow> = sum.pages.iter().map(|row| (row.url.as_str(), row)).collect();
    let mut completed = gateway.take_completed();
    completed.sort_unstable();
    completed.drain(..completed.len().saturating_sub(super::picture::REMEMBERED));

    let mut topics = vec![
        (Topic::Site, site(&sum)),
        (Topic::Top, top(&sum, gateway.shared.pipeline.spec.ranking.top as usize)),
        (Topic::Health, health(&standings, gateway)),
    ];
    let store = gateway.store();
    let latest = store.latest();
    for url in wanted {
        let now = rows.get(url.as_str()).map(|row| Provisional::from(*row));
        let sealed = latest.map(|window| Point::of(window, &url));
        let value = json!({"window_end": sum.end, "now": now, "sealed": sealed});
        topics.push((Topic::Page(url), value));
    }
    let sealed = completed.into_iter().filter_map(|end| Some((end, sealed(store.window(end)?)))).collect();
    Values { topics, sealed }
}

fn site(sum: &Sum) -> Value {
    // Before anything was heard there are no values, which is not the same as values of zero.
    let now = sum.end.map(|_| Provisional::from(&sum.site));
    json!({"window_end": sum.end, "page_count": sum.pages.len(), "now": now})
}

/// By page, so that a difference names only the pages that moved.
fn top(sum: &Sum, most: usize) -> Value {
    let ranked = sum.pages.iter().take_while(|row| row.views > 0).take(most).zip(1..);
    let pages: Map<String, Value> = ranked
        .map(|(row, rank)| (row.url.clone(), json!({"rank": rank, "now": Provisional::from(row)})))
        .collect();
    json!({"window_end": sum.end, "pages": pages})
}

fn health(standings: &[Standing], gateway: &Gateway) -> Value {
    let sum = |of: fn(&Standing) -> u64| standings.iter().map(of).sum::<u64>();
    // A partition without a watermark holds the pipeline back as a late one does, so there is none for the pipeline.
    let least = |of: fn(&Standing) -> Option<i64>| standings.iter().map(of).min().flatten();
    json!({
        "partitions": standings.len(),
        "expected_partitions": gateway.shared.pipeline.spec.topics.events.partitions,
        "watermark": least(|standing| standing.watermark),
        "sealed": least(|standing| standing.sealed),
        "heard": standings.iter().map(|standing| standing.heard).min(),
        "read": sum(|standing| standing.read),
        "counted": sum(|standing| standing.counted),
        "late": sum(|standing| standing.late),
        "dead_letters": sum(|standing| standing.dead_letters),
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
