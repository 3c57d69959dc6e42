//! The ranking of one sealed window, and what trends in it.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::json_or_table,
    error::RequestError,
    problem::{CommonErrors, Problem},
    query::Query,
    windows::{WindowQuery, chosen},
};
use crate::{
    store::PipelineState,
    wire::records::{RankEntry, Site, Trend, windowed},
};

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
    pages: Vec<RankEntry>,
    /// All pages together.
    site: Site,
}

/// The most viewed pages of a window.
#[utoipa::path(get, path = "/api/v1/top", tag = "pages", params(WindowQuery), responses(
    (status = 200, description = "The ranking", content((Top = "application/json"), (String = "text/csv"))),
    CommonErrors,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn top(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
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
    CommonErrors,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn trending(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
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
