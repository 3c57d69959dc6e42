//! The usual level, what is expected, and what trends. Windows of 20 s, so aligned ones end at 20, 40, 60, ...

use super::*;

/// That many views of a page from the given second, by five users in turn.
fn views(page: &str, seconds: i64, count: usize) -> Vec<Event> {
    let user = |n| ["ann", "bob", "cat", "dan", "eve"][n % 5];
    (0..count).map(|n| view(user(n), page, seconds)).collect()
}

fn near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
}

#[test]
fn the_arithmetic_by_hand() {
    // Aligned views of /a: 4, 2, then W; of /b: 4, 6, 8. Half-life is one window, so weights are 1/2 and 1.
    // Windows in between, such as [10, 30) with other shares, have no part in it.
    let events = [
        views("/a", 5, 4),
        views("/b", 16, 4),
        views("/a", 25, 2),
        views("/b", 26, 6),
        views("/a", 45, 22),
        views("/b", 46, 8),
    ];
    let outcome = outcome(events.concat());
    let w = window(&outcome, 60);
    assert!(!w.warming_up);
    // m of /a = (4/2 + 2) / 1.5 = 8/3; of the site (8/2 + 8) / 1.5 = 8. Site x = 30, so e = 8/3 * 30/8 = 10.
    // score = (22 - 10) / sqrt(10 + 1 + 1.5^2) = 12 / sqrt(13.25) = 3.296...: below 4. So nothing trends.
    assert_eq!(w.trending, []);

    let more = [
        views("/a", 5, 4),
        views("/b", 16, 4),
        views("/a", 25, 2),
        views("/b", 26, 6),
        views("/a", 45, 28),
        views("/b", 46, 2),
    ];
    let outcome = super::outcome(more.concat());
    let trending = &window(&outcome, 60).trending;
    // Site x = 30 again, e = 10, score = 18 / sqrt(13.25) = 4.945...; (28 + 3) / (10 + 3) = 2.38.
    assert_eq!(trending.len(), 1);
    assert_eq!((trending[0].page.as_str(), trending[0].view_count, trending[0].unique_users), ("/a", 28, 5));
    near(trending[0].expected, 10.0);
    near(trending[0].score, 18.0 / 13.25_f64.sqrt());
}

#[test]
fn aligned_windows_must_have_ended_by_the_start() {
    // Views of /b in [0, 20) and [20, 40), the burst of /a at 45. The window [30, 50) begins before 40, so that only
    // [0, 20) lies behind it: warming up. [40, 60) has two behind it.
    let events = [views("/b", 5, 5), views("/b", 25, 5), views("/a", 45, 10)];
    let outcome = outcome(events.concat());
    assert!(window(&outcome, 50).warming_up && window(&outcome, 50).trending.is_empty());
    assert!(!window(&outcome, 60).warming_up);
    // /a has no usual level: e = 0, score = 10 / sqrt(1).
    let trend = &window(&outcome, 60).trending[0];
    assert_eq!((trend.page.as_str(), trend.expected, trend.score), ("/a", 0.0, 10.0));
}

#[test]
fn counting_begins_at_the_first_aligned_window_with_an_event() {
    // The same, an hour later: the hour before does not warm anything up.
    let at = |seconds: i64| 3_600 + seconds;
    let events = [views("/b", at(5), 5), views("/b", at(25), 5), views("/a", at(45), 10)];
    let outcome = compute(&[log(events.concat(), 10_000)], &settings());
    assert!(window(&outcome, at(50)).warming_up);
    assert!(!window(&outcome, at(60)).warming_up);
}

#[test]
fn empty_aligned_windows_count_as_zeros() {
    // Aligned: [0, 20) has 8 views of /a and 8 of /b, [20, 40) and [40, 60) none. So two more are behind [60, 80), which warm
    // it up, and share the level: m of /a = (8/4 + 0 + 0) / 1.75, of the site 16/4 / 1.75; e = site x / 2.
    let events = [views("/a", 5, 8), views("/b", 6, 8), views("/a", 65, 40)];
    let outcome = compute(&[log(events.concat(), 100)], &Settings { warm_up: 3, ..settings() });
    let w = window(&outcome, 80);
    assert!(!w.warming_up);
    // e = 40 / 2 = 20: ratio 43/23 = 1.87, score = 20 / sqrt(21 + 9) = 3.65: below 4.
    assert_eq!(w.trending, []);
    assert!(window(&outcome, 70).warming_up); // [50, 70): two behind it
}

