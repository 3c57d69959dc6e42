//! Responses: format, entity tag, and 304 where the client's copy is the same.

use std::panic::resume_unwind;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task};
use utoipa::ToSchema;

use super::error::RequestError;
use crate::wire::csv;

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
        Err(error) => RequestError::Unserialisable(error).into_response(),
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

/// Maximum concurrent computations: each may hold a copy of a window's pages.
const MAX_COMPUTATIONS: usize = 4;
static COMPUTATIONS: Semaphore = Semaphore::const_new(MAX_COMPUTATIONS);

/// Computes a response on a blocking thread, so that no other request waits for it.
pub async fn compute(
    work: impl FnOnce() -> Result<Response, RequestError> + Send + 'static,
) -> Result<Response, RequestError> {
    // Held until the work is done, even if the client disconnects. The semaphore is never closed.
    let permit = COMPUTATIONS.acquire().await.ok();
    let work = move || {
        let _permit = permit;
        work()
    };
    match task::spawn_blocking(work).await {
        Ok(answer) => answer,
        // The server reports it like a handler's panic.
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(RequestError::Stopping(error)),
    }
}

/// The format with the greater quality; if equal the one named first, and JSON if neither is named or accepted.
fn accepted(request: &HeaderMap) -> Format {
    let csv = preference(request, header::ACCEPT, &["text/csv", "text/*", "*/*"]);
    let json = preference(request, header::ACCEPT, &["application/json", "application/*", "*/*"]);
    if csv.quality > json.quality
        || csv.quality > 0.0 && csv.quality == json.quality && csv.named < json.named
    {
        Format::Csv
    } else {
        Format::Json
    }
}

/// A client's preference for a value (RFC 9110, 12.4.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// 0: not at all.
    pub quality: f32,
    /// Its position in the header; the greatest number where only a wildcard matches it, or nothing.
    named: usize,
}

/// A header's preference for the value with these names, the most specific first.
pub fn preference(request: &HeaderMap, header: HeaderName, names: &[&str]) -> Preference {
    let values = request.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let entries: Vec<(&str, f32)> = values.flat_map(|value| value.split(',')).map(entry).collect();
    let found = names.iter().zip(0..).find_map(|(name, rank)| {
        let position = entries.iter().position(|(entry, _)| entry.eq_ignore_ascii_case(name))?;
        Some(Preference {
            quality: entries[position].1,
            named: if rank == 0 { position } else { usize::MAX },
        })
    });
    found.unwrap_or(Preference { quality: 0.0, named: usize::MAX })
}

/// An entry of such a header without its parameters, and its quality.
fn entry(entry: &str) -> (&str, f32) {
    let mut parts = entry.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, quality.and_then(|quality| quality.trim().parse().ok()).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use tokio::task::JoinSet;
    use tokio::time;

    use super::*;

    #[test]
    fn the_format_follows_the_accept_header() {
        for (accept, csv) in [
            ("", false),
            ("*/*", false),
            ("text/csv", true),
            ("text/csv;q=0", false),
            ("text/csv; q=0, */*", false),
            ("text/csv;q=0.5, application/json;q=0.9", false),
            ("application/json;q=0.1, text/csv;q=0.9", true),
            ("application/json;q=0, text/csv;q=0.1", true),
            ("application/json, text/csv", false),
            ("text/csv, application/json", true),
            ("text/csv, */*", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("TEXT/CSV;charset=utf-8", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(HeaderValue::from_str(accept).map(|accept| (header::ACCEPT, accept)));
            assert_eq!(accepted(&headers) == Format::Csv, csv, "{accept}");
        }
    }

    /// Lets the computations end when it is dropped.
    struct OpenOnDrop(Arc<AtomicBool>);

    impl Drop for OpenOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// However many clients send requests and disconnect.
    #[tokio::test]
    async fn computations_stay_bounded_when_clients_disconnect() {
        let (open, gate) = (Arc::new(AtomicBool::new(false)), Duration::from_millis(1));
        // Also if the test fails: the runtime waits for its computations.
        let _open_on_drop = OpenOnDrop(Arc::clone(&open));
        let started = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..MAX_COMPUTATIONS {
            let (open, started) = (Arc::clone(&open), Arc::clone(&started));
            clients.spawn(compute(move || {
                started.fetch_add(1, Ordering::SeqCst);
                while !open.load(Ordering::SeqCst) {
                    thread::sleep(gate);
                }
                Ok(().into_response())
            }));
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let until = async |holds: &dyn Fn() -> bool| {
            while !holds() {
                assert!(Instant::now() < deadline, "timed out");
                time::sleep(gate).await;
            }
        };
        until(&|| started.load(Ordering::SeqCst) == MAX_COMPUTATIONS).await;
        clients.shutdown().await;
        assert_eq!(COMPUTATIONS.available_permits(), 0, "computations without a client still run");
        open.store(true, Ordering::SeqCst);
        until(&|| COMPUTATIONS.available_permits() == MAX_COMPUTATIONS).await;
    }
}
