//! The open window: provisional values.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::{Format, compute, json_or_table},
    error::RequestError,
    problem::CommonErrors,
    query::{Count, Query, Rows, limit},
    windows::MAX_ROWS,
};
use crate::{
    store::PipelineState,
    wire::{
        csv::{Line, Row},
        values::{Open, Provisional},
    },
};

/// A page in the open window: provisional.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageNow {
    /// The page.
    page_url: String,
    /// Its values so far.
    #[serde(flatten)]
    now: Provisional,
    /// For the table: JSON has it once.
    #[serde(skip)]
    window_end: Option<i64>,
}

impl Row for PageNow {
    const COLUMNS: &'static [&'static str] = &[
        "page_url",
        "view_count",
        "click_count",
        "cart_count",
        "conversion_count",
        "unique_users",
        "window_end",
    ];

    fn write(&self, line: &mut Line<'_>) {
        line.text(&self.page_url);
        line.number(self.now.view_count);
        line.number(self.now.click_count);
        line.number(self.now.cart_count);
        line.number(self.now.conversion_count);
        line.number(self.now.unique_users);
        line.optional(self.window_end);
    }
}

/// What the open window shows: provisional, replaced by final values when it is sealed.
#[derive(Debug, Serialize, ToSchema)]
pub struct NowValues {
    /// Always true.
    provisional: bool,
    /// Which window that is.
    #[serde(flatten)]
    open: Open,
    /// All pages together; null before anything was heard.
    site: Option<Provisional>,
    /// How many pages have an event.
    page_count: usize,
    /// Most viewed first.
    pages: Vec<PageNow>,
}

/// What the open window shows right now. Provisional: final values never depend on it.
#[utoipa::path(get, path = "/api/v1/now", tag = "live", params(
    ("limit" = inline(Option<Count<1, { MAX_ROWS }>>), Query, description = "The most viewed so many pages, 1 to 1,000; 50 if not said."),
    ("format" = inline(Option<Format>), Query),
), responses(
    (status = 200, description = "Provisional values", content((NowValues = "application/json"), (String = "text/csv"))),
    CommonErrors,
))]
pub async fn now(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<Rows<MAX_ROWS>>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let Rows { limit: asked, format } = query;
    let limit = limit(asked, 50);
    compute(move || {
        let sum = state.live();
        let window_end = sum.as_ref().map(|sum| sum.end);
        let page = |row: &weir_analytics::LiveRow| PageNow {
            page_url: row.url.clone(),
            now: row.into(),
            window_end,
        };
        let pages = sum.as_ref().map_or(&[][..], |sum| &sum.pages);
        let values = NowValues {
            provisional: true,
            open: Open::of(&state, sum.as_ref()),
            site: sum.as_ref().map(|sum| (&sum.site).into()),
            page_count: pages.len(),
            pages: pages.iter().take(limit).map(page).collect(),
        };
        Ok(json_or_table(&headers, format, &values, &values.pages))
    })
    .await
}
