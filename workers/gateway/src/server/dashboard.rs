//! The dashboard and the API's page: files built from `dashboard/`, in the binary.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};

use crate::{
    Gateway,
    api::answer::{preference, tagged},
};

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static [u8],
}

macro_rules! file {
    ($path:literal, $name:literal, $kind:literal) => {
        File { path: $path, kind: $kind, text: include_bytes!(concat!("../../dashboard/dist/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/app.js", "app.js", "text/javascript; charset=utf-8"),
    file!("/app.css", "app.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
    file!("/docs", "docs.html", "text/html; charset=utf-8"),
    file!("/docs.js", "docs.js", "text/javascript; charset=utf-8"),
];

/// Each file's compressed form, made once.
static COMPRESSED: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| FILES.iter().map(|file| gzip(file.text)).collect());

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

pub(super) fn router() -> Router<Gateway> {
    FILES.iter().enumerate().fold(Router::new(), |router, (number, file)| {
        router.route(file.path, get(move |headers: HeaderMap| async move { serve(number, file, &headers) }))
    })
}

fn serve(number: usize, file: &'static File, request: &HeaderMap) -> Response {
    let zipped = preference(request, header::ACCEPT_ENCODING, &["gzip", "*"]).quality > 0.0;
    let body = if zipped { COMPRESSED[number].clone() } else { file.text.to_vec() };
    let mut response = tagged(request, file.kind, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if zipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_small() {
        let page: usize = COMPRESSED[..4].iter().map(Vec::len).sum();
        assert!(page < 150_000, "{page} bytes");
    }
}
