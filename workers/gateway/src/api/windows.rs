//! What sealed windows say: totals, pages, rankings, trends, series.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Format, json_or_table},
    problem::{Otherwise, Problem},
    query::{Count, Query, Time, limit, page, range},
};
use crate::{
    store::{
        PipelineState,
        windows::{Store, View},
    },
    wire::records::{PageNumbers, Place, Point, Site, Trend, WindowTotals, Windowed},
};

/// The most rows that one answer holds, but for a series, which is at most a day of windows.
const MOST: u32 = 1_000;
/// The most rows that are passed over.
const MOST_PASSED: u32 = 1_000_000;
/// The most bytes of a search.
const MOST_SEARCHED: usize = 256;

fn windowed<R>(rows: &[R], window_start: i64, window_end: i64) -> Vec<Windowed<&R>> {
    rows.iter().map(|row| Windowed { row, window_start, window_end }).collect()
}

/// The window that a request means: by its end, or the newest complete one.
fn chosen<R>(
    state: &PipelineState,
    end: Option<Time>,
    read: impl FnOnce(View<'_>) -> R,
) -> Result<R, Problem> {
    let store = state.windows();
    let window = match end {
        Some(Time(end)) => store.window(end).ok_or_else(|| {
            Problem::no_window(format!(
                "no window that ends at {end} is held here; /api/v1/windows lists those that are"
            ))
        })?,
        None => store.latest().ok_or_else(|| {
            Problem::no_window("no window is sealed yet: the first is, some 40 seconds after the first event")
        })?,
    };
    Ok(read(window))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowsQuery {
    /// Ends at or after this: milliseconds since the epoch, or RFC 3339.
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    from: Option<Time>,
    /// Ends at or before this.
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    to: Option<Time>,
    /// The newest so many, 1 to 1,000; 180 if not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Count<1, MOST>>,
    #[param(inline)]
    format: Option<Format>,
}

/// The sealed windows that are held here, earliest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Windows {
    /// Those asked for.
    windows: Vec<WindowTotals>,
}

/// Windows and their totals, earliest first: the newest ones within the bounds asked for.
#[utoipa::path(get, path = "/api/v1/windows", tag = "windows", params(WindowsQuery), responses(
    (status = 200, description = "The windows", content((Windows = "application/json"), (String = "text/csv"))),
    Otherwise,
))]
pub async fn windows(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let WindowsQuery { from, to, limit: asked, format } = query;
    let limit = limit(asked, 180);
    let (from, to) = range(from, to)?;
    let mut windows: Vec<_> =
        state.windows().windows(from, to).rev().take(limit).map(WindowTotals::of).collect();
    windows.reverse();
    let windows = Windows { windows };
    Ok(json_or_table(&headers, format, &windows, &windows.windows))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// End of the window: milliseconds since the epoch, or RFC 3339. The newest complete one if not said.
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    window: Option<Time>,
    #[param(inline)]
    format: Option<Format>,
}

/// The totals of all pages in a window.
#[utoipa::path(get, path = "/api/v1/site", tag = "windows", params(WindowQuery), responses(
    (status = 200, description = "The totals", content((WindowTotals = "application/json"), (String = "text/csv"))),
    Otherwise,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn site(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let WindowQuery { window, format } = query;
    let totals = chosen(&state, window, WindowTotals::of)?;
    Ok(json_or_table(&headers, format, &totals, std::slice::from_ref(&totals)))
}

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
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    window: Option<Time>,
    /// Only pages whose URL contains this, in whatever case.
    #[param(max_length = 256)]
    q: Option<String>,
    /// What to order by; ties by page. `view_count` if not said.
    #[param(inline)]
    sort: Option<SortBy>,
    /// Descending if not said, but for `page_url`.
    #[param(inline)]
    order: Option<Order>,
    /// 1 to 1,000; 50 if not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Count<1, MOST>>,
    /// How many to pass over, at most a million.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 1_000_000)]
    offset: Option<Count<0, MOST_PASSED>>,
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
    Otherwise,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn pages(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<PagesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let PagesQuery { window, q, sort, order, limit: asked, offset, format } = query;
    let limit = limit(asked, 50);
    let offset = offset.map_or(0, |offset| offset.0);
    let q = q.unwrap_or_default().to_lowercase();
    if q.len() > MOST_SEARCHED {
        return Err(Problem::bad(format!("q has {} bytes, expected at most {MOST_SEARCHED}", q.len())));
    }
    let sort = sort.unwrap_or_default();
    let order = order.unwrap_or(if sort == SortBy::PageUrl { Order::Asc } else { Order::Desc });
    let answer = chosen(&state, window, |window| {
        let mut found: Vec<_> =
            window.pages().filter(|page| q.is_empty() || page.url.to_lowercase().contains(&q)).collect();
        found.sort_by(|a, b| {
            let by = match sort {
                SortBy::PageUrl => a.url.cmp(b.url),
                SortBy::ViewCount => a.views.cmp(&b.views),
                SortBy::UniqueUsers => a.users.cmp(&b.users),
                SortBy::ClickCount => a.clicks.cmp(&b.clicks),
                SortBy::ConversionCount => a.conversions.cmp(&b.conversions),
                SortBy::EngagementRate => a.engagement_rate.total_cmp(&b.engagement_rate),
                SortBy::BounceRate => a.bounce_rate.total_cmp(&b.bounce_rate),
                SortBy::AvgSessionDuration => a.duration.total_cmp(&b.duration),
            };
            let by = if order == Order::Asc { by } else { by.reverse() };
            by.then_with(|| a.url.cmp(b.url))
        });
        Pages {
            window_start: window.start(),
            window_end: window.end(),
            complete: window.complete(),
            filling: window.filling(),
            total: found.len(),
            pages: found.into_iter().skip(offset as usize).take(limit).map(Into::into).collect(),
        }
    })?;
    Ok(json_or_table(
        &headers,
        format,
        &answer,
        &windowed(&answer.pages, answer.window_start, answer.window_end),
    ))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// The page, as in its events; or only its path, where one page has it.
    #[param(min_length = 1, max_length = 2048, example = "https://shop.example/cart")]
    page: String,
    /// Windows that end at or after this: milliseconds since the epoch, or RFC 3339.
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    from: Option<Time>,
    /// Windows that end at or before this.
    #[param(value_type = Option<String>, pattern = "^([0-9]{1,8}|[0-9]{12,14})$")]
    to: Option<Time>,
    /// The newest so many windows, 1 to 10,000; 180 if not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<Count<1, 10_000>>,
    #[param(inline)]
    format: Option<Format>,
}

