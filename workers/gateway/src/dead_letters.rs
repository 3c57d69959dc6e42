//! The newest dead letters as their headers tell them: why a record is not counted, and where it is. Never what it says.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

/// Dead letters kept.
pub const KEPT: usize = 200;

/// Why a record is not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its offset in the topic of dead letters.
    pub number: i64,
    /// When it was written, milliseconds since the epoch.
    pub timestamp: i64,
    /// The reason's code, such as `malformed` or `late`.
    pub reason: String,
    /// What was found and what is allowed: fields, lengths and times, never what a field says.
    pub detail: String,
    /// The topic of the record.
    pub topic: String,
    /// The partition of the record; null where the header is missing.
    pub partition: Option<i32>,
    /// The offset of the record; null where the header is missing.
    pub offset: Option<i64>,
}

impl DeadLetter {
    /// The dead letter with this offset, time and headers. Headers that it does not know are left out.
    pub fn new<'a>(
        number: i64,
        timestamp: i64,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut letter = Self { number, timestamp, ..Self::default() };
        for (name, value) in headers {
            match name {
                "reason" => letter.reason = value.to_owned(),
                "detail" => letter.detail = value.to_owned(),
                "topic" => letter.topic = value.to_owned(),
                "partition" => letter.partition = value.parse().ok(),
                "offset" => letter.offset = value.parse().ok(),
                _ => {}
            }
        }
        letter
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub struct DeadLetters(VecDeque<DeadLetter>);

impl DeadLetters {
    /// Takes one over. One that is no later than the last begins a topic that was made anew: what is known of the old one goes.
    pub fn take(&mut self, letter: DeadLetter) {
        if self.0.back().is_some_and(|last| last.number >= letter.number) {
            self.0.clear();
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(letter);
    }

    /// The newest `limit`, oldest first.
    pub fn recent(&self, limit: usize) -> Vec<DeadLetter> {
        self.0.iter().skip(self.0.len().saturating_sub(limit)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: i64) -> DeadLetter {
        DeadLetter { number, ..DeadLetter::default() }
    }

    #[test]
    fn headers_tell_why_and_where() {
        let headers =
            [("reason", "late"), ("detail", "gone"), ("partition", "3"), ("offset", "x"), ("truncated", "9")];
        let expected = DeadLetter {
            reason: "late".to_owned(),
            detail: "gone".to_owned(),
            partition: Some(3),
            timestamp: 5,
            ..letter(7)
        };
        assert_eq!(DeadLetter::new(7, 5, headers), expected);
    }

    #[test]
    fn the_last_are_kept_and_those_of_an_old_topic_are_not() {
        let mut letters = DeadLetters::default();
        (0..500).for_each(|number| letters.take(letter(number)));
        let numbers = |limit| letters.recent(limit).iter().map(|letter| letter.number).collect::<Vec<_>>();
        assert_eq!(numbers(3), [497, 498, 499]);
        assert_eq!(numbers(usize::MAX).len(), KEPT);
        letters.take(letter(1));
        assert_eq!(letters.recent(9), [letter(1)]);
    }
}
