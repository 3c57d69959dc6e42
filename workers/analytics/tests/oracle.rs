//! The engine against the brute-force oracle, over random logs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::{bool::weighted, collection::vec, prelude::*, test_runner::TestCaseError};
use weir_analytics::{Block, Definitions, Merge, Partition, Settings, Verdict, WindowResult};
use weir_oracle::{Entry, Page, Window, logs};

/// The engine's output for a log.
#[derive(Debug, Default, PartialEq)]
struct EngineOutput {
    windows: Vec<Window>,
    /// The late, and the partly late, entries of each partition.
    late: Vec<Vec<usize>>,
    partly_late: Vec<Vec<usize>>,
    duplicates: Vec<Vec<usize>>,
    other_pages: Vec<Vec<usize>>,
    /// Number of events that each window misses.
    not_whole: BTreeMap<i64, usize>,
    /// The end of each partition's last window.
    last_ends: Vec<Option<i64>>,
}

/// Runs a log through the engine. Where `saves` is true (cycling), a partition is restored from its snapshot.
fn run(case: &logs::Case, lanes: i32, saves: &[bool]) -> EngineOutput {
    let settings = settings(&case.settings, lanes);
    let inputs = case.partitions.len() as i32;
    let mut merges: Vec<Merge> = (0..lanes).map(|_| Merge::new(settings, inputs, None)).collect();
    let mut output = EngineOutput::default();
    let mut blocks = Vec::new();
    for (number, log) in case.partitions.iter().enumerate() {
        let mut partition = Partition::new(number as i32, settings);
        output.late.push(Vec::new());
        output.partly_late.push(Vec::new());
        output.duplicates.push(Vec::new());
        output.other_pages.push(Vec::new());
        for (i, entry) in log.iter().enumerate() {
            if saves[i % saves.len()] {
                blocks.extend(partition.take_blocks());
                partition =
                    Partition::restore(number as i32, settings, &partition.snapshot().unwrap()).unwrap();
            }
            match entry {
                Entry::AdvanceWatermark(watermark) => partition.advance_watermark(*watermark),
                Entry::Event(e) => {
                    let event = e.into();
                    let verdict = partition.read(&event);
                    if matches!(verdict, Verdict::Counted | Verdict::PartlyLate) && partition.is_other_page()
                    {
                        output.other_pages[number].push(i);
                    }
                    match verdict {
                        Verdict::Counted => {}
                        Verdict::Late => output.late[number].push(i),
                        Verdict::Duplicate => output.duplicates[number].push(i),
                        Verdict::PartlyLate => {
                            output.partly_late[number].push(i);
                            let missed = settings.first_window_end(e.timestamp)..=partition.sealed().unwrap();
                            for end in missed.step_by(settings.slide as usize) {
                                *output.not_whole.entry(end).or_default() += 1;
                            }
                        }
                    }
                }
            }
        }
        blocks.extend(partition.take_blocks());
        output.last_ends.push(partition.last_window_end());
        check_all_dropped(partition, &case.settings);
    }
    assert!(blocks.iter().all(|block| block.pages.is_sorted_by(|a, b| a.url < b.url)), "{blocks:#?}");
    let mut results: Vec<(WindowResult, Vec<Block>)> = Vec::new();
    for (offset, block) in blocks.iter().enumerate() {
        for record in block.clone().encode().unwrap() {
            merges[settings.lane(block.end) as usize].read(&record, offset as i64).unwrap();
        }
    }
    for merge in &mut merges {
        for result in merge.complete() {
            let end = result.end;
            results.push((result, blocks.iter().filter(|b| b.end == end).cloned().collect()));
        }
    }
    results.sort_by_key(|(result, _)| result.end);
    output.windows = results.into_iter().map(|(result, blocks)| window(result, &blocks)).collect();
    output
}

/// Checks that all state of old visitors is dropped: no visit, no pair, no name is left.
fn check_all_dropped(mut partition: Partition, settings: &weir_oracle::Settings) {
    let Some(end) = partition.last_window_end() else { return };
    let long_after = end + settings.session_gap + 2_000 * settings.trending_half_life.max(settings.size);
    let other = weir_oracle::Event {
        user: "x".to_owned(),
        session: "x".to_owned(),
        kind: weir_oracle::Kind::View,
        page: "/".to_owned(),
        timestamp: long_after,
        session_duration: None,
        event_id: None,
    };
    assert_eq!(partition.read(&(&other).into()), Verdict::Counted);
    // Baselines are dropped relative to those of other pages, which takes some aligned windows.
    partition.advance_watermark(long_after + settings.session_gap + 4 * settings.size);
    partition.take_blocks();
    assert_eq!(partition.live(), 0);
    let snapshot = partition.snapshot().unwrap();
    for name in [&b"/page/"[..], b"user-", b"session-"] {
        assert!(!snapshot.windows(name.len()).any(|bytes| bytes == name), "{}", snapshot.escape_ascii());
    }
}

fn settings(s: &weir_oracle::Settings, lanes: i32) -> Settings {
    Settings {
        size: s.size,
        slide: s.slide,
        out_of_orderness: s.out_of_orderness,
        session_gap: s.session_gap,
        lanes,
        top: s.top,
        trending_half_life: s.trending_half_life,
        warm_up: s.warm_up,
        duplicate_slack: s.duplicate_slack,
        page_limit: s.page_limit.unwrap_or(100_000),
        definitions: if s.visits_span_users { Definitions::V1 } else { Definitions::V2 },
    }
}

fn window(result: WindowResult, blocks: &[Block]) -> Window {
    assert_eq!(result.top.page_count, Some(result.pages.len() as i32));
    let pages = result.pages.into_iter().map(|page| {
        let rows = || blocks.iter().flat_map(|b| &b.pages).filter(|row| row.url == page.page_url);
        Page {
            visits: rows().map(|r| i64::from(r.visits)).sum(),
            bounces: rows().map(|r| i64::from(r.bounces)).sum(),
            duration_sum_ms: rows().map(|r| r.duration).sum(),
            ..Page::from(page.clone())
        }
    });
    Window { pages: pages.collect(), ..Window::from(result.top) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_the_oracle(case in logs::logs(), lanes in 1..4_i32) {
        let expected = weir_oracle::compute(&case.partitions, &case.settings);
        let output = run(&case, lanes, &[false]);
        prop_assert_eq!(&output.late, &expected.late);
        prop_assert_eq!(&output.partly_late, &expected.partly_late);
        prop_assert_eq!(&output.duplicates, &expected.duplicates);
        prop_assert_eq!(&output.other_pages, &expected.other_pages);
        prop_assert_eq!(&output.not_whole, &expected.not_whole);
        weir_oracle::compare(&expected.windows, &output.windows).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_restored_partition_continues_identically(case in logs::logs(), saves in vec(weighted(0.1), 1..50)) {
        prop_assert_eq!(run(&case, 2, &saves), run(&case, 2, &[false]));
    }
}
