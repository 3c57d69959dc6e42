//! Late, partly late and just in time.

use super::*;

/// Windows of one partition's log: (end, views).
fn views(outcome: &Outcome) -> Vec<(i64, i64)> {
    outcome.windows.iter().map(|window| (window.end / 1000, window.site.views)).collect()
}

#[test]
fn a_late_event_changes_nothing() {
    // Watermark 25: 5 is in the windows that end at 10 and 20, both sealed.
    let with = outcome([view("ann", "/", 1), view("ann", "/", 25), view("ann", "/", 5)]);
    let without = outcome([view("ann", "/", 1), view("ann", "/", 25)]);
    assert_eq!(with.late, [vec![2]]);
    assert_eq!((&with.partly_late, with.not_whole.len()), (&vec![vec![]], 0), "it is late, not partly late");
    assert_eq!(with.windows, without.windows);
    // If 5 were kept, the visit would have three events; it has two.
    assert_eq!(page(&with, 30, "/").duration_sum_ms, 24_000);
}

#[test]
fn a_late_event_joins_no_visits_later() {
    let settings = Settings { session_gap: 5_000, ..settings() };
    // 1 and 10 are two visits; 5 would join them, but comes when 10 and 20 are sealed (watermark 21).
    let other = Event { session: "other".into(), ..view("bob", "/", 21) };
    let events = [view("ann", "/", 1), view("ann", "/", 10), other, view("ann", "/", 5)];
    let outcome = compute(&[log(events, 100)], &settings);
    assert_eq!(outcome.late, [vec![3]]);
    assert_eq!(window(&outcome, 30).site.bounces, 2);
}

#[test]
fn lateness_is_judged_window_by_window() {
    // Watermark 12: of 5's windows, 10 is sealed and 20 is not.
    let outcome = outcome([view("ann", "/", 1), view("ann", "/", 12), view("ann", "/", 5)]);
    assert_eq!(outcome.late, [Vec::<usize>::new()]);
    assert_eq!(views(&outcome), [(10, 1), (20, 3), (30, 1)]);
    assert_eq!(outcome.partly_late, [vec![2]]);
    assert_eq!(outcome.not_whole, [(10_000, 1)].into());
}

#[test]
fn a_watermark_on_the_end_has_sealed_it() {
    // Watermark 20 closes 10 and 20, watermark 19 only 10.
    let late = |seconds| outcome([view("ann", "/", seconds), view("ann", "/", 5)]).late;
    assert_eq!(late(20), [vec![1]]);
    assert_eq!(late(19), [Vec::<usize>::new()]);
}

#[test]
fn an_event_never_closes_its_own_windows() {
    // Read first, or far ahead of all: it is in both windows that it belongs to.
    let outcome = outcome([view("ann", "/", 1), view("ann", "/", 500)]);
    assert_eq!(views(&outcome), [(10, 1), (20, 1), (510, 1), (520, 1)]);
}

#[test]
fn a_partly_late_event_does_not_change_a_bounce_of_a_sealed_window() {
    // 5 comes after 10 is sealed. As of 10 the visit is {8}, a bounce; as of 20 it is {5, 8}, 3 s, beside bob's.
    let events = [view("ann", "/", 8), view("bob", "/", 12), view("ann", "/", 5)];
    let outcome = outcome(events);
    let at = |end| (page(&outcome, end, "/").visits, page(&outcome, end, "/").bounces);
    assert_eq!((at(10), page(&outcome, 10, "/").duration_sum_ms), ((1, 1), 0));
    assert_eq!((at(20), page(&outcome, 20, "/").duration_sum_ms), ((2, 1), 3_000));
}

#[test]
fn a_partly_late_event_counts_for_visits_in_later_windows() {
    // 5 comes when 10 is sealed (watermark 12). It is outside [10, 30), but its visit there is {5, 12, 14}: t1 is 5.
    let events = [view("ann", "/", 12), view("ann", "/", 5), view("ann", "/", 14)];
    let row = page(&outcome(events), 30, "/").clone();
    assert_eq!((row.view_count, row.bounces, row.duration_sum_ms), (2, 0, 9_000));
}

#[test]
fn each_event_is_judged_by_its_own_partition() {
    // The other partition has sealed everything up to 90; bob's own watermark is 15, so that 5 misses only [-10, 10).
    let fast = log([view("ann", "/", 90)], 100);
    let slow = log([view("bob", "/", 15), view("bob", "/", 5)], 100);
    let outcome = compute(&[fast, slow], &settings());
    assert_eq!(outcome.late, [Vec::<usize>::new(), Vec::new()]);
    assert_eq!(views(&outcome), [(20, 2), (30, 1), (100, 1)]);
}

#[test]
fn a_logged_watermark_advance_makes_events_late() {
    let entries = vec![
        Entry::Event(view("ann", "/", 1)),
        Entry::AdvanceWatermark(10_000),
        Entry::Event(view("ann", "/", 5)),
        Entry::AdvanceWatermark(20_000),
        Entry::Event(view("ann", "/", 6)),
        Entry::AdvanceWatermark(20_000),
    ];
    let outcome = compute(&[entries], &settings());
    assert_eq!(outcome.late, [vec![4]]); // indices in the log, including advances
    assert_eq!(views(&outcome), [(10, 1), (20, 2)]);
    assert_eq!((outcome.partly_late, outcome.not_whole), (vec![vec![2]], [(10_000, 1)].into()));
}
