#![allow(clippy::unwrap_used)]

use weir_events::encode_top_pages;

use super::*;
use crate::block::{Block, Header, Row, Sums};

const SETTINGS: Settings = Settings {
    size: 20_000,
    slide: 10_000,
    out_of_orderness: 0,
    session_gap: 60_000,
    lanes: 1,
    top: 1_000,
    trending_half_life: 60_000,
    warm_up: 1,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: crate::settings::Definitions::NEWEST,
};

fn block(partition: i32, end: i64, rows: impl Iterator<Item = (String, Sums)>) -> Block {
    let site = Sums { views: 200_000, users: 100, visits: 100, ..Sums::default() };
    let header = Header { partition, end, first_aligned: Some(0), site, more: false };
    let mut block = Block::new(&header);
    block.pages = rows.map(|(url, sums)| Row { url, sums }).collect();
    block
}

fn viewed(pages: std::ops::Range<u64>) -> impl Iterator<Item = (String, Sums)> {
    pages.map(|page| {
        let sums = Sums { views: page + 1, users: 1, visits: 1, ..Sums::default() };
        (format!("/{page:0>100}"), sums)
    })
}

fn add(merge: &mut Merge, block: Block, offset: i64) {
    for record in block.encode().unwrap() {
        merge.read(&record, offset).unwrap();
    }
}

/// All pieces, with a restart after every `restart_after` of them, each from what would have been committed.
fn pieces(blocks: &[Block], restart_after: usize) -> Vec<Piece> {
    let start = |emitted, begun, from: usize| {
        let mut merge = Merge::new(SETTINGS, 2, emitted).within(begun);
        for (offset, block) in (0..).zip(blocks).skip(from) {
            for record in block.clone().encode().unwrap() {
                merge.read(&record, offset).unwrap();
            }
        }
        merge
    };
    let (mut merge, mut all) = (start(None, None, 0), Vec::new());
    loop {
        let before = all.len();
        all.extend(std::iter::from_fn(|| merge.next_piece()).take(restart_after));
        if all.len() == before {
            assert!(!merge.is_behind());
            return all;
        }
        let from = merge.needed().unwrap_or(blocks.len() as i64);
        merge = start(merge.emitted(), merge.begun(), from as usize);
    }
}

#[test]
fn a_window_is_emitted_identically_over_restarts() {
    let blocks = [
        block(0, 100_000, viewed(0..40)),
        block(0, 110_000, viewed(10..50)),
        block(1, 100_000, viewed(20..60)),
        block(0, 120_000, std::iter::empty()),
        block(1, 110_000, viewed(0..5)),
    ];
    let whole = pieces(&blocks, usize::MAX);
    assert_eq!(whole.len(), 60 + 1 + 45 + 1);
    for restart_after in [1, 2, 7, 61] {
        assert!(pieces(&blocks, restart_after) == whole, "restarted after {restart_after}");
    }
}

/// Windows wait for the slowest partition: meanwhile they use a few bytes per row, and store each URL once.
#[test]
fn waiting_blocks_are_packed() {
    let mut merge = Merge::new(SETTINGS, 2, None);
    for window in 0..30 {
        add(&mut merge, block(0, 100_000 + window * 10_000, viewed(0..1_000)), window);
    }
    assert_eq!(merge.names.len(), 1_000, "each page once");
    assert!(merge.held_bytes() <= 30 * 1_000 * 10, "{} bytes", merge.held_bytes());
    add(&mut merge, block(1, 390_000, viewed(0..1)), 30);
    assert_eq!(merge.complete().len(), 30);
    assert_eq!((merge.held_bytes(), merge.names.find("/")), (0, None));
    assert!((0..1_000).all(|page| merge.names.find(&format!("/{page:0>100}")).is_none()), "nothing is left");
}

/// A ranking that does not fit into a record would stop the pipeline permanently.
#[test]
fn a_ranking_fits_into_a_record_however_many_and_long_its_pages_are() {
    for (length, pages, listed) in [(2_048, 1_200, 191), (300, 1_200, 1_000), (20, 30, 30)] {
        let mut merge = Merge::new(SETTINGS, 1, None);
        let rows = (0..pages).map(|page| {
            let sums = Sums {
                views: 100 + page as u64,
                users: 100,
                visits: 100,
                previous_views: Some(page as u64),
                ..Sums::default()
            };
            (format!("/{page:0>width$}", width = length - 1), sums)
        });
        add(&mut merge, block(0, 100_000, rows), 0);
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
