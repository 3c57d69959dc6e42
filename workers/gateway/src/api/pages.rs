//! The pages of one sealed window.

use std::{cmp::Ordering, sync::Arc};

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Format, compute, json_or_table},
    error::RequestError,
    problem::{CommonErrors, Problem},
    query::{Count, Query, Text, Time, limit},
    windows::{MAX_ROWS, chosen},
};
use crate::{
    store::{PipelineState, windows::Page},
    wire::records::{PageNumbers, windowed},
};

/// Maximum rows to skip.
const MAX_OFFSET: u64 = 1_000_000;
/// Maximum characters of a search.
const MAX_SEARCH_CHARS: usize = 256;

/// By what pages are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// The page itself.
    PageUrl,
    /// VIEW events.
    #[default]
    ViewCount,
    /// Distinct visitors.
    UniqueUsers,
    /// CLICK events.
    ClickCount,
    /// PURCHASE events.
    ConversionCount,
    /// Clicks per view.
    EngagementRate,
    /// Share of visits that bounced.
    BounceRate,
    /// Mean duration of visits.
    AvgSessionDuration,
}

impl SortBy {
    fn compare(self, a: &Page<'_>, b: &Page<'_>) -> Ordering {
        match self {
            Self::PageUrl => a.url.cmp(b.url),
            Self::ViewCount => a.views.cmp(&b.views),
            Self::UniqueUsers => a.users.cmp(&b.users),
            Self::ClickCount => a.clicks.cmp(&b.clicks),
            Self::ConversionCount => a.conversions.cmp(&b.conversions),
            Self::EngagementRate => a.engagement_rate.total_cmp(&b.engagement_rate),
            Self::BounceRate => a.bounce_rate.total_cmp(&b.bounce_rate),
            Self::AvgSessionDuration => a.duration.total_cmp(&b.duration),
        }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest.
    Asc,
    /// The greatest.
    Desc,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PagesQuery {
    /// End of the window: milliseconds since the epoch, or RFC 3339. The newest complete one if not said. Name it while
    /// leafing through pages, or they change under the reader.
    #[param(inline)]
    window: Option<Time>,
    /// Only pages whose URL contains this, in whatever case.
    #[param(inline)]
    q: Option<Text<0, { MAX_SEARCH_CHARS }>>,
    /// What to order by; ties by page. `view_count` if not said.
    #[param(inline)]
    sort: Option<SortBy>,
    /// Descending if not said, but for `page_url`.
    #[param(inline)]
    order: Option<Order>,
    /// 1 to 1,000; 50 if not said.
    #[param(inline)]
    limit: Option<Count<1, { MAX_ROWS }>>,
    /// How many to pass over, at most a million.
    #[param(inline)]
    offset: Option<Count<0, { MAX_OFFSET }>>,
    #[param(inline)]
    format: Option<Format>,
}

/// Pages of one window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pages {
    /// First millisecond of the window.
    window_start: i64,
    /// First millisecond after it.
    window_end: i64,
    /// Whether the numbers of all its pages are here.
    complete: bool,
    /// Whether the window begins before the pipeline's first event.
    filling: bool,
    /// How many match, of which `pages` shows a part.
    total: usize,
    /// Those from `offset` on.
    pages: Vec<PageNumbers>,
}

/// The pages of a window, searched, ordered and leafed through.
#[utoipa::path(get, path = "/api/v1/pages", tag = "pages", params(PagesQuery), responses(
    (status = 200, description = "The pages", content((Pages = "application/json"), (String = "text/csv"))),
    CommonErrors,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn pages(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<PagesQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let PagesQuery { window, q, sort, order, limit: asked, offset, format } = query;
    let limit = limit(asked, 50);
    let offset = offset.map_or(0, |offset| offset.0);
    let q = q.unwrap_or_default().0.to_lowercase();
    let sort = sort.unwrap_or_default();
    let order = order.unwrap_or(if sort == SortBy::PageUrl { Order::Asc } else { Order::Desc });
    compute(move || {
        let window = chosen(&state, window, |window| window.snapshot())?;
        let mut found: Vec<_> =
            window.pages().filter(|page| q.is_empty() || page.url.to_lowercase().contains(&q)).collect();
        found.sort_by(|a, b| {
            let by = sort.compare(a, b);
            let by = if order == Order::Asc { by } else { by.reverse() };
            by.then_with(|| a.url.cmp(b.url))
        });
        let answer = Pages {
            window_start: window.start,
            window_end: window.end,
            complete: window.complete,
            filling: window.filling,
            total: found.len(),
            pages: found.into_iter().skip(offset as usize).take(limit).map(Into::into).collect(),
        };
        let rows = windowed(&answer.pages, answer.window_start, answer.window_end);
        Ok(json_or_table(&headers, format, &answer, &rows))
    })
    .await
}