/// One page over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// The page, in full.
    page_url: String,
    /// One point per sealed window, earliest first. A window that nobody had an event in, on any page, has none.
    points: Vec<Point>,
}

/// Most pages that are listed where a path names several.
const MAX_LISTED: usize = 5;

/// The one page that a request names.
fn named(store: &Store, url: &str) -> Result<String, Problem> {
    let mut found = store.named(url);
    match (found.len(), found.pop()) {
        (1, Some(page)) => Ok(page),
        (0, _) | (_, None) => Err(Problem::not_found(format!(
            "no window held here has an event of the page `{}`; /api/v1/pages?q= searches",
            quoted(url)
        ))),
        (several, Some(last)) => {
            found.push(last);
            let list: Vec<_> = found.iter().take(MAX_LISTED).map(|page| quoted(page)).collect();
            let more = if several > MAX_LISTED { ", and more" } else { "" };
            Err(Problem::not_found(format!(
                "{several} pages have the path `{}`: expected the URL of one of them: {}{more}",
                quoted(url),
                list.join(", ")
            )))
        }
    }
}

fn quoted(url: &str) -> String {
    url.chars().take(200).collect()
}

/// One page in each window, earliest first.
#[utoipa::path(get, path = "/api/v1/series", tag = "pages", params(SeriesQuery), responses(
    (status = 200, description = "The page's windows", content((Series = "application/json"), (String = "text/csv"))),
    Otherwise,
    (status = 404, description = "No window held here has an event of the page", body = Problem, content_type = "application/problem+json"),
))]
pub async fn series(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<SeriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let SeriesQuery { page: url, from, to, limit: asked, format } = query;
    let limit = limit(asked, 180);
    let url = page(&url)?;
    let (from, to) = range(from, to)?;
    let series = {
        let store = state.windows();
        let url = named(&store, url)?;
        let mut points: Vec<_> =
            store.windows(from, to).rev().take(limit).map(|window| Point::of(window, &url)).collect();
        points.reverse();
        Series { page_url: url, points }
    };
    Ok(json_or_table(&headers, format, &series, &series.points))
}

/// The ranking of one window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Top {
    /// First millisecond of the window.
    window_start: i64,
    /// First millisecond after it.
    window_end: i64,
    /// Whether the window begins before the pipeline's first event.
    filling: bool,
    /// The most viewed pages, first rank first.
    pages: Vec<Place>,
    /// All pages together.
    site: Site,
}

/// The most viewed pages of a window.
#[utoipa::path(get, path = "/api/v1/top", tag = "pages", params(WindowQuery), responses(
    (status = 200, description = "The ranking", content((Top = "application/json"), (String = "text/csv"))),
    Otherwise,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn top(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let WindowQuery { window, format } = query;
    let top = chosen(&state, window, |window| Top {
        window_start: window.start(),
        window_end: window.end(),
        filling: window.filling(),
        pages: window.top().into_iter().map(Into::into).collect(),
        site: window.site().into(),
    })?;
    Ok(json_or_table(&headers, format, &top, &windowed(&top.pages, top.window_start, top.window_end)))
}

/// What trends in one window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trending {
    /// First millisecond of the window.
    window_start: i64,
    /// First millisecond after it.
    window_end: i64,
    /// Too few windows lie behind to say what is usual; `pages` is empty then.
    warming_up: bool,
    /// Highest score first.
    pages: Vec<Trend>,
}

/// Pages with clearly more views than expected.
#[utoipa::path(get, path = "/api/v1/trending", tag = "pages", params(WindowQuery), responses(
    (status = 200, description = "What trends", content((Trending = "application/json"), (String = "text/csv"))),
    Otherwise,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn trending(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let WindowQuery { window, format } = query;
    let trending = chosen(&state, window, |window| Trending {
        window_start: window.start(),
        window_end: window.end(),
        warming_up: window.warming_up(),
        pages: window.trending().into_iter().map(Into::into).collect(),
    })?;
    Ok(json_or_table(
        &headers,
        format,
        &trending,
        &windowed(&trending.pages, trending.window_start, trending.window_end),
    ))
}
