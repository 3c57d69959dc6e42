//! One page over time.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Format, compute, json_or_table},
    error::RequestError,
    problem::{CommonErrors, Problem},
    query::{Count, PageUrl, Query, Text, Time, limit, range},
};
use crate::{
    store::{PipelineState, windows::WindowStore},
    wire::records::Point,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// The page, as in its events; or only its path, where one page has it.
    #[param(inline, example = "https://shop.example/cart")]
    page: PageUrl,
    /// Windows that end at or after this: milliseconds since the epoch, or RFC 3339.
    #[param(inline)]
    from: Option<Time>,
    /// Windows that end at or before this.
    #[param(inline)]
    to: Option<Time>,
    /// The newest so many windows, 1 to 10,000; 180 if not said.
    #[param(inline)]
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

/// Maximum pages that are listed where a path names several.
const MAX_LISTED_PAGES: usize = 5;

/// The one page that a request names.
fn named(store: &WindowStore, url: &str) -> Result<String, RequestError> {
    let mut found = store.resolve(url);
    match (found.len(), found.pop()) {
        (1, Some(page)) => Ok(page),
        (0, _) | (_, None) => Err(RequestError::UnknownPage { page: quoted(url) }),
        (pages, Some(last)) => {
            found.push(last);
            let listed: Vec<_> = found.iter().take(MAX_LISTED_PAGES).map(|page| quoted(page)).collect();
            let more = if pages > MAX_LISTED_PAGES { ", and more" } else { "" };
            let listed = listed.join(", ") + more;
            Err(RequestError::AmbiguousPage { path: quoted(url), pages, listed })
        }
    }
}

fn quoted(url: &str) -> String {
    url.chars().take(200).collect()
}

/// One page in each window, earliest first.
#[utoipa::path(get, path = "/api/v1/series", tag = "pages", params(SeriesQuery), responses(
    (status = 200, description = "The page's windows", content((Series = "application/json"), (String = "text/csv"))),
    CommonErrors,
    (status = 404, description = "No window held here has an event of the page", body = Problem, content_type = "application/problem+json"),
))]
pub async fn series(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<SeriesQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let SeriesQuery { page: Text(url), from, to, limit: asked, format } = query;
    let limit = limit(asked, 180);
    let (from, to) = range(from, to)?;
    compute(move || {
        let series = {
            let store = state.windows();
            let url = named(&store, &url)?;
            let mut points: Vec<_> =
                store.windows(from, to).rev().take(limit).map(|window| Point::of(window, &url)).collect();
            points.reverse();
            Series { page_url: url, points }
        };
        Ok(json_or_table(&headers, format, &series, &series.points))
    })
    .await
}
