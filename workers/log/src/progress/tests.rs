#![allow(clippy::unwrap_used)]

use super::*;

/// The format known to versions without commits within a window.
#[derive(Debug, Deserialize)]
struct Earlier {
    #[allow(dead_code, reason = "whether it can be read is all that is asked")]
    emitted: Option<i64>,
}

#[test]
fn a_commit_within_a_window_is_refused_by_earlier_versions() {
    let topics = TopicIds::default();
    let at = ResultsProgress { emitted: Some(10), topics: topics.clone(), ..ResultsProgress::default() };
    let within =
        ResultsProgress { emitted: Some(10), begun: Some((20, 3)), topics, ..ResultsProgress::default() };
    for (emitted, stored, earlier_reads_it) in [
        (at, r#"{"emitted":10,"topics":"#, true),
        (within, r#"{"emitted":{"end":10,"begun":[20,3]},"topics":"#, false),
    ] {
        let text = serde_json::to_string(&emitted).unwrap();
        assert!(text.starts_with(stored), "{text}");
        assert_eq!(serde_json::from_str::<ResultsProgress>(&text).unwrap(), emitted);
        assert_eq!(serde_json::from_str::<Earlier>(&text).is_ok(), earlier_reads_it, "{text}");
    }
    for (stored, emitted) in [(r#"{"emitted":10}"#, Some(10)), (r#"{"emitted":null}"#, None)] {
        let read: ResultsProgress = serde_json::from_str(stored).unwrap();
        assert_eq!(read, ResultsProgress { emitted, ..ResultsProgress::default() });
    }
}

/// The metadata committed by release 0.1, and by this one.
const EARLIER: &str = include_str!("../../tests/golden/results-progress-1.json");
const NOW: &str = include_str!("../../tests/golden/results-progress-2.json");

#[test]
fn stored_commits_are_read() {
    let earlier: ResultsProgress = serde_json::from_str(EARLIER).unwrap();
    assert_eq!((earlier.emitted, earlier.lost_up_to, earlier.topics.len()), (Some(10), None, 1));
    assert_eq!(
        serde_json::to_string(&earlier).unwrap(),
        EARLIER.trim(),
        "without losses the format is unchanged"
    );
    let now: ResultsProgress = serde_json::from_str(NOW).unwrap();
    assert_eq!((now.begun, now.lost_up_to, now.topics.len()), (Some((20, 3)), Some(5), 3));
    assert_eq!(serde_json::to_string(&now).unwrap(), NOW.trim());
}

/// The metadata of stage 1 since results follow the second version of the definitions.
const LIMITED: &str = include_str!("../../tests/golden/partition-progress-6.json");

#[test]
fn a_stored_commit_with_events_under_the_other_page_is_read() {
    let progress: PartitionProgress = serde_json::from_str(LIMITED).unwrap();
    assert_eq!((progress.other_pages, progress.reach), (4, Some(1_699_998_000_000)));
    assert!(progress.settings.ends_with(", live pages within 100000, definitions 2"), "{progress:?}");
    assert_eq!(serde_json::to_string(&progress).unwrap(), LIMITED.trim());
    let text = serde_json::to_string(&PartitionProgress { other_pages: 0, ..progress }).unwrap();
    assert!(!text.contains("other_pages"), "{text}");
}

/// The metadata of a generation that has ended: of stage 1, and of stage 2.
const ENDED: (&str, &str) = (
    include_str!("../../tests/golden/partition-progress-5.json"),
    include_str!("../../tests/golden/results-progress-3.json"),
);

#[test]
fn stored_commits_of_an_ended_generation_are_read() {
    let windows: PartitionProgress = serde_json::from_str(ENDED.0).unwrap();
    assert_eq!((windows.ended_by, windows.told_after), (Some(3), Some(1_699_999_000_000)));
    assert_eq!(serde_json::to_string(&windows).unwrap(), ENDED.0.trim());
    let results: ResultsProgress = serde_json::from_str(ENDED.1).unwrap();
    assert_eq!((results.ended_by, results.emitted), (Some(3), Some(10)));
    assert_eq!(serde_json::to_string(&results).unwrap(), ENDED.1.trim());
    let reached = PartitionProgress { reach: Some(1_699_998_000_000), ..windows.clone() };
    let text = serde_json::to_string(&reached).unwrap();
    assert!(text.contains(r#""told_after":1699999000000,"reach":1699998000000,"ended_by":3"#), "{text}");
    assert_eq!(serde_json::from_str::<PartitionProgress>(&text).unwrap(), reached);
    let running = PartitionProgress { told_after: None, ended_by: None, ..windows };
    let text = serde_json::to_string(&running).unwrap();
    assert!(
        ["told_after", "reach", "ended_by"].iter().all(|field| !text.contains(field)),
        "off, there is no byte of it: {text}"
    );
}
