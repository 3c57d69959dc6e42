//! Settings of topics: which changes can lose records or change their meaning, and so need consent. Pure.

use std::fmt;

/// A topic setting that differs from the pipeline's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// The setting's name.
    pub setting: String,
    /// The topic's value.
    pub found: String,
    /// The pipeline's value.
    pub expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, setting, found, expected } = self;
        write!(
            f,
            "topic {topic} has {setting}={found}{}, the pipeline says {expected}{}",
            in_words(setting, found),
            in_words(setting, expected)
        )
    }
}

/// A readable form of milliseconds.
fn in_words(setting: &str, value: &str) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
    match value.parse::<i64>() {
        Ok(time) if setting.ends_with(".ms") && time > 0 => UNITS
            .iter()
            .find(|(unit, _)| time % unit == 0)
            .map_or_else(String::new, |(unit, name)| format!(" ({} {name})", time / unit)),
        _ => String::new(),
    }
}

impl Difference {
    /// Whether the change could lose or refuse records, or change their meaning. Unknown settings count as destructive.
    pub fn is_destructive(&self) -> bool {
        match self.setting.as_str() {
            // Existing records stay, new ones are written as before.
            "compression.type" | "min.cleanable.dirty.ratio" => false,
            // Limits: raising them is harmless, and -1 is unlimited.
            "retention.ms" | "retention.bytes" => match (limit(&self.found), limit(&self.expected)) {
                (Some(found), Some(expected)) => expected < found,
                _ => true,
            },
            "max.message.bytes" | "min.insync.replicas" => {
                match (self.found.parse::<i64>(), self.expected.parse::<i64>()) {
                    (Ok(found), Ok(expected)) => expected < found,
                    _ => true,
                }
            }
            _ => true,
        }
    }
}

/// A retention as a number; the maximum if unlimited.
fn limit(value: &str) -> Option<i64> {
    value.parse().ok().map(|value: i64| if value < 0 { i64::MAX } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_can_lose_records_are_destructive() {
        for (setting, found, expected, destructive) in [
            ("retention.ms", "1209600000", "7200000", true),
            ("retention.ms", "-1", "7200000", true),
            ("retention.ms", "7200000", "1209600000", false),
            ("retention.ms", "7200000", "-1", false),
            ("retention.bytes", "-1", "1000", true),
            ("cleanup.policy", "compact", "delete", true),
            ("cleanup.policy", "delete", "compact", true),
            ("segment.ms", "604800000", "1800000", true),
            ("message.timestamp.type", "CreateTime", "LogAppendTime", true),
            ("max.message.bytes", "8388608", "1048588", true),
            ("max.message.bytes", "1048588", "8388608", false),
            ("min.insync.replicas", "2", "1", true),
            ("min.insync.replicas", "1", "2", false),
            ("compression.type", "producer", "snappy", false),
            ("something.new", "a", "b", true),
        ] {
            let difference = Difference {
                topic: "t".to_owned(),
                setting: setting.to_owned(),
                found: found.to_owned(),
                expected: expected.to_owned(),
            };
            assert_eq!(difference.is_destructive(), destructive, "{difference}");
        }
    }

    #[test]
    fn a_difference_shows_both_values() {
        let difference = Difference {
            topic: "clicks".to_owned(),
            setting: "retention.ms".to_owned(),
            found: "1209600000".to_owned(),
            expected: "7200000".to_owned(),
        };
        let said = "topic clicks has retention.ms=1209600000 (14 d), the pipeline says 7200000 (2 h)";
        assert_eq!(difference.to_string(), said);
    }
}
