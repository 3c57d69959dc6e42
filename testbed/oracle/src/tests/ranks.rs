//! The ranking.

use super::*;

/// (page, views, users, rank before) of a window's ranking.
fn ranking(outcome: &Outcome, end: i64) -> Vec<(&str, i64, i32, Option<i32>)> {
    let top = &window(outcome, end).top;
    assert!((1..).zip(top).all(|(rank, ranked)| ranked.rank == rank));
    top.iter().map(|r| (r.page.as_str(), r.view_count, r.unique_users, r.previous_rank)).collect()
}

#[test]
fn ties_are_broken_by_url_and_pages_without_views_rank_too() {
    let events = [
        view("ann", "/c", 1),
        view("ann", "/b", 2),
        view("bob", "/b", 3),
        view("ann", "/a", 4),
        view("bob", "/a", 5),
        event("ann", Kind::Click, "/d", 6),
    ];
    let outcome = compute(&[log(events, 100)], &Settings { top: 9, ..settings() });
    let expected = [("/a", 2, 2, None), ("/b", 2, 2, None), ("/c", 1, 1, None), ("/d", 0, 1, None)];
    assert_eq!(ranking(&outcome, 10), expected);
}

#[test]
fn only_the_first_k_are_listed() {
    let events = ["/a", "/b", "/c", "/d"].map(|page| view("ann", page, 5));
    let outcome = outcome(events);
    assert_eq!(ranking(&outcome, 10).len(), 3);
    assert_eq!(window(&outcome, 10).pages.len(), 4);
}

#[test]
fn the_previous_rank_is_the_one_a_slide_before_in_its_list() {
    let settings = Settings { top: 2, ..settings() };
    let events = [
        view("ann", "/a", 1),
        view("ann", "/a", 2),
        view("ann", "/b", 3),
        view("ann", "/c", 4), // third: not in the list
        view("ann", "/c", 11),
        view("ann", "/c", 12),
        view("ann", "/c", 13),
    ];
    let outcome = compute(&[log(events, 100)], &settings);
    assert_eq!(ranking(&outcome, 10), [("/a", 2, 1, None), ("/b", 1, 1, None)]);
    assert_eq!(ranking(&outcome, 20), [("/c", 4, 1, None), ("/a", 2, 1, Some(1))]);
    assert_eq!(ranking(&outcome, 30), [("/c", 3, 1, Some(1))]);
}

#[test]
fn a_window_without_rows_in_between_has_no_ranks() {
    // Windows end at 10, 20 and 40, 50: the one before 40 has no row.
    let outcome = outcome([view("ann", "/", 5), view("ann", "/", 35)]);
    assert_eq!(ranking(&outcome, 20)[0].3, Some(1));
    assert_eq!(ranking(&outcome, 40)[0].3, None);
}

#[test]
fn the_ranks_before_are_the_sealed_ones() {
    // 10 is sealed with /b alone. Then /a at 5 comes twice: too late for 10's ranking, in time for 20's.
    let events = [
        view("bob", "/b", 8),
        view("bob", "/b", 12),
        view("ann", "/a", 5),
        view("ann", "/a", 6),
        view("ann", "/a", 7),
    ];
    let outcome = outcome(events);
    assert_eq!(ranking(&outcome, 10), [("/b", 1, 1, None)]);
    assert_eq!(ranking(&outcome, 20), [("/a", 3, 1, None), ("/b", 2, 1, Some(1))]);
}
