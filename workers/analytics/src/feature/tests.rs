//! A second feature beside pages: needs only a file of its own and its name in the list of features.
#![allow(clippy::unwrap_used)]

mod searches;

use std::collections::BTreeMap;

use weir_events::{ClickstreamEvent, EventType};

use super::*;
use crate::{
    block::{Block, BlockError},
    merge::{Merge, Piece},
    partition::Partition,
    section::SectionId,
    settings::Definitions,
};
use searches::{SEARCHES, Searches};

/// The list of features with the second one.
type With = Searches;

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 10_000,
    out_of_orderness: 5_000,
    session_gap: 90_000,
    lanes: 1,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 1,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::V1,
};
const END: i64 = 1_000_600_000;
const SNAPSHOT: &str = include_str!("../../tests/golden/snapshot-2.hex");
const BLOCK: &str = include_str!("../../tests/golden/block-3.hex");

fn read<F: Feature>(partition: &mut Partition<F>, events: std::ops::Range<i64>) {
    for i in events {
        let (user, page) = (format!("user-{}", i % 5), format!("/page/{}", i % 7));
        partition.read(&ClickstreamEvent {
            user_id: &user,
            session_id: &user,
            event_type: if i % 3 == 0 { EventType::Search } else { EventType::View },
            page_url: &page,
            product_id: None,
            timestamp: 1_000_000_000 + i * 3_000,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        });
    }
}

/// Seals due windows in pieces, and reads them as stage 2 does.
fn seal<F: Feature>(partition: &mut Partition<F>, max_bytes: usize, merge: &mut Merge<F>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(part) = partition.seal(max_bytes) {
        merge.read(&part.record, 0).unwrap();
        records.push(part.record);
    }
    records
}

/// The feature's merged value by window end, and all pieces of pages.
fn complete<F: Feature>(merge: &mut Merge<F>) -> (BTreeMap<i64, Option<F::Merged>>, Vec<Piece>)
where
    F::Merged: Clone,
{
    let (mut merged, mut pieces) = (BTreeMap::new(), Vec::new());
    while let Some(piece) = merge.next_piece() {
        if let Piece::Top(top) = &piece {
            merged.insert(top.window_end, merge.merged().cloned());
        }
        pieces.push(piece);
    }
    (merged, pieces)
}

fn from_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two partitions with the same events.
fn run<F: Feature>(max_bytes: usize) -> (BTreeMap<i64, Option<F::Merged>>, Vec<Piece>)
where
    F::Merged: Clone,
{
    let mut merge = Merge::<F>::with_features(SETTINGS, 2, None);
    for number in 0..2 {
        let mut partition = Partition::<F>::with_features(number, SETTINGS);
        for i in 0..60 {
            read(&mut partition, i..i + 1);
            seal(&mut partition, max_bytes, &mut merge);
        }
        partition.advance_watermark(END);
        seal(&mut partition, max_bytes, &mut merge);
    }
    complete(&mut merge)
}

#[test]
fn a_second_feature_is_merged_per_window_and_leaves_pages_unchanged() {
    let (_, pages) = run::<()>(900_000);
    for max_bytes in [1, 200, 900_000] {
        let (merged, pieces) = run::<With>(max_bytes);
        assert!(pieces == pages, "in pieces of {max_bytes}");
        assert!(merged.len() > 20);
        for (end, merged) in merged {
            let searched = (0..60).step_by(3).map(|i| 1_000_000_000 + i * 3_000);
            let mut expected = BTreeMap::new();
            for timestamp in searched.filter(|timestamp| (end - SETTINGS.size..end).contains(timestamp)) {
                *expected.entry(SETTINGS.slice_of(timestamp)).or_default() += 2;
            }
            assert_eq!(merged.unwrap_or_default(), expected, "{end}, in pieces of {max_bytes}");
        }
    }
}

#[test]
fn a_restored_snapshot_with_sections_continues_identically() {
    let mut whole = Partition::<With>::with_features(0, SETTINGS);
    read(&mut whole, 0..30);
    whole.take_blocks();
    let snapshot = whole.snapshot().unwrap();
    assert_eq!(hex(&snapshot), SNAPSHOT.trim());
    let mut restored = Partition::<With>::restore_with(0, SETTINGS, &from_hex(SNAPSHOT)).unwrap();
    assert_eq!(restored.snapshot().unwrap(), snapshot);
    for partition in [&mut whole, &mut restored] {
        read(partition, 30..60);
        partition.advance_watermark(END);
    }
    let blocks = whole.take_blocks();
    assert!(blocks.iter().any(|block| !block.sections.is_empty()));
    assert_eq!(restored.take_blocks(), blocks);
}

/// Switched on, the feature starts with an empty state; switched off again, its section is ignored.
#[test]
fn a_feature_may_be_switched_on_and_off() {
    let mut plain = Partition::new(0, SETTINGS);
    read(&mut plain, 0..30);
    plain.take_blocks();
    let before = plain.snapshot().unwrap();
    let mut on = Partition::<With>::restore_with(0, SETTINGS, &before).unwrap();
    assert_ne!(on.snapshot().unwrap(), before);
    let mut off = Partition::restore(0, SETTINGS, &on.snapshot().unwrap()).unwrap();
    assert_eq!(off.snapshot().unwrap(), before);
    read(&mut on, 30..60);
    for partition in [&mut plain, &mut off] {
        read(partition, 30..60);
    }
    let (with, without) = (on.take_blocks(), plain.take_blocks());
    assert_eq!(off.take_blocks(), without);
    assert!(with.iter().zip(&without).all(|(one, other)| one.pages == other.pages));
}

#[test]
fn stored_blocks_with_sections_are_read() {
    let mut partition = Partition::<With>::with_features(0, SETTINGS);
    read(&mut partition, 0..30);
    let block = partition.take_blocks().pop().unwrap();
    let record = block.clone().encode().unwrap().remove(0);
    assert_eq!(hex(&record), BLOCK.trim());
    assert_eq!(Block::decode(&from_hex(BLOCK)).unwrap(), block);
    // This release's stage 2 has no feature beside pages, and ignores the section.
    let mut merge = Merge::new(SETTINGS, 1, None);
    merge.read(&record, 0).unwrap();
    assert_eq!(merge.complete()[0].pages.len(), block.pages.len());
}

#[test]
fn unreadable_sections_are_errors() {
    let record = from_hex(BLOCK);
    let mut merge = Merge::<With>::with_features(SETTINGS, 1, None);
    let at = record.windows(2).position(|bytes| bytes == [SEARCHES.tag, SEARCHES.version]).unwrap();
    let mut later = record.clone();
    later[at + 1] += 1;
    let error = merge.read(&later, 0).unwrap_err();
    let found = SectionId { tag: SEARCHES.tag, version: SEARCHES.version + 1 };
    let expected = SectionError::Version { found, known: SEARCHES.version };
    assert!(
        matches!(&error, BlockError::Section(error) if error.to_string() == expected.to_string()),
        "{error}"
    );
    for end in 0..record.len() {
        // Cut between two sections it is a shorter block; cut anywhere else it is an error.
        if let Ok(shorter) = Block::decode(&record[..end]) {
            assert!(shorter.sections.is_empty(), "cut at {end}");
        }
    }
    let snapshot = from_hex(SNAPSHOT);
    for end in 0..snapshot.len() {
        assert!(Partition::<With>::restore_with(0, SETTINGS, &snapshot[..end]).is_err(), "cut at {end}");
    }
}
