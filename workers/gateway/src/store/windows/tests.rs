#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SLIDE: i64 = 10_000;

fn row(url: &str, end: i64, views: i64) -> PageAnalytics {
    PageAnalytics {
        page_url: url.to_owned(),
        window_start: end - 300_000,
        window_end: end,
        view_count: views,
        unique_users: 3,
        click_count: 1,
        conversion_count: 0,
        engagement_rate: 1.0 / views as f64,
        bounce_rate: 0.1 + views as f64,
        avg_session_duration: 12.345,
    }
}

fn top(end: i64, pages: &[(&str, i64)]) -> TopPages {
    let ranks = pages.iter().zip(1..).map(|((url, views), rank)| TopPage {
        rank,
        page_url: (*url).to_owned(),
        view_count: *views,
        unique_users: 3,
        previous_rank: None,
    });
    TopPages {
        window_start: end - 300_000,
        window_end: end,
        pages: ranks.collect(),
        warming_up: false,
        trending: Vec::new(),
        site: SiteTotals {
            view_count: pages.iter().map(|(_, views)| views).sum(),
            click_count: pages.len() as i64,
            ..SiteTotals::default()
        },
        page_count: None,
    }
}

#[test]
fn a_window_is_complete_when_its_rows_add_up_to_the_site() {
    let mut store = WindowStore::default();
    store.row(&row("/a", SLIDE, 5));
    assert!(store.flush().is_empty());
    assert!(store.latest().is_none(), "a window without its ranking is not shown");
    store.top(&top(SLIDE, &[("/a", 5), ("/b", 2)]));
    assert!(store.flush().is_empty());
    assert!(!store.latest().unwrap().complete());
    store.row(&row("/b", SLIDE, 2));
    assert_eq!(store.flush(), [SLIDE]);
    let latest = store.latest().unwrap();
    assert!(latest.complete());
    assert_eq!(latest.page("/b").unwrap().views, 2);
    assert_eq!(latest.page("/b").unwrap().engagement_rate, 0.5);
    assert_eq!(latest.page("/b").unwrap().bounce_rate, 2.1);
    assert_eq!(latest.page("/c"), None);
    // Records read again, as after a connection error, do not complete the window again.
    store.row(&row("/b", SLIDE, 2));
    store.top(&top(SLIDE, &[("/a", 5), ("/b", 2)]));
    assert!(store.flush().is_empty() && store.latest().unwrap().complete());
}

#[test]
fn a_window_is_incomplete_without_a_page_that_has_only_searches() {
    let mut store = WindowStore::default();
    let mut ranking = top(SLIDE, &[("/a", 5)]);
    ranking.page_count = Some(2);
    store.top(&ranking);
    store.row(&row("/a", SLIDE, 5));
    assert!(store.flush().is_empty() && !store.latest().unwrap().complete());
    store.row(&PageAnalytics {
        view_count: 0,
        click_count: 0,
        engagement_rate: 0.0,
        ..row("/search", SLIDE, 1)
    });
    assert_eq!(store.flush(), [SLIDE]);
    // Without a page count in the ranking, the sums alone decide.
    ranking = top(2 * SLIDE, &[("/a", 5)]);
    store.top(&ranking);
    store.row(&row("/a", 2 * SLIDE, 5));
    assert_eq!(store.flush(), [2 * SLIDE]);
}

#[test]
fn records_of_a_deleted_topic_are_dropped() {
    let mut store = WindowStore::default();
    for end in [SLIDE, 2 * SLIDE] {
        store.row(&row("/a", end, 5));
        store.top(&top(end, &[("/a", 5)]));
    }
    assert_eq!(store.flush(), [SLIDE, 2 * SLIDE]);
    store.forget(Role::Live);
    assert!(store.latest().unwrap().complete());
    store.forget(Role::Results);
    assert!(!store.latest().unwrap().complete() && store.latest().unwrap().page_count() == 0);
    store.row(&row("/b", SLIDE, 5));
    assert_eq!(store.flush(), [SLIDE]);
    store.forget(Role::TopPages);
    assert!(store.latest().is_none() && store.began().is_none());
    assert_eq!((store.stats().windows, store.stats().pages), (1, 1), "the rows that came since");
}

#[test]
fn the_latest_window_is_the_newest_complete_one() {
    let mut store = WindowStore::default();
    for end in [SLIDE, 2 * SLIDE] {
        store.top(&top(end, &[("/a", 5)]));
    }
    store.row(&row("/a", SLIDE, 5));
    store.flush();
    assert_eq!(store.latest().unwrap().end(), SLIDE, "the second lacks its page");
}

