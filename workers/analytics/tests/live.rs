//! Live values against a plain count over all events.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weir_analytics::{Definitions, Live, LiveRow, Partition, Settings, Verdict};
use weir_oracle::{Entry, Event, Kind, logs};

/// Site and pages of the events in `start..end`, counted one by one.
fn count(counted: &[&Event], start: i64, end: i64) -> (LiveRow, Vec<LiveRow>) {
    let mut rows: BTreeMap<&str, (LiveRow, BTreeSet<&str>)> = BTreeMap::new();
    for e in counted.iter().filter(|e| (start..end).contains(&e.timestamp)) {
        for url in [e.page.as_str(), ""] {
            let (row, users) = rows.entry(url).or_default();
            row.url = url.to_owned();
            row.views += u64::from(e.kind == Kind::View);
            row.clicks += u64::from(e.kind == Kind::Click);
            row.carts += u64::from(e.kind == Kind::AddToCart);
            row.conversions += u64::from(e.kind == Kind::Purchase);
            users.insert(&e.user);
            row.users = users.len() as u32;
        }
    }
    let site = rows.remove("").unwrap_or_default().0;
    let mut pages: Vec<LiveRow> = rows.into_values().map(|(row, _)| row).collect();
    pages.sort_by_key(|row| (std::cmp::Reverse(row.views), row.url.clone()));
    (site, pages)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn live_values_equal_a_plain_count_over_the_open_window(case in logs::logs()) {
        let s = &case.settings;
        let settings = Settings {
            size: s.size, slide: s.slide, out_of_orderness: s.out_of_orderness, session_gap: s.session_gap,
            lanes: 1, top: s.top, trending_half_life: s.trending_half_life, warm_up: s.warm_up,
            duplicate_slack: s.duplicate_slack,
            page_limit: 100_000,
            definitions: if s.visits_span_users { Definitions::V1 } else { Definitions::V2 },
        };
        let mut parts = BTreeMap::new();
        let mut everything = Vec::new();
        for (number, log) in case.partitions.iter().enumerate() {
            let mut partition = Partition::new(number as i32, settings);
            let mut counted = Vec::new();
            for (i, entry) in log.iter().enumerate() {
                match entry {
                    Entry::AdvanceWatermark(watermark) => partition.advance_watermark(*watermark),
                    Entry::Event(e) => match partition.read(&e.into()) {
                        Verdict::Counted | Verdict::PartlyLate => counted.push(e),
                        Verdict::Late | Verdict::Duplicate => {}
                    },
                }
                // Sometimes later than the newest event.
                let at = partition.newest().unwrap_or_default() + (i as i64 % 5) * settings.slide;
                if i % 7 == 0 && let Some(live) = partition.live_snapshot(at) {
                    prop_assert_eq!(live.end - live.start, settings.size);
                    prop_assert!(at < live.end);
                    let inside = counted.iter().map(|e| e.timestamp).filter(|t| (live.start..live.end).contains(t));
                    prop_assert_eq!(live.earliest, inside.min().map(|t| t.div_euclid(settings.slide) * settings.slide));
                    prop_assert_eq!((live.site, live.pages), count(&counted, live.start, live.end));
                }
            }
            if let Some(live) = partition.live_snapshot(i64::MIN) {
                parts.insert(number, Live::decode(&live.encode().unwrap()).unwrap());
            }
            everything.push(counted);
        }
        // Merged: each partition's window, if it overlaps the newest.
        if let Some(live) = Live::merge(parts.values()) {
            let fresh = parts.iter().filter(|(_, part)| part.end > live.start);
            let sums = fresh.map(|(&number, part)| count(&everything[number], part.start, part.end).0.views);
            prop_assert_eq!(live.site.views, sums.sum::<u64>());
            prop_assert_eq!(live.pages.iter().map(|page| page.views).sum::<u64>(), live.site.views);
        }
    }
}

/// A value that does not fit into a record would never be published, and live values would stop changing.
#[test]
fn a_value_fits_into_a_record_for_any_number_and_length_of_pages() {
    for (length, pages) in [(2_048, 1_500), (100, 1_500), (20, 3)] {
        let mut partition = Partition::new(0, Settings::default());
        for page in 0..pages {
            let event = Event {
                user: format!("user-{page}"),
                session: "session".to_owned(),
                kind: Kind::View,
                page: format!("/{page:0>width$}", width = length - 1),
                timestamp: 1_000_000_000,
                session_duration: None,
                event_id: None,
            };
            // The last page is the most viewed.
            for _ in 0..=usize::from(page == pages - 1) {
                assert_eq!(partition.read(&(&event).into()), Verdict::Counted);
            }
        }
        let live = partition.live_snapshot(i64::MIN).unwrap();
        assert!(live.encode().unwrap().len() <= 900_000);
        let expected = if length == 2_048 { 370..400 } else { pages.min(1_000)..pages.min(1_000) + 1 };
        assert!(expected.contains(&live.pages.len()), "{} pages of {length} bytes", live.pages.len());
        assert_eq!(live.pages[0].views, 2);
        assert!(live.pages[1..].is_sorted_by(|a, b| a.url < b.url), "ties by page");
        assert_eq!((live.site.views, live.site.users), (pages as u64 + 1, pages as u32));
    }
}
