//! Formats numbers, durations and times.

use jiff::{Timestamp, tz::TimeZone};

/// Shown where there is no number.
pub(super) const NONE: &str = "-";

/// `1234567` as `1,234,567`.
pub(super) fn count(n: impl Into<i64>) -> String {
    let n: i64 = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut text = if n < 0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 view`, `2 views`.
pub(super) fn counted(n: impl Into<i64>, noun: &str) -> String {
    let n = n.into();
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `0.2795` as `28.0 %`; not clamped.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { NONE.to_owned() }
}

/// The share of `part` in `whole`, if there is a whole.
pub(super) fn share(part: i64, whole: i64) -> String {
    if whole == 0 { NONE.to_owned() } else { percent(part as f64 / whole as f64) }
}

/// Seconds as `m:ss`, from an hour as `h:mm:ss`.
pub(super) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A window's bounds in UTC, the day once where both are on it.
pub(super) fn window(start: i64, end: i64) -> String {
    let (first, last) = (parts(start), parts(end));
    match (first, last) {
        (Some((day, from)), Some((last_day, to))) if day == last_day => format!("{day} {from} - {to} UTC"),
        (Some((day, from)), Some((last_day, to))) => format!("{day} {from} - {last_day} {to} UTC"),
        _ => format!("{start} - {end} ms since the epoch"),
    }
}

/// A time in UTC.
pub(super) fn moment(millis: i64) -> String {
    match parts(millis) {
        Some((day, time)) => format!("{day} {time} UTC"),
        None => format!("{millis} ms since the epoch"),
    }
}

/// Day and time of day, with milliseconds only where there are any; `None` outside the calendar.
fn parts(millis: i64) -> Option<(String, String)> {
    let time = Timestamp::from_millisecond(millis).ok()?.to_zoned(TimeZone::UTC);
    let format = if millis % 1_000 == 0 { "%H:%M:%S" } else { "%H:%M:%S.%3f" };
    Some((time.strftime("%Y-%m-%d").to_string(), time.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        for (n, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-1_000, "-1,000"),
            (-999, "-999"),
            (1_234_567, "1,234,567"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(count(n), expected);
        }
    }

    #[test]
    fn shares() {
        for (part, whole, expected) in
            [(1, 2, "50.0 %"), (3, 2, "150.0 %"), (0, 2, "0.0 %"), (1, 3, "33.3 %"), (0, 0, "-"), (1, 0, "-")]
        {
            assert_eq!(share(part, whole), expected);
        }
        assert_eq!(percent(f64::NAN), "-");
    }

    #[test]
    fn spans() {
        for (seconds, expected) in [
            (0.0, "0:00"),
            (59.4, "0:59"),
            (59.5, "1:00"),
            (185.0, "3:05"),
            (3_599.6, "1:00:00"),
            (86_400.0, "24:00:00"),
            (-1.0, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn times_are_utc() {
        for (start, end, expected) in [
            (1_795_225_200_000, 1_795_225_500_000, "2026-11-21 01:40:00 - 01:45:00 UTC"),
            (1_795_305_480_000, 1_795_305_780_000, "2026-11-21 23:58:00 - 2026-11-22 00:03:00 UTC"),
            (1_795_225_200_500, 1_795_225_500_500, "2026-11-21 01:40:00.500 - 01:45:00.500 UTC"),
            (-1, i64::MAX, "-1 - 9223372036854775807 ms since the epoch"),
        ] {
            assert_eq!(window(start, end), expected);
        }
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(i64::MIN), "-9223372036854775808 ms since the epoch");
    }
}
