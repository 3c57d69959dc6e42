//! Bounded numbers, with errors that name the bounds.

use std::{any::Any, fmt::Display, ops::RangeInclusive, str::FromStr};

/// Types of numbers on a command line.
pub trait Number: FromStr + PartialOrd + Display + Copy + Any + Send + Sync {}
impl<T: FromStr + PartialOrd + Display + Copy + Any + Send + Sync> Number for T {}

/// A parser of numbers within `bounds`; `meaning` describes them in errors, such as `events per second`.
pub fn number<T: Number>(
    meaning: &'static str,
    bounds: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        // NaN is in no range.
        text.trim().parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
            format!("found `{text}`, expected {meaning} from {} to {}", bounds.start(), bounds.end())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_within_its_bounds() {
        let share = number("a share", 0.0..=1.0);
        assert_eq!(share("0.5"), Ok(0.5));
        for wrong in ["-0.1", "1.01", "NaN", "inf", "half", "", "1,5"] {
            assert_eq!(share(wrong), Err(format!("found `{wrong}`, expected a share from 0 to 1")));
        }
        let count = number("a count", 1..=u64::MAX);
        assert_eq!(count("7"), Ok(7));
        assert_eq!(count("-1"), Err(format!("found `-1`, expected a count from 1 to {}", u64::MAX)));
    }
}
