//! Who may open a socket from a browser: pages of the same host.

use axum::http::{HeaderMap, StatusCode, header};

use crate::problem::Problem;

/// Refuses a browser on a page from elsewhere: sockets are not kept apart by browsers as requests are.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    if text(header::HOST) == Some(host) {
        return Ok(());
    }
    let detail = format!(
        "a page of {origin:?} may not read this, only pages of {:?}",
        text(header::HOST).unwrap_or_default()
    );
    Err(Problem { status: StatusCode::FORBIDDEN, detail })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
        headers
    }

    #[test]
    fn pages_of_other_hosts_are_refused() {
        assert_eq!(check(&headers("weir:8080", None)), Ok(()));
        assert_eq!(check(&headers("weir:8080", Some("http://weir:8080"))), Ok(()));
        for elsewhere in ["http://evil.example", "http://weir:8081", "null", "http://weir:8080.evil.example"]
        {
            assert_eq!(
                check(&headers("weir:8080", Some(elsewhere))).unwrap_err().status,
                StatusCode::FORBIDDEN
            );
        }
    }
}