#[test]
fn windows_out_of_bounds_are_evicted_with_their_urls() {
    let mut store = WindowStore::new(Bounds { age: 2 * SLIDE, bytes: usize::MAX }, SLIDE);
    for window in 1..=5 {
        let url = format!("/{window}");
        store.row(&row(&url, window * SLIDE, 1));
        store.top(&top(window * SLIDE, &[(&url, 1)]));
        store.flush();
    }
    store.row(&row("/late", SLIDE, 1));
    store.flush();
    assert_eq!(
        store.windows(0, i64::MAX).map(|window| window.end()).collect::<Vec<_>>(),
        [30_000, 40_000, 50_000]
    );
    assert_eq!((store.stats().windows, store.stats().pages), (3, 3));
    assert!(store.contains_page("/5") && !store.contains_page("/1") && !store.contains_page("/late"));

    let mut store = WindowStore::new(Bounds { age: i64::MAX / 2, bytes: 3_000 }, SLIDE);
    for window in 1..=500 {
        store.top(&top(window * SLIDE, &[("/a", 1)]));
        store.flush();
        assert!(store.stats().bytes <= 3_000);
    }
    assert_eq!(store.latest().unwrap().end(), 500 * SLIDE);
}

#[test]
fn a_day_of_a_hundred_pages_takes_less_than_50_mb() {
    let mut store = WindowStore::default();
    let urls: Vec<String> = (0..100).map(|page| format!("https://shop.example/page/{page}")).collect();
    let ranked: Vec<(&str, i64)> = urls.iter().map(|url| (url.as_str(), 7)).collect();
    for window in 1..=8_640 {
        for url in &urls {
            store.row(&row(url, window * SLIDE, 7));
        }
        let mut top = top(window * SLIDE, &ranked);
        top.pages.truncate(10);
        store.top(&top);
        if window % 100 == 0 {
            store.flush();
        }
    }
    store.flush();
    let StoreStats { windows, pages, bytes, refused } = store.stats();
    assert_eq!((windows, pages, refused), (8_640, 100, 0));
    assert!(store.windows(0, i64::MAX).all(|window| window.complete()));
    assert!(bytes < 50_000_000, "{bytes} bytes");
}

#[test]
fn windows_that_begin_before_the_first_event_are_filling() {
    let filling = |begins: bool| -> Vec<(bool, i64)> {
        let mut store = WindowStore::new(Bounds::default(), SLIDE);
        store.begins = begins;
        // Out of order, as lanes write them.
        for window in [2, 1, 30, 31] {
            store.top(&top(300_000 + window * SLIDE, &[("/a", 1)]));
        }
        store.windows(0, i64::MAX).map(|window| (window.filling(), window.covered())).collect()
    };
    // The first event lies in the last slice of the first window, so that one and 29 more lack a part of their time.
    assert_eq!(filling(true), [(true, 10_000), (true, 20_000), (false, 300_000), (false, 300_000)]);
    // The topic has lost its beginning: nothing is known of the time before.
    assert_eq!(filling(false), [(false, 300_000); 4]);
}

#[test]
fn a_path_resolves_to_the_pages_that_have_it() {
    let mut store = WindowStore::default();
    let urls =
        ["https://shop.example/cart", "https://other.example/cart", "/cart/", "https://shop.example", "/a"];
    urls.iter().for_each(|url| store.row(&row(url, SLIDE, 1)));
    assert_eq!(store.resolve("/cart"), ["https://other.example/cart", "https://shop.example/cart"]);
    assert_eq!(store.resolve("https://shop.example/cart"), ["https://shop.example/cart"]);
    assert_eq!(store.resolve("/"), ["https://shop.example"]);
    assert_eq!(store.resolve("/a"), ["/a"]);
    assert!(store.resolve("cart").is_empty() && store.resolve("/b").is_empty());
}

#[test]
fn counts_that_do_not_fit_are_refused_and_counted() {
    let mut store = WindowStore::default();
    store.row(&row("/a", SLIDE, i64::MAX));
    store.row(&row("/a", SLIDE, -1));
    store.flush();
    assert_eq!((store.stats().pages, store.stats().refused), (0, 2));
}

proptest! {
    /// Compared with a plain map: records in any order and twice, batches of any size.
    #[test]
    fn the_order_of_records_changes_nothing(
        records in prop::collection::vec((0u8..6, 1i64..40, 1i64..9, prop::bool::weighted(0.2)), 1..200),
    ) {
        let bounds = Bounds { age: 20 * SLIDE, bytes: usize::MAX };
        let mut store = WindowStore::new(bounds, SLIDE);
        let mut plain: BTreeMap<i64, BTreeMap<String, i64>> = BTreeMap::new();
        let mut newest = 0;
        for (page, window, views, flush) in records {
            let (url, end) = (format!("/{page}"), window * SLIDE);
            newest = newest.max(end);
            if end >= newest - bounds.age {
                plain.entry(end).or_default().insert(url.clone(), views);
            }
            plain = plain.split_off(&(newest - bounds.age));
            store.row(&row(&url, end, views));
            store.top(&top(end, &[(&url, views)]));
            if flush {
                store.flush();
            }
        }
        store.flush();
        let kept: BTreeMap<i64, BTreeMap<String, i64>> = store
            .windows(i64::MIN, i64::MAX)
            .map(|w| (w.end(), w.snapshot().pages().map(|p| (p.url.to_owned(), i64::from(p.views))).collect()))
            .collect();
        prop_assert_eq!(&kept, &plain);
        let urls: BTreeSet<&String> = plain.values().flat_map(|pages| pages.keys()).collect();
        prop_assert_eq!(store.stats().pages, urls.len());
    }
}
