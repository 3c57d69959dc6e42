//! What a request may ask: parsed once, bounded, refused in words.

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use weir_events::MAX_PAGE_URL;

use super::problem::Problem;

/// The query string as `T`. An unknown parameter is an error, not a surprise.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// A query string that must be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A point in time: milliseconds since the epoch, or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let millis = text
            .parse()
            .ok()
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond()));
        millis.map(Time).ok_or_else(|| {
            let found: String = text.chars().take(40).collect();
            D::Error::custom(format!(
                "`{found}` is no time, expected milliseconds since the epoch or RFC 3339"
            ))
        })
    }
}

/// A count of rows within `1..=most`.
///
/// # Errors
/// 400 outside of that.
pub fn limit(asked: Option<u32>, default: u32, most: u32) -> Result<usize, Problem> {
    match asked.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit as usize),
        other => Err(Problem::bad(format!("limit is {other}, expected 1 to {most}"))),
    }
}

/// A page's URL.
///
/// # Errors
/// 400 for one that no event can have.
pub fn page(url: &str) -> Result<&str, Problem> {
    if url.is_empty() || url.len() > MAX_PAGE_URL {
        return Err(Problem::bad(format!("page has {} bytes, expected 1 to {MAX_PAGE_URL}", url.len())));
    }
    Ok(url)
}
