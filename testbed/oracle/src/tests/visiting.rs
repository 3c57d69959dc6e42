//! Visits, bounces and durations.

use super::*;

#[test]
fn a_visit_that_straddles_the_windows_start_is_no_bounce() {
    // Window [10, 30): only 12 is inside, but the visit began at 5.
    let outcome = outcome([view("ann", "/a", 5), view("ann", "/b", 12)]);
    let b = page(&outcome, 30, "/b");
    assert_eq!((b.visits, b.bounces, b.bounce_rate), (1, 0, 0.0));
    assert_eq!(b.avg_session_duration, 7.0); // 12 - 5, not 12 - 12
    assert_eq!(window(&outcome, 30).site.bounces, 0);
}

#[test]
fn a_visit_that_goes_on_after_the_windows_end_is_still_a_bounce() {
    // As of 10 there is one event; as of 20 there are two.
    let outcome = outcome([view("ann", "/a", 5), view("ann", "/b", 12)]);
    let bounces = |end, name| (page(&outcome, end, name).bounces, page(&outcome, end, name).duration_sum_ms);
    assert_eq!(bounces(10, "/a"), (1, 0));
    assert_eq!(bounces(20, "/a"), (0, 7_000)); // on any page: 12 on /b counts for /a too
    assert_eq!(bounces(20, "/b"), (0, 7_000));
}

#[test]
fn an_event_on_the_windows_end_is_outside_for_visits_too() {
    // 20 is not before 20, though it is read before it seals 20.
    let outcome = outcome([view("ann", "/", 15), view("ann", "/", 20)]);
    assert_eq!((page(&outcome, 20, "/").bounces, page(&outcome, 30, "/").bounces), (1, 0));
}

#[test]
fn a_gap_of_exactly_the_limit_stays_one_visit() {
    let gap = |seconds: i64| {
        let outcome = outcome([view("ann", "/", 1), view("ann", "/", 1 + seconds)]);
        let last = outcome.windows.last().unwrap();
        (last.pages[0].bounces, last.pages[0].duration_sum_ms)
    };
    assert_eq!(gap(30), (0, 30_000));
    assert_eq!(gap(31), (1, 0)); // a new visit, t1 is its own
}

#[test]
fn two_visits_of_one_session_id_in_one_window_are_two() {
    let settings = Settings { session_gap: 3_000, ..settings() };
    // Visits {1, 3} and {8}; /a has both, /b only the first.
    let events = [view("ann", "/a", 1), view("ann", "/b", 3), view("ann", "/a", 8)];
    let outcome = compute(&[log(events, 100)], &settings);
    let a = page(&outcome, 10, "/a");
    assert_eq!((a.visits, a.bounces, a.duration_sum_ms), (2, 1, 2_000));
    assert_eq!((a.bounce_rate, a.avg_session_duration), (0.5, 1.0));
    let b = page(&outcome, 10, "/b");
    assert_eq!((b.visits, b.bounces, b.duration_sum_ms), (1, 0, 2_000));
    assert_eq!(window(&outcome, 10).site.visits, 2);
}

#[test]
fn the_order_of_reading_does_not_matter_for_visits() {
    let settings = Settings { session_gap: 3_000, out_of_orderness: 30_000, ..settings() };
    // 1 and 7 are two visits until 4 joins them.
    let events = [view("ann", "/", 7), view("ann", "/", 1), view("ann", "/", 4)];
    let row = page(&compute(&[log(events, 100)], &settings), 10, "/").clone();
    assert_eq!((row.visits, row.bounces, row.duration_sum_ms), (1, 0, 6_000));
}

#[test]
fn only_a_plausible_session_duration_is_used() {
    let duration = |said| {
        let said = Event { session_duration: said, ..view("ann", "/", 4) };
        page(&outcome([view("ann", "/", 1), said]), 10, "/").duration_sum_ms
    };
    assert_eq!(duration(None), 3_000);
    assert_eq!(duration(Some(7)), 7_000);
    assert_eq!(duration(Some(0)), 0); // used, though the visit began 3 s before
    assert_eq!(duration(Some(86_400)), 86_400_000);
    assert_eq!(duration(Some(86_401)), 3_000);
    assert_eq!(duration(Some(-1)), 3_000);
}

#[test]
fn a_duration_is_the_greatest_age_before_the_end_on_any_page() {
    let said = |seconds, said| Event { session_duration: Some(said), ..view("ann", "/b", seconds) };
    // Ages: 0 at 5, 50 at 6 (reported), 7 at 12, 60 at 25 (reported).
    let outcome = outcome([view("ann", "/a", 5), said(6, 50), view("ann", "/a", 12), said(25, 60)]);
    let durations: Vec<i64> = [10, 20, 30].map(|end| page(&outcome, end, "/a").duration_sum_ms).to_vec();
    assert_eq!(durations, [50_000, 50_000, 60_000]);
}

#[test]
fn users_with_the_same_session_id_have_visits_of_their_own() {
    let shared = |user, seconds| Event { session: "1700000000".into(), ..view(user, "/", seconds) };
    // With the id alone it is one visit of 8 s.
    let events = || [shared("a", 1), shared("b", 4), shared("b", 9)];
    let of_users = outcome(events());
    let row = page(&of_users, 10, "/");
    assert_eq!((row.visits, row.bounces, row.duration_sum_ms), (2, 1, 5_000));
    let first_version = Settings { visits_span_users: true, ..settings() };
    let of_ids = compute(&[log(events(), 1_000)], &first_version);
    let row = page(&of_ids, 10, "/");
    assert_eq!((row.visits, row.bounces, row.duration_sum_ms), (1, 0, 8_000));
}
