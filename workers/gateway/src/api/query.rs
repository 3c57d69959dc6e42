//! Query parameters: parsed once, bounded, refused with what was found and expected. A type has both: what is accepted and what
//! the OpenAPI document says of that.

use std::{ops::RangeInclusive, str::FromStr};

use axum::{extract::FromRequestParts, http::Uri, http::request::Parts};
use jiff::{civil, fmt::temporal::Pieces};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, SchemaFormat,
        schema::{AnyOfBuilder, Schema, Type},
    },
};
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
pub struct Rows<const MAX: u64> {
    pub limit: Option<Count<1, MAX>>,
    pub format: Option<Format>,
}

/// A query string that must be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Digits alone: an integer of JSON has no plus sign.
fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn integer_schema(range: RangeInclusive<u64>) -> ObjectBuilder {
    let (min, max) = range.into_inner();
    let format = if max > i32::MAX as u64 { KnownFormat::Int64 } else { KnownFormat::Int32 };
    let format = SchemaFormat::KnownFormat(format);
    let integer = ObjectBuilder::new().schema_type(Type::Integer).format(Some(format));
    integer.minimum(Some(min)).maximum(Some(max))
}

/// A whole number of things within `MIN..=MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<const MIN: u64, const MAX: u64>(pub u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = whole_number(&text).filter(|number| (MIN..=MAX).contains(number));
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("expected a whole number from {MIN} to {MAX}")))
    }
}

impl<const MIN: u64, const MAX: u64> PartialSchema for Count<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        integer_schema(MIN..=MAX).into()
    }
}

impl<const MIN: u64, const MAX: u64> ToSchema for Count<MIN, MAX> {}

/// The requested number of rows.
pub fn limit<const MAX: u64>(asked: Option<Count<1, MAX>>, default: usize) -> usize {
    asked.map_or(default, |asked| asked.0 as usize)
}

/// Text of `MIN..=MAX` characters: what JSON Schema calls its length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

/// A page's URL.
pub type PageUrl = Text<1, MAX_PAGE_URL>;

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&text.chars().count()) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!("expected {MIN} to {MAX} characters")))
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let min = (MIN > 0).then_some(MIN);
        ObjectBuilder::new().schema_type(Type::String).min_length(min).max_length(Some(MAX)).into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {}

/// A point in time: milliseconds since the epoch, or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

/// The milliseconds that are accepted: none that look like another unit.
const MILLIS: [RangeInclusive<u64>; 2] = [0..=99_999_999, 100_000_000_000..=99_999_999_999_999];

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str =
            "expected milliseconds since the epoch, or RFC 3339 as in 2026-01-01T12:00:00Z";
        let text = String::deserialize(deserializer)?;
        let Some(millis) = whole_number::<i64>(&text) else {
            return rfc3339(&text).map(Self).ok_or_else(|| D::Error::custom(EXPECTED));
        };
        if MILLIS.iter().any(|range| range.contains(&millis.unsigned_abs())) {
            return Ok(Self(millis));
        }
        let unit = looks_like(millis).map_or_else(String::new, |unit| format!("; it looks like {unit}"));
        Err(D::Error::custom(format!("{EXPECTED}{unit}")))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let text = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
        let millis = MILLIS.into_iter().map(integer_schema);
        millis.fold(AnyOfBuilder::new(), AnyOfBuilder::item).item(text).into()
    }
}

impl ToSchema for Time {}

/// Milliseconds since the epoch of a time as in RFC 3339, up to the end of the year 9999, which `jiff::Timestamp` does not reach.
fn rfc3339(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let since = local.duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0));
    let offset = i128::from(pieces.to_numeric_offset()?.seconds()) * 1_000;
    i64::try_from(since.as_millis() - offset).ok()
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

/// Refuses a page's URL that no request can name.
///
/// # Errors
/// 400 for its length.
pub fn check_page(url: &str) -> Result<(), RequestError> {
    match url.chars().count() {
        1..=MAX_PAGE_URL => Ok(()),
        characters => Err(RequestError::PageLength { characters }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn milliseconds_are_accepted_unless_they_look_like_another_unit() {
        for (edge, accepted) in MILLIS.iter().flat_map(|range| {
            let (start, end) = (*range.start() as i64, *range.end() as i64);
            [(start - 1, false), (start, true), (end, true), (end + 1, false)]
        }) {
            assert!(edge < 0 || looks_like(edge).is_none() == accepted, "{edge}");
        }
    }

    #[test]
    fn times_as_in_rfc_3339_are_milliseconds() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.0015z", 1),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000),
            ("1969-12-31T23:59:59-00:00", -1_000),
            ("9999-12-31T23:59:59-01:00", 253_402_304_399_000),
        ] {
            assert_eq!(rfc3339(text), Some(millis), "{text}");
        }
        for text in ["2023-11-14", "2023-11-14T22:13:20", "2023-02-29T00:00:00Z", "22:13:20Z"] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }
}
