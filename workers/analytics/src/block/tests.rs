#![allow(clippy::unwrap_used)]

use super::*;
use crate::{merge::Merge, settings::Settings};

const SETTINGS: Settings = Settings {
    size: 20_000,
    slide: 10_000,
    out_of_orderness: 0,
    session_gap: 60_000,
    lanes: 1,
    top: 3,
    trending_half_life: 60_000,
    warm_up: 2,
};

fn block(partition: i32, pages: usize) -> Block {
    let row = |url: String| Row { url, views: 2, users: 1, visits: 1, ..Row::default() };
    let mut block = Block::new(partition, 20_000, Some(0));
    block.pages = (0..pages).map(|i| row(format!("/{i:0>100}"))).collect();
    block.site = Row { views: 2 * pages as u64, users: 1, visits: 1, ..Row::default() };
    block
}

#[test]
fn a_block_too_long_for_a_record_goes_in_several_and_comes_back_whole() {
    let many = 25_000;
    let mut merge = Merge::new(SETTINGS, 2, None);
    let records = block(0, many).encode().unwrap();
    assert!(records.len() > 2 && records.iter().all(|record| record.len() <= LONGEST), "{}", records.len());
    merge.add(block(1, 1), 0);
    let last = records.len() - 1;
    for (i, record) in records.iter().enumerate() {
        merge.add(Block::decode(record).unwrap(), 10 + i as i64);
        assert_eq!(merge.needed(), Some(0));
        if i < last {
            assert_eq!(merge.complete(), [], "complete after record {i} of 0..={last}");
        }
    }
    let result = merge.complete().pop().unwrap();
    assert_eq!(result.pages.len(), many);
    assert_eq!(result.top.site.view_count, 2 * (many as i64 + 1));
    assert_eq!(result.pages[0].view_count, 4, "both partitions have the first page");
}

#[test]
fn what_is_no_block_says_so() {
    assert!(matches!(Block::decode(&[9, 1]), Err(BlockError::Version(9))));
    assert!(matches!(Block::decode(&[]), Err(BlockError::Malformed(_))));
    assert!(matches!(Block::decode(&[VERSION, 1]), Err(BlockError::Malformed(_))));
}
