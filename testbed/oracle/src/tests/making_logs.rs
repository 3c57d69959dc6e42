//! The random logs cover all cases, and the oracle satisfies its invariants on them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{compare, compute_between, logs};

proptest! {
    #![proptest_config(Config::with_cases(400))]

    #[test]
    fn some_windows_are_those_of_all(case in logs::logs(), parts in (0..=1_000_i64, 0..=1_000_i64)) {
        let all = compute(&case.partitions, &case.settings);
        let mut ends = all.windows.iter().map(|window| window.end);
        let first = ends.next().unwrap_or_default();
        let last = ends.next_back().unwrap_or(first);
        let at = |part| first + (last - first) * part / 1_000;
        let (after, until) = (at(parts.0), at(parts.1));
        let some = compute_between(&case.partitions, &case.settings, Some(after), Some(until));
        let own: Vec<_> = all.windows.iter().filter(|window| after < window.end && window.end <= until).cloned().collect();
        prop_assert_eq!(some.windows, own);
        prop_assert_eq!((some.late, some.duplicates), (all.late, all.duplicates));
    }
}

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

/// What a case shows.
fn shows(case: &logs::Case) -> [(&'static str, bool); 23] {
    let outcome = compute(&case.partitions, &case.settings);
    let windows = &outcome.windows;
    let any = |holds: &dyn Fn(&Window) -> bool| windows.iter().any(holds);
    let events = || case.partitions.iter().flatten().filter_map(as_event);
    let newest = events().map(|event| event.timestamp).max();
    let ids = events().filter(|event| event.identity().is_some()).count();
    let pairs = pairs(case, &outcome);
    let pair = |shows: &dyn Fn(&Pair<'_>) -> bool| pairs.iter().any(shows);
    [
        ("late", outcome.late.iter().any(|late| !late.is_empty())),
        ("partly late", outcome.partly_late.iter().any(|partly_late| !partly_late.is_empty())),
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
        ("no ids", ids == 0),
        ("some events without an id", (1..events().count()).contains(&ids)),
        ("empty ids", events().any(|event| event.event_id.as_deref() == Some(""))),
        ("duplicates that are copies", pair(&|p| p.is_duplicate && p.first == p.second)),
        (
            "duplicates with another timestamp",
            pair(&|p| p.is_duplicate && p.first.timestamp != p.second.timestamp),
        ),
        ("duplicates on another page", pair(&|p| p.is_duplicate && p.first.page != p.second.page)),
        ("events under the other page", outcome.other_pages.iter().any(|places| !places.is_empty())),
        ("late copies", pair(&|p| p.is_late && p.first == p.second)),
        ("identities that count again", pair(&|p| !p.is_duplicate && !p.is_late)),
        (
            "one id of two users",
            events().any(|e| {
                let same = |other: &&Event| other.user != e.user && other.event_id == e.event_id;
                e.identity().is_some() && events().find(same).is_some()
            }),
        ),
        (
            "repeats without an id",
            events().any(|e| e.identity().is_none() && events().filter(|o| *o == e).count() > 1),
        ),
    ]
}

/// An accepted event and a later one of the same identity.
struct Pair<'a> {
    first: &'a Event,
    second: &'a Event,
    is_late: bool,
    is_duplicate: bool,
}

fn pairs<'a>(case: &'a logs::Case, outcome: &Outcome) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for (log, (late, duplicates)) in case.partitions.iter().zip(outcome.late.iter().zip(&outcome.duplicates))
    {
        let events = || log.iter().enumerate().filter_map(|(place, entry)| Some((place, as_event(entry)?)));
        for (place, first) in events().filter(|(_, event)| event.identity().is_some()) {
            if late.contains(&place) || duplicates.contains(&place) {
                continue;
            }
            let same = |(_, event): &(usize, &Event)| event.identity() == first.identity();
            pairs.extend(events().skip_while(|(at, _)| *at <= place).filter(same).map(|(place, second)| {
                Pair {
                    first,
                    second,
                    is_late: late.contains(&place),
                    is_duplicate: duplicates.contains(&place),
                }
            }));
        }
    }
    pairs
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

    /// Nor do duplicates, except that they are told.
    #[test]
    fn duplicates_change_nothing(case in logs::logs()) {
        let outcome = compute(&case.partitions, &case.settings);
        let mut logs = case.partitions.clone();
        for (log, duplicates) in logs.iter_mut().zip(&outcome.duplicates) {
            duplicates.iter().rev().for_each(|place| drop(log.remove(*place)));
        }
        // Where a place is once the duplicates before it are gone.
        let moved = |places: &[Vec<usize>]| -> Vec<Vec<usize>> {
            let both = places.iter().zip(&outcome.duplicates);
            both.map(|(places, gone)| {
                places.iter().map(|place| place - gone.iter().filter(|gone| *gone < place).count()).collect()
            })
            .collect()
        };
        let expected = Outcome {
            late: moved(&outcome.late),
            partly_late: moved(&outcome.partly_late),
            duplicates: vec![Vec::new(); logs.len()],
            other_pages: moved(&outcome.other_pages),
            ..outcome.clone()
        };
        prop_assert_eq!(compute(&logs, &case.settings), expected);
    }

    /// An event that is sent again as it was counts once, whatever the delay.
    #[test]
    fn no_identity_counts_twice_with_one_timestamp(case in logs::logs()) {
        let outcome = compute(&case.partitions, &case.settings);
        for pair in pairs(&case, &outcome) {
            prop_assert!(pair.first.timestamp != pair.second.timestamp || pair.is_late || pair.is_duplicate);
        }
    }

    /// Without ids, every event that is not late counts.
    #[test]
    fn without_ids_there_are_no_duplicates(case in logs::logs().prop_map(logs::Case::without_ids)) {
        let outcome = compute(&case.partitions, &case.settings);
        prop_assert!(outcome.duplicates.iter().all(Vec::is_empty));
    }
}
