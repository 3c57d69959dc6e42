//! Origin and Host checks, against cross-site requests and DNS rebinding.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::api::error::RequestError;

/// The allowed origins and hosts.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Other sites' origins that may send requests, as `https://host[:port]`.
    pub(super) origins: Arc<[String]>,
    /// Bound to loopback, so the Host header must name this machine: protection against DNS rebinding.
    pub(super) loopback: bool,
}

const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Refuses requests that are not allowed; adds security headers to every response.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.refuse(request.headers()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Guard {
    fn refuse(&self, headers: &HeaderMap) -> Option<RequestError> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let host = text(header::HOST).unwrap_or_default();
        if self.loopback && !host.is_empty() && !is_this_machine(host) {
            return Some(RequestError::ForeignHost);
        }
        let origin = text(header::ORIGIN)?;
        let same =
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        let allowed = same || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        (!allowed).then(|| RequestError::ForeignOrigin)
    }
}

/// Whether an authority (`host[:port]`) names this machine.
fn is_this_machine(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(loopback: bool, host: &str, origin: Option<&str>) -> bool {
        let guard = Guard { origins: Arc::new(["https://board.example".to_owned()]), loopback };
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::from_str(host).map(|host| (header::HOST, host)));
        let origin = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
        headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
        guard.refuse(&headers).is_some()
    }

    #[test]
    fn requests_of_other_origins_are_refused() {
        assert!(!refused(true, "127.0.0.1:8080", None));
        assert!(!refused(true, "127.0.0.1:8080", Some("http://127.0.0.1:8080")));
        assert!(!refused(true, "localhost:8080", Some("https://board.example")));
        assert!(refused(true, "127.0.0.1:8080", Some("http://127.0.0.1:9090")));
        assert!(refused(true, "127.0.0.1:8080", Some("https://evil.example")));
        assert!(refused(true, "127.0.0.1:8080", Some("null")));
        assert!(refused(false, "weir.example", Some("https://weir.example.evil.example")));
        assert!(!refused(false, "weir.example", Some("https://weir.example")));
    }

    #[test]
    fn a_foreign_host_name_is_refused_on_loopback() {
        for host in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "127.1.2.3:1"] {
            assert!(!refused(true, host, None), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "10.0.0.1:8080", "localhost.evil.example", "[fe80::1]"]
        {
            assert!(refused(true, host, None), "{host}");
            assert!(!refused(false, host, None), "{host}");
        }
    }
}
