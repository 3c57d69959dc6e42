//! What went wrong with a request, as RFC 9457 has it.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

impl Problem {
    /// A parameter that makes no sense: what was found, what is expected.
    pub(crate) fn parameter(name: &str, found: &str, expected: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: format!("{name} is {found:?}, expected {expected}") }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into() }
    }

    pub(crate) fn not_yet() -> Self {
        let detail = "no window was sealed yet: the first is about 40 s after the first event".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = json!({"type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail});
        (
            self.status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            Json(body).into_response().into_body(),
        )
            .into_response()
    }
}
