//! What went wrong, as RFC 9457 has it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// An error (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind: `about:blank` where the status says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What was found and what was expected.
    pub detail: String,
}

/// Error responses common to all endpoints.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a part of the document, never built")]
pub enum CommonErrors {
    /// The copy that If-None-Match names is good
    #[response(status = 304)]
    NotModified,
    /// A parameter is not understood
    #[response(status = 400, content_type = "application/problem+json")]
    NotUnderstood(Problem),
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, title, status: status.as_u16(), detail: detail.into() }
    }

    /// 400: the request says something that this endpoint does not take.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "about:blank", "Bad Request", detail)
    }

    /// 403: asked from where answers must not go.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "about:blank", "Forbidden", detail)
    }

    /// 404: no such place.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "about:blank", "Not Found", detail)
    }

    /// 404: the place exists, the window does not (yet, or no longer).
    pub fn no_window(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "/docs#no-window", "No such window", detail)
    }

    /// 405: only GET and HEAD are known here.
    pub fn method() -> Self {
        let detail = "this place answers GET and HEAD";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "about:blank", "Method Not Allowed", detail)
    }

    /// 500: a bug here.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "about:blank", "Internal Server Error", detail)
    }

    /// 503: what was in the topics at the start is not all here, or they cannot be read.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "about:blank", "Not Ready", detail)
    }

    /// 503: too many at once.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "about:blank", "Service Unavailable", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}
