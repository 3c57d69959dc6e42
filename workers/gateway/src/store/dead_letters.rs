//! The newest dead letters, from their headers: why a record is not counted, and where it is. Never its content.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

/// Maximum number of dead letters in memory.
pub const MAX_DEAD_LETTERS: usize = 200;
/// Maximum characters of a header's value: programs other than processors may write to the topic.
const MAX_HEADER_CHARS: usize = 4_000;

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
    /// The dead letter with this offset, time and headers. Unknown headers are ignored.
    pub fn new<'a>(
        number: i64,
        timestamp: i64,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut letter = Self { number, timestamp, ..Self::default() };
        for (name, value) in headers {
            match name {
                "reason" => letter.reason = beginning(value),
                "detail" => letter.detail = beginning(value),
                "topic" => letter.topic = beginning(value),
                "partition" => letter.partition = value.parse().ok(),
                "offset" => letter.offset = value.parse().ok(),
                _ => {}
            }
        }
        letter
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(MAX_HEADER_CHARS).collect()
}

/// The newest dead letters of a topic.
#[derive(Debug, Default)]
pub struct DeadLetters {
    newest: VecDeque<DeadLetter>,
    /// When the topic was last read to its end, milliseconds since the epoch.
    read_at: Option<i64>,
}

impl DeadLetters {
    /// Adds the letters read up to the topic's end at `now`, oldest first.
    pub fn add(&mut self, letters: impl IntoIterator<Item = DeadLetter>, now: i64) {
        self.newest.extend(letters);
        let surplus = self.newest.len().saturating_sub(MAX_DEAD_LETTERS);
        self.newest.drain(..surplus);
        self.read_at = Some(now);
    }

    /// Drops everything: the topic was recreated.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The newest `limit`, oldest first; and when the topic was last read to its end.
    pub fn recent(&self, limit: usize) -> (Vec<DeadLetter>, Option<i64>) {
        let skipped = self.newest.len().saturating_sub(limit);
        (self.newest.iter().skip(skipped).cloned().collect(), self.read_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: i64) -> DeadLetter {
        DeadLetter { number, ..DeadLetter::default() }
    }

    #[test]
    fn headers_become_reason_and_position() {
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
    fn long_headers_are_truncated() {
        let long = "x".repeat(MAX_HEADER_CHARS + 1);
        let letter = DeadLetter::new(1, 2, [("reason", &*long), ("detail", &*long), ("topic", &*long)]);
        assert!(
            [letter.reason, letter.detail, letter.topic].iter().all(|text| text.len() == MAX_HEADER_CHARS)
        );
    }

    #[test]
    fn the_newest_are_kept_until_the_topic_is_recreated() {
        let mut letters = DeadLetters::default();
        assert_eq!(letters.recent(9), (Vec::new(), None));
        letters.add((0..500).map(letter), 1);
        letters.add((500..503).map(letter), 2);
        assert_eq!(letters.recent(3), ((500..503).map(letter).collect(), Some(2)));
        assert_eq!(letters.recent(usize::MAX).0.len(), MAX_DEAD_LETTERS);
        letters.clear();
        assert_eq!(letters.recent(9), (Vec::new(), None));
    }
}
