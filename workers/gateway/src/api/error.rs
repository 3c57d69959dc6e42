//! Errors of requests.

use axum::{
    extract::{rejection::QueryRejection, ws::rejection::WebSocketUpgradeRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use weir_events::MAX_PAGE_URL;

use super::problem::Problem;

/// An error of a request, or of this gateway. Its message is the problem's detail.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message describes its variant")]
pub enum RequestError {
    #[error("{parameter} is `{value}`, expected UTF-8, percent-encoded: an é is %C3%A9")]
    NotUtf8 { parameter: String, value: String, source: std::str::Utf8Error },
    #[error("{detail}")]
    Parameter { detail: String, source: QueryRejection },
    #[error("from is {from} and to is {to}, which is before it: expected from to be at or before to")]
    ReversedRange { from: i64, to: i64 },
    #[error("page has {characters} characters, expected 1 to {MAX_PAGE_URL}")]
    PageLength { characters: usize },
    #[error("there is no topic `{name}`, expected site, top, health or windows")]
    UnknownTopic { name: String },
    #[error("more than {max} pages on one connection")]
    TooManyPages { max: usize },
    #[error("{}; /api/v1/stream is for clients without WebSockets", source.body_text())]
    NoWebSocket { source: WebSocketUpgradeRejection },
    #[error(
        "only this machine is served, as localhost or 127.0.0.1; `--listen` on another address serves others"
    )]
    ForeignHost,
    #[error("requests from pages of other sites are refused; `--allow-origin` allows one")]
    ForeignOrigin,
    #[error("there is nothing at {path}; /docs lists what there is")]
    UnknownPath { path: String },
    #[error("no window held here has an event of the page `{page}`; /api/v1/pages?q= searches")]
    UnknownPage { page: String },
    #[error("{pages} pages have the path `{path}`: expected the URL of one of them: {listed}")]
    AmbiguousPage { path: String, pages: usize, listed: String },
    #[error("no window that ends at {end} is held here; /api/v1/windows lists those that are")]
    UnknownWindow { end: i64 },
    #[error("no window is sealed yet: the first is, some 40 seconds after the first event")]
    NoWindowYet,
    #[error("only GET and HEAD are allowed here")]
    Method,
    #[error("the answer could not be written as JSON; the gateway's log has more")]
    Unserialisable(#[source] serde_json::Error),
    #[error("the request failed; this is a bug, and the gateway's log has more")]
    Panicked,
    #[error("{0}")]
    NotReady(String),
    #[error("the maximum number of clients is connected")]
    TooManyClients,
    #[error("the gateway is shutting down")]
    Stopping(#[source] tokio::task::JoinError),
}

impl RequestError {
    /// Status, kind and title.
    fn class(&self) -> (StatusCode, &'static str, &'static str) {
        const BLANK: &str = "about:blank";
        match self {
            Self::NotUtf8 { .. }
            | Self::Parameter { .. }
            | Self::ReversedRange { .. }
            | Self::PageLength { .. }
            | Self::UnknownTopic { .. }
            | Self::TooManyPages { .. }
            | Self::NoWebSocket { .. } => (StatusCode::BAD_REQUEST, BLANK, "Bad Request"),
            Self::ForeignHost | Self::ForeignOrigin => (StatusCode::FORBIDDEN, BLANK, "Forbidden"),
            Self::UnknownPath { .. } | Self::UnknownPage { .. } | Self::AmbiguousPage { .. } => {
                (StatusCode::NOT_FOUND, BLANK, "Not Found")
            }
            Self::UnknownWindow { .. } | Self::NoWindowYet => {
                (StatusCode::NOT_FOUND, "/docs#no-window", "No such window")
            }
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, BLANK, "Method Not Allowed"),
            Self::Unserialisable(_) | Self::Panicked => {
                (StatusCode::INTERNAL_SERVER_ERROR, BLANK, "Internal Server Error")
            }
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, BLANK, "Not Ready"),
            Self::TooManyClients | Self::Stopping(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, BLANK, "Service Unavailable")
            }
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.class();
        if let Self::Unserialisable(error) = &self {
            tracing::error!(%error, "cannot serialise a response");
        }
        Problem { kind, title, status: status.as_u16(), detail: self.to_string() }.into_response()
    }
}
