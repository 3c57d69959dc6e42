#![allow(clippy::unwrap_used)]

use weir_events::{SiteTotals, TopPage};

use super::*;

const SLIDE: i64 = 10_000;

/// A window whose pages have so many views.
fn window(number: i64, views: &[(&str, i64)]) -> (TopPages, Vec<PageAnalytics>) {
    let end = number * SLIDE;
    let rows = views.iter().map(|(url, views)| PageAnalytics {
        page_url: (*url).to_owned(),
        window_start: end - 300_000,
        window_end: end,
        view_count: *views,
        unique_users: 2,
        click_count: 1,
        conversion_count: 0,
        engagement_rate: 1.0 / *views as f64,
        bounce_rate: 0.1 + 0.2,
        avg_session_duration: 61.25,
    });
    let pages = (1..).zip(views).map(|(rank, (url, views))| TopPage {
        rank,
        page_url: (*url).to_owned(),
        view_count: *views,
        unique_users: 2,
        previous_rank: None,
    });
    let top = TopPages {
        window_start: end - 300_000,
        window_end: end,
        pages: pages.collect(),
        warming_up: true,
        trending: vec![],
        site: SiteTotals {
            view_count: views.iter().map(|(_, views)| views).sum(),
            click_count: views.len() as i64,
            ..SiteTotals::default()
        },
    };
    (top, rows.collect())
}

fn add(store: &mut Store, number: i64, views: &[(&str, i64)]) {
    let (top, rows) = window(number, views);
    store.top(top);
    rows.iter().for_each(|row| store.row(row));
}

#[test]
fn a_window_is_news_when_its_last_row_came_and_is_given_back_as_it_was() {
    let mut store = Store::new(Limits::default());
    let (top, rows) = window(100, &[("/a", 5), ("/b", 3)]);
    store.row(&rows[1]);
    store.top(top.clone());
    assert_eq!((store.newest(), store.take_news()), (None, vec![]));
    store.row(&rows[0]);
    assert_eq!((store.newest(), store.take_news()), (Some(1_000_000), vec![1_000_000]));
    assert_eq!(store.take_news(), [] as [i64; 0]);
    assert_eq!(store.ranking(1_000_000), Some(&top));
    let mut pages = store.pages(1_000_000);
    pages.sort_by(|a, b| a.page_url.cmp(&b.page_url));
    assert_eq!(pages, rows);
}

#[test]
fn a_page_has_a_series_over_the_windows_it_is_in() {
    let mut store = Store::new(Limits::default());
    add(&mut store, 100, &[("/a", 5)]);
    add(&mut store, 101, &[("/b", 7)]);
    add(&mut store, 102, &[("/a", 6), ("/b", 1)]);
    let views = |url: &str, from, to| {
        let series = store.page(url, from, to).into_iter();
        series.map(|row| (row.window_end / SLIDE, row.view_count)).collect::<Vec<_>>()
    };
    assert_eq!(views("/a", 0, i64::MAX), [(100, 5), (102, 6)]);
    assert_eq!(views("/b", 0, 101 * SLIDE), [(101, 7)]);
    assert_eq!(views("/nowhere", 0, i64::MAX), []);
    assert_eq!(views("/a", i64::MAX, 0), []);
    assert_eq!(store.rankings(101 * SLIDE, i64::MAX).count(), 2);
}

#[test]
fn what_is_older_than_a_day_or_over_the_bound_goes_with_its_strings() {
    let mut store = Store::new(Limits { keep: 5 * SLIDE, rows: 6 });
    for number in 100..120 {
        let own = format!("/only-{number}");
        add(&mut store, number, &[("/a", 5), (&own, 1)]);
    }
    assert_eq!(store.held(), (3, 6), "two rows a window");
    assert_eq!(store.page("/a", 0, i64::MAX).len(), 3);
    assert_eq!(store.pages.find("/only-110"), None);
    add(&mut store, 90, &[("/late", 1)]);
    assert_eq!(store.page("/late", 0, i64::MAX), []);
    let mut store = Store::new(Limits { keep: 5 * SLIDE, rows: 1_000 });
    for number in 100..120 {
        add(&mut store, number, &[("/a", 5)]);
    }
    assert_eq!(store.held(), (5, 5), "five slides");
}
