//! The random logs cover all cases, and the oracle satisfies its invariants on them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{compare, logs};

#[test]
fn random_logs_cover_all_irregularities() {
    let mut runner = TestRunner::deterministic();
    let cases = 400;
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..cases {
        let case = logs::logs().new_tree(&mut runner).unwrap().current();
        for (what, shown) in shows(&case) {
            *seen.entry(what).or_default() += u32::from(shown);
        }
    }
    assert!(seen.values().all(|count| *count >= cases / 20), "too seldom in {cases} cases: {seen:#?}");
}

/// The irregularities that a case covers.
fn shows(case: &logs::Case) -> [(&'static str, bool); 12] {
    let outcome = compute(&case.partitions, &case.settings);
    let windows = &outcome.windows;
    let any = |holds: &dyn Fn(&Window) -> bool| windows.iter().any(holds);
    let newest = case.partitions.iter().flatten().filter_map(as_event).map(|event| event.timestamp).max();
    [
        ("late", outcome.late.iter().any(|late| !late.is_empty())),
        ("partly late", has_partly_late(case)),
        ("bounces and others", any(&|w| w.site.bounces > 0 && w.site.bounces < w.site.visits)),
        ("several visits of a session", any(&|w| w.site.visits > sessions(case, w))),
        ("pages without views", any(&|w| w.pages.iter().any(|page| page.view_count == 0))),
        ("ties", any(&|w| w.top.windows(2).any(|two| two[0].view_count == two[1].view_count))),
        (
            "ranks that change",
            any(&|w| w.top.iter().any(|r| r.previous_rank.is_some_and(|rank| rank != r.rank))),
        ),
        ("trending", any(&|w| !w.trending.is_empty())),
        ("trending against a level", any(&|w| w.trending.iter().any(|trend| trend.expected > 0.0))),
        ("warming up", any(&|w| w.warming_up)),
        ("events not sealed", newest >= outcome.sealed),
        ("silence", windows.windows(2).any(|two| two[1].start > two[0].end)),
    ]
}

/// How many session ids have an event in the window, late or not.
fn sessions(case: &logs::Case, window: &Window) -> i64 {
    let inside = |event: &&Event| (window.start..window.end).contains(&event.timestamp);
    let events = case.partitions.iter().flatten().filter_map(as_event).filter(inside);
    events.map(|event| &event.session).collect::<BTreeSet<_>>().len() as i64
}

fn as_event(entry: &Entry) -> Option<&Event> {
    match entry {
        Entry::Event(event) => Some(event),
        Entry::AdvanceWatermark(_) => None,
    }
}

/// Some event was read after its first window was sealed and before its last was.
fn has_partly_late(case: &logs::Case) -> bool {
    let Settings { size, slide, out_of_orderness, .. } = case.settings;
    case.partitions.iter().any(|log| {
        let mut watermark = i64::MIN;
        log.iter().any(|entry| match entry {
            Entry::AdvanceWatermark(to) => {
                watermark = watermark.max(*to);
                false
            }
            Entry::Event(event) => {
                let first = event.timestamp / slide * slide + slide;
                let partly = first <= watermark && watermark < first + size - slide;
                watermark = watermark.max(event.timestamp - out_of_orderness);
                partly
            }
        })
    })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(200) })]

    /// Partitions are only added up: their order does not matter.
    #[test]
    fn the_order_of_partitions_does_not_matter(case in logs::logs()) {
        let outcome = compute(&case.partitions, &case.settings);
        let turned: Vec<_> = case.partitions.iter().rev().cloned().collect();
        let turned = compute(&turned, &case.settings);
        prop_assert_eq!(compare(&outcome.windows, &turned.windows), Ok(()));
        prop_assert_eq!(outcome.sealed, turned.sealed);
    }

    /// Sealed windows are final: longer logs add windows and change none.
    #[test]
    fn sealed_windows_are_final(case in logs::logs(), keep in 0..=100_usize) {
        let whole = compute(&case.partitions, &case.settings);
        let part: Vec<_> =
            case.partitions.iter().map(|log| log[..log.len() * keep / 100].to_vec()).collect();
        let part = compute(&part, &case.settings);
        let same = &whole.windows[..part.windows.len()];
        prop_assert_eq!(compare(same, &part.windows), Ok(()));
        prop_assert!(whole.windows.iter().skip(part.windows.len()).all(|w| Some(w.end) > part.sealed));
    }

    /// Late events have no effect.
    #[test]
    fn late_events_change_nothing(case in logs::logs()) {
        let outcome = compute(&case.partitions, &case.settings);
        let mut logs = case.partitions.clone();
        for (log, late) in logs.iter_mut().zip(&outcome.late) {
            late.iter().rev().for_each(|place| drop(log.remove(*place)));
        }
        prop_assert_eq!(compute(&logs, &case.settings).windows, outcome.windows);
    }
}
