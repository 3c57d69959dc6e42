//! How an answer goes out: its format, its tag, and nothing at all where the client has it already.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::csv;

/// What a table can be had as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `application/json`
    Json,
    /// `text/csv`
    Csv,
}

/// As JSON, or 304 where the client's copy is the same. Equal content has an equal tag, whichever replica answers.
pub fn json<T: Serialize>(request: &HeaderMap, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => tagged(request, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// As JSON, or as a table where that is asked for: by `format`, or else by `Accept`.
pub fn json_or_table<T: Serialize, R: csv::Row>(
    request: &HeaderMap,
    format: Option<Format>,
    value: &T,
    rows: &[R],
) -> Response {
    match format.unwrap_or_else(|| accepted(request)) {
        Format::Json => json(request, value),
        Format::Csv => tagged(request, "text/csv; charset=utf-8", csv::table(rows).into_bytes()),
    }
}

/// Any body, with its tag, or 304 where the client's copy is the same.
pub fn tagged(request: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
    let fresh = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*");
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn accepted(request: &HeaderMap) -> Format {
    let accept = request.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match (accept.find("text/csv"), accept.find("application/json")) {
        (Some(csv), Some(json)) if csv < json => Format::Csv,
        (Some(_), None) => Format::Csv,
        _ => Format::Json,
    }
}
