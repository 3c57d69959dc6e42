//! What a request may ask: parsed once, bounded, refused in words.

use axum::{extract::FromRequestParts, http::Uri, http::request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use weir_events::{MAX_PAGE_URL, looks_like};

use super::problem::Problem;

/// The query string as `T`. An unknown parameter is an error, not a surprise.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| Problem::bad(explained(&parts.uri, &rejection.body_text())))
    }
}

/// Most characters of a value that are quoted.
const MAX_QUOTED_CHARS: usize = 40;

/// An error of the deserializer, in words for who asked: the parameter, what was found and what is expected.
fn explained(uri: &Uri, error: &str) -> String {
    let error = error.strip_prefix("Failed to deserialize query string: ").unwrap_or(error);
    let (name, why) = match error.split_once(": ") {
        Some((name, why)) if !name.contains(' ') => (name, why),
        _ => ("", error),
    };
    if why.contains("field `") {
        return why
            .replace("unknown field", "unknown parameter")
            .replace("there are no fields", "expected none here")
            .replace("missing field", "missing parameter")
            .replace("duplicate field", "more than one parameter");
    }
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map(|pairs| pairs.0);
    let found = pairs.unwrap_or_default().into_iter().find(|(known, _)| known == name);
    let Some((name, value)) = found else { return error.to_owned() };
    let value: String = value.chars().take(MAX_QUOTED_CHARS).collect();
    // `unknown variant ..., expected ...` begins with what stands here already.
    let expected = why.find("expected").map_or(why, |at| &why[at..]);
    format!("{name} is `{value}`, {expected}")
}

/// A query string that must be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse().map(Count);
        number.map_err(|_| D::Error::custom(format!("expected a whole number from 0 to {}", u32::MAX)))
    }
}

/// A point in time: milliseconds since the epoch, or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str =
            "expected milliseconds since the epoch, or RFC 3339 as in 2026-01-01T12:00:00Z";
        let text = String::deserialize(deserializer)?;
        if let Ok(millis) = text.parse() {
            return match looks_like(millis) {
                Some(unit) => Err(D::Error::custom(format!("{EXPECTED}; it looks like {unit}"))),
                None => Ok(Time(millis)),
            };
        }
        let time = text.parse::<jiff::Timestamp>();
        time.map(|time| Time(time.as_millisecond())).map_err(|_| D::Error::custom(EXPECTED))
    }
}

/// The ends of windows that are asked for, both inclusive.
///
/// # Errors
/// 400 where the first is after the last.
pub fn range(from: Option<Time>, to: Option<Time>) -> Result<(i64, i64), Problem> {
    match (from.map_or(i64::MIN, |from| from.0), to.map_or(i64::MAX, |to| to.0)) {
        (from, to) if from > to => Err(Problem::bad(format!(
            "from is {from} and to is {to}, which is before it: expected from to be at or before to"
        ))),
        range => Ok(range),
    }
}

/// A count of rows within `1..=most`.
///
/// # Errors
/// 400 outside of that.
pub fn limit(asked: Option<Count>, default: u32, most: u32) -> Result<usize, Problem> {
    match asked.map_or(default, |asked| asked.0) {
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
