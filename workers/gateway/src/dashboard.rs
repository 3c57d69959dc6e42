//! The dashboard: three files, embedded, nothing from elsewhere.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::Shared;

/// Only this host's own files, no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Shared> {
    let html = || async { file("text/html; charset=utf-8", include_str!("../dashboard/index.html")) };
    let script = || async { file("text/javascript; charset=utf-8", include_str!("../dashboard/app.js")) };
    let style = || async { file("text/css; charset=utf-8", include_str!("../dashboard/style.css")) };
    Router::new().route("/", get(html)).route("/app.js", get(script)).route("/style.css", get(style))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
