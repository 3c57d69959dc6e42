//! Windows and their counts.

use super::*;

#[test]
fn an_event_is_in_size_over_slide_windows_and_the_end_is_outside() {
    // 10 is in [0, 20) and [10, 30), not in [-10, 10).
    let outcome = outcome([view("ann", "/", 10)]);
    assert_eq!(ends(&outcome), [20, 30]);
    assert_eq!((outcome.windows[0].start, outcome.windows[1].start), (0, 10_000));
}

#[test]
fn the_first_millisecond_of_a_slice_decides() {
    let mut early = view("ann", "/", 10);
    early.timestamp -= 1;
    assert_eq!(ends(&outcome([early])), [10, 20]);
}

#[test]
fn the_slowest_partition_holds_the_pipeline_back() {
    let fast = log([view("ann", "/", 5)], 100);
    // Its watermark is 19, so that it has sealed 10 and not yet 20.
    let slow = log([view("bob", "/", 6)], 19);
    let both = compute(&[fast.clone(), slow], &settings());
    assert_eq!((ends(&both), both.sealed), (vec![10], Some(10_000)));
    assert_eq!(page(&both, 10, "/").view_count, 2);

    let silent = compute(&[fast, Vec::new()], &settings());
    assert_eq!((ends(&silent), silent.sealed), (vec![], None));
}

#[test]
fn the_watermark_is_the_greatest_timestamp_less_the_out_of_orderness() {
    let settings = Settings { out_of_orderness: 5_000, ..settings() };
    let read = |last| {
        let events = [view("ann", "/", 1), view("ann", "/", last), view("ann", "/", 12)];
        compute(&[events.map(Entry::Event).to_vec()], &settings).sealed
    };
    assert_eq!(read(14), Some(0)); // 14 - 5 = 9
    assert_eq!(read(15), Some(10_000)); // 15 - 5 = 10; the 12 that follows does not move it back
}

#[test]
fn an_advance_below_the_watermark_does_not_move_it_back() {
    let entries = [Entry::Event(view("ann", "/", 25)), Entry::AdvanceWatermark(3_000)];
    assert_eq!(compute(&[entries.to_vec()], &settings()).sealed, Some(20_000));
}

#[test]
fn silence_produces_no_windows() {
    let outcome = outcome([view("ann", "/", 5), view("ann", "/", 705)]);
    assert_eq!(ends(&outcome), [10, 20, 710, 720]);
    assert_eq!(outcome.sealed, Some(1_000_000));
}

#[test]
fn every_kind_is_counted_where_it_belongs() {
    let events = [
        event("ann", Kind::View, "/a", 1),
        event("ann", Kind::View, "/a", 2),
        event("bob", Kind::Click, "/a", 3),
        event("bob", Kind::Click, "/a", 3),
        event("bob", Kind::Click, "/a", 4),
        event("cat", Kind::Purchase, "/a", 5),
        event("dan", Kind::AddToCart, "/a", 6),
        event("eve", Kind::Search, "/b", 7),
        event("eve", Kind::Click, "/b", 8),
    ];
    let outcome = outcome(events);
    let a = page(&outcome, 10, "/a");
    assert_eq!((a.view_count, a.click_count, a.conversion_count, a.unique_users), (2, 3, 1, 4));
    assert_eq!(a.engagement_rate, 1.5); // 3 clicks / 2 views, not clamped
    let b = page(&outcome, 10, "/b");
    assert_eq!((b.view_count, b.click_count, b.unique_users), (0, 1, 1));
    assert_eq!(b.engagement_rate, 0.0); // no views
    let site = window(&outcome, 10).site;
    assert_eq!((site.views, site.clicks, site.conversions, site.unique_users), (2, 4, 1, 5));
    assert_eq!((site.visits, site.bounces), (5, 2)); // five sessions; cat's and dan's have one event
}

#[test]
fn partitions_are_added_up() {
    let one = log([view("ann", "/", 1), view("ann", "/", 5)], 100);
    let other = log([view("bob", "/", 2)], 100);
    let outcome = compute(&[one, other], &settings());
    let row = page(&outcome, 10, "/");
    assert_eq!((row.view_count, row.unique_users, row.visits, row.bounces), (3, 2, 2, 1));
    assert_eq!(row.duration_sum_ms, 4_000); // 5 - 1, and 0
    assert_eq!((row.bounce_rate, row.avg_session_duration), (0.5, 2.0));
}

#[test]
fn one_session_id_in_two_partitions_is_two_visits() {
    let outcome = compute(&[log([view("ann", "/", 1)], 100), log([view("ann", "/", 2)], 100)], &settings());
    let row = page(&outcome, 10, "/");
    assert_eq!((row.visits, row.bounces, row.unique_users), (2, 2, 1));
}
