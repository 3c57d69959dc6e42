//! Sealed windows and their totals.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Format, compute, json_or_table},
    error::RequestError,
    problem::{CommonErrors, Problem},
    query::{Count, Query, Time, limit, range},
};
use crate::{
    store::{PipelineState, windows::WindowView},
    wire::records::WindowTotals,
};

/// Maximum rows of an answer, but for a series, which is at most a day of windows.
pub(super) const MAX_ROWS: u64 = 1_000;

/// The window that a request means: by its end, or the newest complete one.
pub(super) fn chosen<R>(
    state: &PipelineState,
    end: Option<Time>,
    read: impl FnOnce(WindowView<'_>) -> R,
) -> Result<R, RequestError> {
    let store = state.windows();
    let window = match end {
        Some(Time(end)) => store.window(end).ok_or(RequestError::UnknownWindow { end })?,
        None => store.latest().ok_or(RequestError::NoWindowYet)?,
    };
    Ok(read(window))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowsQuery {
    /// Ends at or after this: milliseconds since the epoch, or RFC 3339.
    #[param(inline)]
    from: Option<Time>,
    /// Ends at or before this.
    #[param(inline)]
    to: Option<Time>,
    /// The newest so many, 1 to 1,000; 180 if not said.
    #[param(inline)]
    limit: Option<Count<1, { MAX_ROWS }>>,
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
    CommonErrors,
))]
pub async fn windows(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowsQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let WindowsQuery { from, to, limit: asked, format } = query;
    let limit = limit(asked, 180);
    let (from, to) = range(from, to)?;
    compute(move || {
        let mut windows: Vec<_> =
            state.windows().windows(from, to).rev().take(limit).map(WindowTotals::of).collect();
        windows.reverse();
        let windows = Windows { windows };
        Ok(json_or_table(&headers, format, &windows, &windows.windows))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// End of the window: milliseconds since the epoch, or RFC 3339. The newest complete one if not said.
    #[param(inline)]
    pub(super) window: Option<Time>,
    #[param(inline)]
    pub(super) format: Option<Format>,
}

/// The totals of all pages in a window.
#[utoipa::path(get, path = "/api/v1/site", tag = "windows", params(WindowQuery), responses(
    (status = 200, description = "The totals", content((WindowTotals = "application/json"), (String = "text/csv"))),
    CommonErrors,
    (status = 404, description = "No such window", body = Problem, content_type = "application/problem+json"),
))]
pub async fn site(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<WindowQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let WindowQuery { window, format } = query;
    let totals = chosen(&state, window, WindowTotals::of)?;
    Ok(json_or_table(&headers, format, &totals, std::slice::from_ref(&totals)))
}
