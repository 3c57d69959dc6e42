#![allow(clippy::unwrap_used)]

use weir_events::encode_top_pages;

use super::*;

const SETTINGS: Settings = Settings {
    size: 20_000,
    slide: 10_000,
    out_of_orderness: 0,
    session_gap: 60_000,
    lanes: 1,
    top: 1_000,
    trending_half_life: 60_000,
    warm_up: 1,
};

/// A ranking that does not fit into a record would stop the pipeline for good.
#[test]
fn a_ranking_fits_into_a_record_however_many_and_long_its_pages_are() {
    for (length, pages, listed) in [(2_048, 1_200, 191), (300, 1_200, 1_000), (20, 30, 30)] {
        let mut merge = Merge::new(SETTINGS, 1, None);
        let mut block = Block::new(0, 100_000, Some(0));
        block.pages = (0..pages)
            .map(|page| Row {
                url: format!("/{page:0>width$}", width = length - 1),
                views: 100 + page as u64,
                users: 100,
                visits: 100,
                previous_views: Some(page as u64),
                ..Row::default()
            })
            .collect();
        block.site = Row { views: 200_000, users: 100, visits: 100, ..Row::default() };
        merge.add(block, 0);
        let result = merge.complete().pop().unwrap();
        assert!(encode_top_pages(&result.top).len() <= 900_000);
        assert_eq!((result.pages.len(), result.top.pages.len()), (pages, listed), "{length} bytes");
        assert_eq!(result.top.page_count, Some(pages as i32));
        let first = &result.top.pages[0];
        assert_eq!(
            (first.view_count, first.previous_rank),
            (99 + pages as i64, Some(1)),
            "those with most views"
        );
        assert!(result.top.trending.len() >= listed.min(pages) && result.top.trending.len() <= pages);
    }
}
