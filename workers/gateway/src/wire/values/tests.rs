//! Topics' values, made from live values and partitions' progress.
#![allow(clippy::unwrap_used)]

use weir_manifest::Pipeline;

use super::*;
use crate::store::{Records, StateLimits, progress::ProgressView};

/// The state of a pipeline that ranks two pages.
fn state() -> PipelineState {
    let mut pipeline = Pipeline::demo();
    pipeline.spec.ranking.top = 2;
    PipelineState::new(pipeline, StateLimits::default(), &[]).unwrap()
}

/// A partition's live values of pages: URL, views, clicks.
fn live(partition: i32, pages: &[(&str, u64, u64)]) -> Live {
    let row = |(url, views, clicks): &(&str, u64, u64)| json!({"url": url, "views": views, "clicks": clicks, "carts": 0, "conversions": 0, "users": 1});
    let site = ("", pages.iter().map(|page| page.1).sum(), pages.iter().map(|page| page.2).sum());
    let pages: Vec<_> = pages.iter().map(row).collect();
    let live = json!({"version": 1, "partition": partition, "start": 0, "end": 300_000, "as_of": 299_000,
        "site": row(&site), "pages": pages});
    serde_json::from_value(live).unwrap()
}

fn value(state: &PipelineState, topic: &Topic) -> Value {
    let rendered = values(state, Vec::new()).topics.into_iter().find(|(rendered, _)| rendered == topic);
    rendered.unwrap().1
}

/// The most viewed pages: URL, rank, views; by rank.
fn top(state: &PipelineState) -> Vec<(String, u64, u64)> {
    let top = value(state, &Topic::Top);
    let pages = top["pages"].as_object().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut ranked: Vec<_> = pages
        .iter()
        .map(|(url, page)| (url.clone(), number(&page["rank"]), number(&page["now"]["view_count"])))
        .collect();
    ranked.sort_by_key(|(_, rank, _)| *rank);
    ranked
}

#[test]
fn the_live_ranking_has_viewed_pages_only_and_twice_the_sealed_length() {
    let state = state();
    let lives = vec![live(0, &[("/a", 5, 0), ("/b", 1, 0), ("/clicked", 0, 9)]), live(1, &[("/b", 7, 0)])];
    state.apply(Records { lives, ..Records::default() });
    assert_eq!(top(&state), [("/b".to_owned(), 1, 8), ("/a".to_owned(), 2, 5)]);
    assert_eq!(value(&state, &Topic::Site)["page_count"], 3);
    let many = vec![live(1, &[("/b", 7, 0), ("/c", 6, 0), ("/d", 4, 0), ("/e", 3, 0)])];
    state.apply(Records { lives: many, ..Records::default() });
    let urls: Vec<_> = top(&state).into_iter().map(|(url, ..)| url).collect();
    assert_eq!(urls, ["/b", "/c", "/a", "/d"]);
}

#[test]
fn health_covers_the_partitions_with_a_commit() {
    let state = state();
    let expected = Pipeline::demo().spec.topics.events.partitions;
    let view = |partition: i32, n: u32| ProgressView {
        partition,
        watermark: Some(n.into()),
        lag: n.into(),
        counted: u64::from(n) * 10,
        late: u64::from(n) * 100,
        dead_letters: u64::from(n) * 1_000,
        partly_late: u64::from(n) * 10_000,
        duplicates: u64::from(n) * 1_000_000,
        other_pages: u64::from(n) * 10_000_000,
        misplaced: u64::from(n) * 100_000,
        ended: n == 2,
        ..ProgressView::default()
    };
    for (views, partitions, watermark, sum, ended) in [
        (vec![], 0, None, 0, false),
        (vec![view(0, 3)], 1, Some(3), 3, false),
        (vec![view(0, 3), view(4, 2)], 2, Some(2), 5, true),
        // As after a reset of the group: partitions without a commit are no longer shown.
        (vec![view(4, 2)], 1, Some(2), 2, true),
    ] {
        state.set_progress(views);
        let health = json!({"partitions": partitions, "expected_partitions": expected, "watermark": watermark,
            "heard": null, "lag": sum, "counted": sum * 10, "late": sum * 100, "dead_letters": sum * 1_000,
            "partly_late": sum * 10_000, "duplicates": sum * 1_000_000, "other_pages": sum * 10_000_000, "misplaced": sum * 100_000,
            "ended": ended, "unready": null, "warnings": [],
            "simulated": null});
        assert_eq!(value(&state, &Topic::Health), health);
    }
}
