use weir_events::{SiteTotals, TopPage, TrendingPage};

use super::*;

const SLIDE: i64 = 10_000;
const SIZE: i64 = 300_000;
const START: i64 = 1_795_225_200_000;

fn end(n: i64) -> i64 {
    START + n * SLIDE
}

fn top(n: i64, pages: &[&str], trending: &[&str]) -> TopPages {
    let page = |url: &&str| TopPage {
        rank: 1,
        page_url: (*url).to_owned(),
        view_count: 1,
        unique_users: 1,
        previous_rank: None,
    };
    let trend = |url: &&str| TrendingPage {
        page_url: (*url).to_owned(),
        view_count: 1,
        expected: 1.0,
        score: 4.0,
        unique_users: 1,
    };
    TopPages {
        window_start: end(n) - SIZE,
        window_end: end(n),
        pages: pages.iter().map(page).collect(),
        warming_up: false,
        trending: trending.iter().map(trend).collect(),
        site: SiteTotals::default(),
        page_count: None,
    }
}

fn row(n: i64, url: &str) -> PageAnalytics {
    PageAnalytics {
        page_url: url.to_owned(),
        window_start: end(n) - SIZE,
        window_end: end(n),
        view_count: 1,
        unique_users: 1,
        click_count: 0,
        conversion_count: 0,
        engagement_rate: 0.0,
        bounce_rate: 0.0,
        avg_session_duration: 0.0,
    }
}

/// The emitted windows' numbers, each with its pages.
fn emitted(sealed: &[Sealed]) -> Vec<(i64, Vec<&str>)> {
    let pages = sealed.iter().map(|s| s.rows.iter().map(|r| r.page_url.as_str()).collect());
    sealed.iter().map(|s| (s.top.window_end - START) / SLIDE).zip(pages).collect()
}

#[test]
fn a_window_is_emitted_once_in_any_order_of_its_records() {
    // The ranking (0) and the rows of /a, /b and of /c, which is in neither list.
    for order in [[0, 1, 2, 3], [1, 2, 3, 0], [3, 2, 0, 1], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let mut assembler = Assembler::default();
        let mut found = Vec::new();
        for record in order.into_iter().chain(order) {
            found.extend(match record {
                0 => assembler.top(top(1, &["/a"], &["/b", "/a"])),
                n => assembler.row(row(1, ["/a", "/b", "/c"][n - 1])),
            });
        }
        let mut found = emitted(&found);
        found.iter_mut().for_each(|(_, pages)| pages.sort_unstable());
        assert_eq!(found, [(1, vec!["/a", "/b"])], "{order:?}");
    }
}

#[test]
fn a_window_is_emitted_with_its_last_record() {
    let mut assembler = Assembler::default();
    assert_eq!(assembler.top(top(1, &["/a", "/b"], &[])), []);
    assert_eq!(assembler.row(row(1, "/a")), []);
    assert_eq!(assembler.row(row(2, "/b")), [], "of another window");
    assert_eq!(emitted(&assembler.row(row(1, "/b"))), [(1, vec!["/a", "/b"])]);
}

#[test]
fn an_empty_window_needs_no_rows() {
    assert_eq!(emitted(&Assembler::default().top(top(1, &[], &[]))), [(1, vec![])]);
}

#[test]
fn windows_are_emitted_in_order() {
    let mut assembler = Assembler::default();
    for n in [1, 2, 3] {
        assert_eq!(assembler.top(top(n, &["/a"], &[])), []);
    }
    assert_eq!(assembler.row(row(3, "/a")), [], "1 and 2 come first");
    assert_eq!(assembler.row(row(2, "/a")), [], "1 comes first");
    let found = assembler.row(row(1, "/a"));
    assert_eq!(emitted(&found), [(1, vec!["/a"]), (2, vec!["/a"]), (3, vec!["/a"])]);
}

#[test]
fn an_incomplete_window_is_overtaken_and_may_be_emitted_later() {
    let mut assembler = Assembler::default();
    assert_eq!(assembler.top(top(0, &["/a"], &[])), []);
    for n in [1, 2, 3] {
        assert_eq!(assembler.top(top(n, &[], &[])), [], "{n} waits");
    }
    let found = assembler.top(top(4, &[], &[]));
    assert_eq!(emitted(&found).iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(emitted(&assembler.top(top(5, &[], &[]))), [(5, vec![])], "nothing waits for 0 any more");
    assert_eq!(emitted(&assembler.row(row(0, "/a"))), [(0, vec!["/a"])]);
}

#[test]
fn nothing_is_lost_when_one_topic_is_read_hours_ahead() {
    let mut assembler = Assembler::default();
    let windows = 0..1_000;
    for n in windows.clone() {
        assert_eq!(assembler.row(row(n, "/a")), []);
    }
    let found: Vec<_> = windows.clone().flat_map(|n| assembler.top(top(n, &["/a"], &[]))).collect();
    assert_eq!(emitted(&found), windows.map(|n| (n, vec!["/a"])).collect::<Vec<_>>());
    assert_eq!(assembler.pages, 0);
}

#[test]
fn windows_and_pages_are_bounded_and_the_oldest_are_evicted() {
    let mut assembler = Assembler { bounds: Bounds { pages: 3, windows: 4 }, ..Assembler::default() };
    for (n, page) in [(0, "/a"), (0, "/b"), (1, "/a"), (2, "/a")] {
        assert_eq!(assembler.row(row(n, page)), []);
    }
    assert_eq!((assembler.pages, assembler.windows.len()), (2, 2), "1 and 2");
    assert_eq!(assembler.top(top(0, &[], &[])), [], "an evicted window is not started again");
    assert_eq!(emitted(&assembler.top(top(1, &["/a"], &[]))), [(1, vec!["/a"])]);
    for n in 3..7 {
        assert_eq!(assembler.top(top(n, &["/a"], &[])), []);
    }
    assert_eq!(assembler.windows.len(), 4);
}
