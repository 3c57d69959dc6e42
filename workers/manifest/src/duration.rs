//! Durations in human-readable notation.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units, largest first, which is also the order in which they must be written: name, milliseconds, maximum digits of the number.
const UNITS: [(&str, i64, usize); 5] =
    [("d", 86_400_000, 5), ("h", 3_600_000, 6), ("m", 60_000, 8), ("s", 1_000, 9), ("ms", 1, 12)];

/// Longer durations are mistakes; with this limit a sum of a few of them cannot overflow.
const MAX_MILLIS: i64 = 36_500 * 86_400_000;

/// A span of time, written as whole numbers with units from the largest to the smallest: `5m`, `1h30m`, `500ms`, `1d`.
///
/// Never negative, at most 36,500 days. [`Display`](fmt::Display) gives the canonical form: `90m` becomes `1h30m`.
///
/// ```
/// let gap: weir_manifest::Duration = "90m".parse()?;
/// assert_eq!((gap.as_millis(), gap.to_string().as_str()), (5_400_000, "1h30m"));
/// # Ok::<(), weir_manifest::DurationError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

/// A string that is not a [`Duration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a duration, expected {}", Duration::EXPECTED)]
pub struct DurationError {
    found: String,
}

impl Duration {
    /// The schema's pattern; the string must also not be empty. Parsing also limits the duration to 36,500 days. The numbers of
    /// digits suffice for that, and are small enough that no CEL rule overflows.
    pub const PATTERN: &str = "^([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$";

    pub(crate) const EXPECTED: &str =
        "whole numbers with units d, h, m, s, ms in that order, such as 5m, 1h30m or 500ms, at most 36500d";

    /// A duration of `seconds`.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as i64 * 1_000)
    }

    /// A duration of `millis`, which are no more than a document can say.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The span in milliseconds: the unit of every timestamp.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl std::ops::Add for Duration {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_millis(span.0.unsigned_abs())
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).map(Self).ok_or_else(|| DurationError { found: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let (_, millis, max_digits) = units.find(|(unit, ..)| *unit == &rest[..letters])?;
        if digits > *max_digits {
            return None;
        }
        rest = &rest[letters..];
        total = total.checked_add(number.checked_mul(*millis)?)?;
    }
    (!text.is_empty() && total <= MAX_MILLIS).then_some(total)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis, _) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 46, "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_durations_and_writes_the_canonical_form() {
        for (text, millis, canonical) in [
            ("5m", 300_000, "5m"),
            ("10s", 10_000, "10s"),
            ("2h", 7_200_000, "2h"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("24h", 86_400_000, "1d"),
            ("90s", 90_000, "1m30s"),
            ("1s500ms", 1_500, "1s500ms"),
            ("0s", 0, "0s"),
            ("0ms", 0, "0s"),
            ("36500d", MAX_MILLIS, "36500d"),
        ] {
            let span: Duration = text.parse().unwrap();
            assert_eq!(span.as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse::<Duration>().unwrap(), span, "{canonical}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            " 5m",
            "5m ",
            "-5m",
            "+5m",
            "1.5h",
            "5min",
            "5M",
            "30m1h",
            "5m5m",
            "1w",
            "5µs",
            "٥m",
            "36501d",
            "99999999999999999999d",
            "9223372036854775807d",
            "000001d",
            "0000000000001ms",
        ] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