#[test]
fn silence_of_any_length_leaves_the_shares_as_they_were() {
    // 50,000 half-lives later no f64 holds the weights any more; their ratio is what it was: e = 60 / 3 = 20 for /a.
    let later = 1_000_000;
    let events = [views("/a", 5, 5), views("/b", 6, 10), views("/a", later + 5, 60)];
    let outcome = compute(&[log(events.concat(), later + 100)], &settings());
    let trend = &window(&outcome, later + 20).trending[0];
    near(trend.expected, 20.0);
    near(trend.score, 40.0 / 30_f64.sqrt()); // sqrt(20 + 1 + 3^2)
}

#[test]
fn a_site_without_usual_views_expects_nothing() {
    let click = |seconds| event("ann", Kind::Click, "/a", seconds);
    let events = [vec![click(5), click(25)], views("/a", 45, 10)].concat();
    let outcome = outcome(events);
    let trend = &window(&outcome, 60).trending[0];
    assert_eq!((trend.expected, trend.score), (0.0, 10.0));
}

#[test]
fn every_condition_is_needed() {
    let trends = |usual: usize, count: usize, users: usize| {
        let burst = (0..count).map(|n| view(&format!("u{}", n % users), "/a", 45)).collect();
        // /b is one thousand views everywhere, so that e of /a is near its usual level.
        let b = |seconds| views("/b", seconds, 1_000);
        let events = [views("/a", 5, usual), b(6), views("/a", 25, usual), b(26), burst, b(46)];
        !window(&outcome(events.concat()), 60).trending.is_empty()
    };
    assert!(trends(0, 10, 5));
    assert!(!trends(0, 9, 5)); // fewer than 10 views
    assert!(!trends(0, 10, 4)); // fewer than 5 users
    // usual 100: e = 100 * (1000 + x) / 1100.
    // x = 200: e = 109.1, score = 90.9 / sqrt(110.1 + 267.8) = 4.68, ratio 203/112.1 = 1.81.
    // x = 170: e = 106.4, score = 63.6 / sqrt(107.4 + 254.6) = 3.34, ratio 173/109.4 = 1.58.
    assert!(trends(100, 200, 5));
    assert!(!trends(100, 170, 5)); // score below 4 alone
    // No case shows the ratio: where (x + 3)/(e + 3) = 1.5, d = x - e = e/2 + 1.5 and
    // d^2 - 16 (e + 1 + .0225 e^2) = -.11 e^2 - 14.5 e - 13.75 < 0, so a score of 4 is always above it.
}

#[test]
fn the_order_is_by_score_then_url() {
    let quiet = [views("/z", 5, 5), views("/z", 25, 5)].concat();
    let burst = [views("/b", 45, 10), views("/a", 46, 10), views("/c", 47, 11)].concat();
    let outcome = outcome([quiet, burst].concat());
    let order: Vec<&str> = window(&outcome, 60).trending.iter().map(|trend| trend.page.as_str()).collect();
    assert_eq!(order, ["/c", "/a", "/b"]);
}

#[test]
fn views_of_aligned_windows_are_the_sealed_ones_and_an_event_known_since_begins_the_count() {
    let settings = Settings { warm_up: 1, ..settings() };
    // 21 seals 20, then 19 comes: too late for [0, 20), in time for [10, 30). It starts the count at [0, 20) all the same,
    // which is behind [20, 40) as a window without views.
    let events = [vec![view("ann", "/b", 21), view("ann", "/b", 19)], views("/a", 25, 10)].concat();
    let outcome = compute(&[log(events, 100)], &settings);
    assert_eq!(ends(&outcome), [30, 40]);
    let w = window(&outcome, 40);
    assert!(!w.warming_up);
    assert_eq!(w.trending[0].expected, 0.0);
}

#[test]
fn an_event_read_after_the_sealing_does_not_begin_the_count() {
    let settings = Settings { warm_up: 1, size: 40_000, ..settings() };
    // Aligned: [0, 40). 45 seals 40. 35 comes then, in time for 50 to 70. W = [40, 80) is sealed later still: known.
    let events = [view("ann", "/", 45), view("ann", "/", 35)];
    assert!(!window(&compute(&[log(events, 100)], &settings), 80).warming_up);
    // After an advance to 80 it would be late; then no aligned window is behind W.
    let mut entries: Vec<Entry> = vec![Entry::Event(view("ann", "/", 45)), Entry::AdvanceWatermark(80_000)];
    entries.push(Entry::Event(view("ann", "/", 35)));
    let outcome = compute(&[entries], &settings);
    assert_eq!(outcome.late, [vec![2]]);
    assert!(window(&outcome, 80).warming_up);
}
