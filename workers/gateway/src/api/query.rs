//! Query parameters: parsed once, bounded, refused with what was found and expected.

use axum::{extract::FromRequestParts, http::Uri, http::request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use weir_events::{MAX_PAGE_URL, looks_like};

use super::{answer::Format, error::RequestError};

/// The query string as `T`. An unknown parameter is an error.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, RequestError> {
        check_utf8(parts.uri.query().unwrap_or_default())?;
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|source| {
            RequestError::Parameter { detail: explained(&parts.uri, &source.body_text()), source }
        })
    }
}

/// Refuses a query string with bytes that are no UTF-8: decoding it would silently put other characters there.
fn check_utf8(query: &str) -> Result<(), RequestError> {
    for pair in query.split('&') {
        if let Err(source) = std::str::from_utf8(&percent_decoded(pair)) {
            let (parameter, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.chars().take(MAX_QUOTED_CHARS).collect();
            return Err(RequestError::NotUtf8 { parameter: parameter.to_owned(), value, source });
        }
    }
    Ok(())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Maximum characters of a quoted value.
const MAX_QUOTED_CHARS: usize = 40;

/// A deserializer's error as a message for the client: the parameter, what was found and what is expected.
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
    // `unknown variant ..., expected ...` begins by repeating the value.
    let expected = why.find("expected").map_or(why, |at| &why[at..]);
    format!("{name} is `{value}`, {expected}")
}

/// A number of rows, as JSON or as a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows<const MAX: u32> {
    pub limit: Option<Count<1, MAX>>,
    pub format: Option<Format>,
}

/// A query string that must be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// A whole number of things within `MIN..=MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<const MIN: u32, const MAX: u32>(pub u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("expected a whole number from {MIN} to {MAX}")))
    }
}

/// The requested number of rows.
pub fn limit<const MAX: u32>(asked: Option<Count<1, MAX>>, default: usize) -> usize {
    asked.map_or(default, |asked| asked.0 as usize)
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

/// The requested range of windows' ends, both inclusive.
///
/// # Errors
/// 400 where the first is after the last.
pub fn range(from: Option<Time>, to: Option<Time>) -> Result<(i64, i64), RequestError> {
    match (from.map_or(i64::MIN, |from| from.0), to.map_or(i64::MAX, |to| to.0)) {
        (from, to) if from > to => Err(RequestError::ReversedRange { from, to }),
        range => Ok(range),
    }
}

/// Refuses a page's URL that no event can have.
///
/// # Errors
/// 400 for its length.
pub fn check_page(url: &str) -> Result<(), RequestError> {
    match url.len() {
        1..=MAX_PAGE_URL => Ok(()),
        bytes => Err(RequestError::PageLength { bytes }),
    }
}
