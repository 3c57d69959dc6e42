//! Dead letters: records that could not be counted, with the reason and their offsets, always within the size limit.
//!
//! An input record may be larger than the limit of the dead-letter topic, and must not stop the pipeline. So the original bytes are
//! truncated to what every topic accepts, and a header has the original length. The whole record is at the offset in the headers,
//! as long as the events are retained.

use weir_events::Invalid;

use weir_log::{Output, Record};

/// Maximum bytes of the original value, of its key and of the detail. With names and numbers the sum stays well below the 1 MB
/// that producers, brokers and topics accept by default.
const MAX_VALUE_BYTES: usize = 800_000;
const MAX_KEY_BYTES: usize = 64_000;
const MAX_DETAIL_BYTES: usize = 4_000;

/// The dead letter of a record of the topic `events`. The original bytes are omitted unless `keep_payload`.
pub(crate) fn dead_letter(
    record: &Record<'_>,
    invalid: &Invalid,
    (events, dead_letters): (&str, &str),
    keep_payload: bool,
) -> Output {
    let (key, value) = if keep_payload { (record.key, record.value) } else { (None, None) };
    let mut headers = vec![
        ("reason", invalid.reason.as_str().to_owned()),
        ("detail", beginning(&invalid.detail, MAX_DETAIL_BYTES).to_owned()),
        ("topic", events.to_owned()),
        ("partition", record.partition.to_string()),
        ("offset", record.offset.to_string()),
    ];
    for (name, bytes, max) in [("truncated", value, MAX_VALUE_BYTES), ("truncated-key", key, MAX_KEY_BYTES)] {
        if let Some(bytes) = bytes.filter(|bytes| bytes.len() > max) {
            headers.push((name, bytes.len().to_string()));
        }
    }
    let cut = |bytes: Option<&[u8]>, max: usize| bytes.map(|bytes| bytes[..bytes.len().min(max)].to_vec());
    Output {
        topic: dead_letters.to_owned(),
        partition: 0,
        key: cut(key, MAX_KEY_BYTES),
        value: cut(value, MAX_VALUE_BYTES),
        headers,
    }
}

/// The longest prefix of at most `max` bytes.
fn beginning(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use weir_events::Reason;

    use super::*;
    use weir_memory::MAX_RECORD;

    fn of(key: &[u8], value: &[u8], detail: &str, keep_payload: bool) -> Output {
        let record = Record { partition: 3, offset: 42, timestamp: 0, key: Some(key), value: Some(value) };
        let invalid = Invalid { reason: Reason::Malformed, detail: detail.to_owned() };
        dead_letter(&record, &invalid, ("clicks", "shop.dead-letters"), keep_payload)
    }

    #[test]
    fn short_records_are_unchanged() {
        let letter = of(b"key", &vec![7; MAX_VALUE_BYTES], "the value is empty", true);
        assert_eq!((letter.key.unwrap().len(), letter.value.unwrap().len()), (3, MAX_VALUE_BYTES));
        let headers = [
            ("reason", "malformed"),
            ("detail", "the value is empty"),
            ("topic", "clicks"),
            ("partition", "3"),
            ("offset", "42"),
        ];
        assert_eq!(letter.headers, headers.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn long_records_are_truncated_and_marked() {
        let value: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
        let letter = of(&vec![1; 200_000], &value, &"é".repeat(100_000), true);
        let header = |name| letter.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        assert_eq!((header("truncated"), header("truncated-key")), (Some("3000000"), Some("200000")));
        assert!(letter.value.as_deref() == Some(&value[..MAX_VALUE_BYTES]));
        let bytes = letter.key.iter().chain(&letter.value).map(Vec::len).sum::<usize>()
            + letter.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        // Room for two topic names of maximum length, and for what librdkafka adds.
        assert!(bytes + 1_000 < MAX_RECORD, "{bytes} bytes");
    }

    #[test]
    fn an_omitted_payload_is_not_marked_as_truncated() {
        let letter = of(&vec![1; 200_000], &vec![7; 3_000_000], "", false);
        assert_eq!((letter.key, letter.value, letter.headers.len()), (None, None, 5));
    }
}
