#![allow(clippy::unwrap_used)]

use super::*;

/// What versions before commits within a window read.
#[derive(Debug, Deserialize)]
struct Earlier {
    #[allow(dead_code, reason = "whether it can be read is all that is asked")]
    emitted: Option<i64>,
}

#[test]
fn a_commit_within_a_window_is_refused_by_versions_that_know_none() {
    let topics = TopicIds::default();
    let at = Emitted { emitted: Some(10), begun: None, topics: topics.clone() };
    let within = Emitted { emitted: Some(10), begun: Some((20, 3)), topics };
    for (emitted, stored, earlier_reads_it) in [
        (at, r#"{"emitted":10,"topics":"#, true),
        (within, r#"{"emitted":{"end":10,"begun":[20,3]},"topics":"#, false),
    ] {
        let text = serde_json::to_string(&emitted).unwrap();
        assert!(text.starts_with(stored), "{text}");
        assert_eq!(serde_json::from_str::<Emitted>(&text).unwrap(), emitted);
        assert_eq!(serde_json::from_str::<Earlier>(&text).is_ok(), earlier_reads_it, "{text}");
    }
    for (stored, emitted) in [(r#"{"emitted":10}"#, Some(10)), (r#"{"emitted":null}"#, None)] {
        let read: Emitted = serde_json::from_str(stored).unwrap();
        assert_eq!(read, Emitted { emitted, ..Emitted::default() });
    }
}
