//! Which page events count under where few may be live.

use super::*;

fn limited(limit: usize) -> Settings {
    Settings { page_limit: Some(limit), ..settings() }
}

fn click(page: &str, seconds: i64) -> Event {
    event("ann", Kind::Click, page, seconds)
}

fn pages(outcome: &Outcome, end: i64) -> Vec<(&str, i64)> {
    let rows = window(outcome, end).pages.iter();
    rows.map(|row| (row.page.as_str(), row.view_count + row.click_count)).collect()
}

#[test]
fn events_beyond_the_limit_count_under_the_other_page() {
    let log =
        log([view("ann", "/a", 1), view("bob", "/b", 2), view("cat", "/c", 3), view("dan", "/a", 4)], 100);
    let outcome = compute(std::slice::from_ref(&log), &limited(2));
    assert_eq!(pages(&outcome, 10), [("(other)", 1), ("/a", 2), ("/b", 1)]);
    assert_eq!(outcome.other_pages, [vec![2]]);
    let other = page(&outcome, 10, "(other)");
    assert_eq!((other.unique_users, other.visits, other.bounces), (1, 1, 1));
    assert_eq!(window(&outcome, 10).site.views, 4);
    // The limit is one of each partition.
    let outcome = compute(
        &[log, vec![Entry::Event(view("eve", "/c", 3)), Entry::AdvanceWatermark(100_000)]],
        &limited(2),
    );
    assert_eq!(pages(&outcome, 10), [("(other)", 1), ("/a", 2), ("/b", 1), ("/c", 1)]);
}

#[test]
fn a_page_is_live_until_the_window_after_its_last_is_sealed() {
    // Windows of 20 s every 10 s: the last one of /a ends at 20, and 30 is the one after. Clicks give no baseline.
    let live_at = |watermark: i64| {
        let events = [click("/a", 1), event("bob", Kind::Click, "/b", watermark + 1)];
        let [a, b] = events.map(Entry::Event);
        let log = vec![a, Entry::AdvanceWatermark(watermark * 1000), b, Entry::AdvanceWatermark(1_000_000)];
        compute(&[log], &limited(1)).other_pages[0].len() == 1
    };
    assert_eq!([19, 20, 29, 30, 39].map(live_at), [true; 5]);
    assert_eq!([40, 41, 1_000].map(live_at), [false; 3]);
}

#[test]
fn a_page_with_a_usual_level_stays_live() {
    // Of /a's views the aligned window that ends at 20 has one.
    let after = |watermark: i64, others: &[i64]| {
        let mut log = vec![Entry::Event(view("ann", "/a", 1)), Entry::AdvanceWatermark(20_000)];
        for seconds in others {
            log.extend([
                Entry::Event(view("bob", "/b", *seconds)),
                Entry::AdvanceWatermark((seconds + 20) * 1000),
            ]);
        }
        log.extend([
            Entry::AdvanceWatermark(watermark * 1000),
            Entry::Event(event("cat", Kind::Click, "/c", watermark + 1)),
            Entry::AdvanceWatermark(10_000_000),
        ]);
        // /b is one page more.
        compute(&[log], &limited(1 + usize::from(!others.is_empty()))).other_pages[0].len()
    };
    assert_eq!(
        (after(100, &[]), after(9_000, &[])),
        (1, 1),
        "a silence of the whole site changes no share of it"
    );
    // A half-life is 20 s, and 166 of them make less than 1e-50 of it.
    let hour: Vec<i64> = (2..200).map(|k| k * 20).collect();
    assert_eq!((after(3_000, &hour[..100]), after(4_100, &hour)), (1, 0));
}
