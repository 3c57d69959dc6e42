#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    merge::Merge,
    settings::{Definitions, Settings},
};

const SETTINGS: Settings = Settings {
    size: 20_000,
    slide: 10_000,
    out_of_orderness: 0,
    session_gap: 60_000,
    lanes: 1,
    top: 3,
    trending_half_life: 60_000,
    warm_up: 2,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::NEWEST,
};

fn block(partition: i32, pages: usize) -> Block {
    let site = Sums { views: 2 * pages as u64, users: 1, visits: 1, ..Sums::default() };
    let mut block = Block::new(&Header { partition, end: 20_000, first_aligned: Some(0), site, more: false });
    // Long URLs without shared prefixes, so that a record cannot hold them all.
    let url = |i: usize| format!("/{i:0>6}{}", "x".repeat(94));
    let sums = Sums { views: 2, users: 1, visits: 1, ..Sums::default() };
    block.pages = (0..pages).map(|i| Row { url: url(i), sums }).collect();
    block
}

#[test]
fn a_block_too_long_for_one_record_is_split_and_reassembled() {
    let many = 25_000;
    let mut merge = Merge::new(SETTINGS, 2, None);
    let records = block(0, many).encode().unwrap();
    assert!(
        records.len() > 2 && records.iter().all(|record| record.len() <= MAX_RECORD_BYTES),
        "{}",
        records.len()
    );
    merge.read(&block(1, 1).encode().unwrap()[0], 0).unwrap();
    let last = records.len() - 1;
    for (i, record) in records.iter().enumerate() {
        merge.read(record, 10 + i as i64).unwrap();
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
fn bytes_that_are_not_a_block_are_errors() {
    assert!(matches!(Block::decode(&[9, 1]), Err(BlockError::Version(9))));
    assert!(matches!(Block::decode(&[]), Err(BlockError::Malformed(_))));
    assert!(matches!(Block::decode(&[1, 1]), Err(BlockError::Malformed(_))));
    assert!(matches!(Block::decode(&[2, 0]), Err(BlockError::Broken(0))));
    let whole = block(0, 2).encode().unwrap().remove(0);
    assert!(matches!(Block::decode(&whole[..whole.len() - 1]), Err(BlockError::Broken(_))));
}

/// The block in both golden records.
fn golden() -> Block {
    let site = Sums {
        views: 300,
        clicks: 20,
        conversions: 1,
        users: 7,
        visits: 9,
        bounces: 2,
        duration: 65_000,
        ..Sums::default()
    };
    let header =
        Header { partition: 3, end: 1_700_000_010_000, first_aligned: Some(5_666_666), site, more: true };
    let rows = [
        (
            "/cart",
            Sums {
                views: 5,
                users: 2,
                visits: 2,
                duration: 1_000,
                previous_views: Some(4),
                ..Sums::default()
            },
        ),
        ("/caf\u{e9}", Sums { baseline: 12.5, baseline_at: -3, ..Sums::default() }),
        (
            "/product/1",
            Sums {
                views: 295,
                clicks: 20,
                conversions: 1,
                users: 7,
                visits: 9,
                bounces: 2,
                duration: 64_000,
                previous_views: Some(0),
                baseline: 0.1,
                baseline_at: 5_666_666,
            },
        ),
    ];
    let mut block = Block::new(&header);
    block.pages = rows.map(|(url, sums)| Row { url: url.to_owned(), sums }).into();
    block
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// During an upgrade the topic holds blocks of the previous version.
#[test]
fn blocks_of_both_formats_are_read() {
    let first = postcard::to_stdvec(&Block { version: 1, ..golden() }).unwrap();
    assert_eq!(hex(&first), include_str!("../../tests/golden/block-1.hex").trim());
    let second = golden().encode().unwrap();
    assert_eq!(hex(&second[0]), include_str!("../../tests/golden/block-2.hex").trim());
    for bytes in [first, second[0].clone()] {
        assert_eq!(Block::decode(&bytes).unwrap(), golden());
    }
}

fn sums() -> impl Strategy<Value = Sums> {
    let small = || prop_oneof![Just(0), 0..200_u64, any::<u64>()];
    let users = || prop_oneof![Just(0), any::<u32>()];
    (
        [small(), small(), small()],
        [users(), users(), users()],
        any::<i64>(),
        prop::option::of(small()),
        prop::num::f64::POSITIVE | prop::num::f64::ZERO,
        prop_oneof![Just(0), any::<i64>()],
    )
        .prop_map(
            |(
                [views, clicks, conversions],
                [users, visits, bounces],
                duration,
                previous_views,
                baseline,
                baseline_at,
            )| {
                Sums {
                    views,
                    clicks,
                    conversions,
                    users,
                    visits,
                    bounces,
                    duration,
                    previous_views,
                    baseline,
                    baseline_at,
                }
            },
        )
}

proptest! {
    #[test]
    fn blocks_round_trip(
        partition in 0..i32::MAX,
        end: i64,
        first_aligned: Option<i64>,
        site in sums(),
        more: bool,
        rows in prop::collection::btree_map("/[a-c\u{e9}\u{4e16}]{0,6}", sums(), 0..20),
        max in 0..600_usize,
    ) {
        let header = Header { partition, end, first_aligned, site, more };
        let mut block = Block::new(&header);
        block.pages = rows.into_iter().map(|(url, sums)| Row { url, sums }).collect();
        let record = block.clone().encode().unwrap().remove(0);
        prop_assert_eq!(Block::decode(&record).unwrap(), block.clone());
        for end in 0..record.len() {
            // Cut between two rows it is a shorter block; cut anywhere else it is an error.
            if let Ok(shorter) = Block::decode(&record[..end]) {
                prop_assert!(block.pages.starts_with(&shorter.pages));
            }
        }
        let (mut found, mut next) = (Vec::new(), 0);
        while next < block.pages.len() {
            let mut writer = Writer::new(&header, Format::Rows, max);
            next += block.pages[next..].iter().take_while(|row| writer.page(&row.url, &row.sums)).count();
            let part = Block::decode(&writer.finish(false)).unwrap();
            prop_assert!(part.pages.len() == 1 || part.clone().encode().unwrap()[0].len() <= max);
            found.extend(part.pages);
        }
        prop_assert_eq!(found, block.pages);
    }

    #[test]
    fn damaged_blocks_never_panic(at: prop::sample::Index, byte: u8) {
        let mut record = golden().encode().unwrap().remove(0);
        let index = at.index(record.len());
        record[index] = byte;
        let _ = Block::decode(&record);
    }
}

#[test]
fn sums_beyond_their_type_stay_at_its_limit() {
    let most = Sums {
        views: u64::MAX,
        clicks: u64::MAX,
        conversions: u64::MAX,
        users: u32::MAX,
        visits: u32::MAX,
        bounces: u32::MAX,
        duration: i64::MAX,
        previous_views: Some(u64::MAX),
        ..Sums::default()
    };
    let mut sums = most;
    sums.add(&most);
    assert_eq!(sums, most);
}
