//! The comparison finds all differences except rounding.

use super::*;
use crate::{Trend, compare};

fn windows() -> Vec<Window> {
    outcome([view("ann", "/a", 5), view("bob", "/b", 6), event("bob", Kind::Click, "/b", 7)]).windows
}

/// The reported differences after one change.
fn differences(change: impl FnOnce(&mut Vec<Window>)) -> String {
    let mut actual = windows();
    change(&mut actual);
    compare(&windows(), &actual).unwrap_err()
}

#[test]
fn equal_lists_are_equal() {
    assert_eq!(compare(&windows(), &windows()), Ok(()));
}

#[test]
fn a_difference_names_its_field() {
    assert_eq!(
        differences(|actual| actual[0].pages[1].click_count = 2),
        "window [-10000, 10000) /b: click_count should be 1, is 2"
    );
    assert_eq!(
        differences(|actual| actual[0].pages[0].bounce_rate = 0.5),
        "window [-10000, 10000) /a: bounce_rate should be 1.0, is 0.5"
    );
    assert_eq!(
        differences(|actual| actual[1].top[0].previous_rank = None),
        "window [0, 20000) rank 1: previous_rank should be Some(1), is None"
    );
}

#[test]
fn every_field_is_compared() {
    let changes: [fn(&mut Window); 21] = [
        |w| w.start += 1,
        |w| w.end += 1,
        |w| w.warming_up = false,
        |w| w.site.bounces += 1,
        |w| w.pages[0].page.push('x'),
        |w| w.pages[0].view_count += 1,
        |w| w.pages[0].unique_users += 1,
        |w| w.pages[0].click_count += 1,
        |w| w.pages[0].conversion_count += 1,
        |w| w.pages[0].engagement_rate += f64::EPSILON,
        |w| w.pages[0].bounce_rate -= f64::EPSILON,
        |w| w.pages[0].avg_session_duration += f64::EPSILON,
        |w| w.pages[0].visits += 1,
        |w| w.pages[0].bounces += 1,
        |w| w.pages[0].duration_sum_ms += 1,
        |w| w.pages.swap(0, 1),
        |w| w.top[0].page.push('x'),
        |w| w.top[0].view_count += 1,
        |w| w.top[0].unique_users += 1,
        |w| drop(w.top.pop()),
        |w| {
            w.trending.push(Trend {
                page: "/a".into(),
                view_count: 10,
                expected: 0.0,
                score: 10.0,
                unique_users: 5,
            })
        },
    ];
    for (place, change) in changes.iter().enumerate() {
        let mut actual = windows();
        change(&mut actual[0]);
        assert!(compare(&windows(), &actual).is_err(), "change {place} went unseen");
    }
}

#[test]
fn missing_surplus_and_duplicate_windows_are_reported() {
    assert_eq!(differences(|actual| drop(actual.pop())), "windows: 20000 is missing");
    assert_eq!(
        differences(|actual| actual.push(Window { end: 70_000, ..actual[0].clone() })),
        "windows: 70000 should not be there"
    );
    assert_eq!(differences(|actual| actual.push(actual[1].clone())), "windows: not in order, or one twice");
    assert_eq!(differences(|actual| actual.swap(0, 1)), "windows: not in order, or one twice");
}

#[test]
fn only_the_first_differences_are_reported() {
    let expected: Vec<Window> = (0..50).map(|end| Window { end, ..windows()[0].clone() }).collect();
    let report = compare(&expected, &[]).unwrap_err();
    assert_eq!(report.lines().count(), 21);
    assert_eq!(report.lines().last(), Some("and 30 more"));
}

fn trends(trends: &[(&str, i64, f64)]) -> Vec<Window> {
    let mut windows = windows();
    windows[0].trending = trends
        .iter()
        .map(|(page, x, e)| Trend {
            page: (*page).into(),
            view_count: *x,
            expected: *e,
            score: (*x as f64 - e) / (e + 1.0 + (0.15 * e) * (0.15 * e)).sqrt(),
            unique_users: 5,
        })
        .collect();
    windows
}

#[test]
fn floats_of_trends_may_differ_by_rounding_only() {
    let expected = trends(&[("/a", 40, 10.0)]);
    assert_eq!(compare(&expected, &trends(&[("/a", 40, 10.0 + 1e-12)])), Ok(()));
    assert!(compare(&expected, &trends(&[("/a", 40, 10.0 + 1e-6)])).is_err());
    assert!(compare(&expected, &trends(&[("/a", 41, 10.0)])).is_err());
}

#[test]
fn a_trend_on_one_side_only_is_accepted_only_at_the_threshold() {
    // e = 0: score = x, ratio = (x + 3) / 3. So 4 views are on the threshold of the score, 10 are far above.
    let none = trends(&[]);
    let edge = trends(&[("/a", 4, 0.0)]);
    let clear = trends(&[("/a", 10, 0.0)]);
    assert_eq!((compare(&none, &edge), compare(&edge, &none)), (Ok(()), Ok(())));
    assert!(compare(&none, &clear).unwrap_err().contains("should not be there"));
    assert!(compare(&clear, &none).unwrap_err().contains("missing"));
}

#[test]
fn trends_are_in_order_of_their_own_scores() {
    let expected = trends(&[("/a", 40, 10.0), ("/b", 40, 10.0)]);
    assert_eq!(compare(&expected, &expected), Ok(()));
    assert!(compare(&expected, &trends(&[("/b", 40, 10.0), ("/a", 40, 10.0)])).is_err());
    // A rounding error that swaps a tie is accepted.
    assert_eq!(compare(&expected, &trends(&[("/b", 40, 10.0 - 1e-12), ("/a", 40, 10.0)])), Ok(()));
}
