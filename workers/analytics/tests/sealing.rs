//! Windows sealed in pieces, and over restarts between the pieces, equal windows sealed at once.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Block, Definitions, Partition, Settings, Verdict};
use weir_oracle::{Event, Kind};

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 10_000,
    out_of_orderness: 5_000,
    session_gap: 90_000,
    lanes: 2,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 1,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::NEWEST,
};

/// Visitors on changing pages for two minutes, silence, and two events much later.
fn log() -> Vec<Event> {
    let event = |i: i64, timestamp| Event {
        user: format!("user-{}", i % 40),
        session: "session".to_owned(),
        kind: if i % 3 == 0 { Kind::Click } else { Kind::View },
        page: format!("/page/{}/{:0>30}", i % 7, i % 150),
        timestamp: 1_000_000_000 + timestamp,
        session_duration: None,
        event_id: None,
    };
    (0..600).map(|i| event(i, i * 200)).chain([event(1_000, 1_500_000), event(1_001, 1_501_000)]).collect()
}

fn whole() -> Vec<Block> {
    let mut partition = Partition::new(0, SETTINGS);
    let mut blocks = Vec::new();
    for event in log() {
        assert_eq!(partition.read(&(&event).into()), Verdict::Counted);
        blocks.extend(partition.take_blocks());
    }
    blocks
}

/// What a process has committed: events read, and the windows and rows written for them.
#[derive(Debug, Clone, Copy)]
struct Written {
    events: usize,
    sealed: Option<i64>,
    rows: u64,
}

/// Continues from `from` until `max_records` records are written; returns them and the new position.
fn write(from: Written, max_bytes: usize, max_records: usize) -> (Vec<Vec<u8>>, Written) {
    let log = log();
    let mut partition = Partition::new(0, SETTINGS);
    for event in &log[..from.events] {
        partition.read(&event.into());
        partition.pass_over(from.sealed, from.rows);
    }
    let (mut records, mut is_behind) = (Vec::new(), true);
    for (read, event) in (from.events..).zip(&log[from.events..]) {
        partition.read(&event.into());
        if is_behind && partition.pass_over(from.sealed, from.rows) {
            is_behind = false;
        }
        loop {
            if records.len() == max_records {
                let (sealed, rows) = (partition.sealed(), partition.rows_written());
                let events = if partition.is_behind() { read } else { read + 1 };
                return (records, Written { events, sealed, rows });
            }
            let Some(part) = partition.seal(max_bytes) else { break };
            assert_eq!((part.more, partition.rows_written() > 0), (part.more, part.more));
            records.push(part.record);
        }
    }
    (records, Written { events: log.len(), sealed: partition.sealed(), rows: partition.rows_written() })
}

/// Reassembles blocks from records.
fn blocks(records: &[Vec<u8>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for record in records {
        let part = Block::decode(record).unwrap();
        match blocks.last_mut().filter(|last| last.more) {
            Some(last) => {
                assert_eq!(last.end, part.end);
                last.pages.extend(part.pages);
                last.more = part.more;
            }
            None => blocks.push(part),
        }
    }
    blocks
}

#[test]
fn windows_are_the_same_in_pieces_and_over_restarts() {
    let expected = whole();
    assert!(expected.len() > 20 && expected.iter().any(|block| block.pages.len() > 100));
    let beginning = Written { events: 0, sealed: None, rows: 0 };
    let mut max_record_count = 0;
    for max_bytes in [1, 500, 900_000] {
        let (records, _) = write(beginning, max_bytes, usize::MAX);
        assert!(blocks(&records) == expected, "in pieces of {max_bytes}");
        max_record_count = max_record_count.max(records.len());
        for max_records in [1, 3, 50] {
            if max_bytes == 1 && max_records < 50 {
                continue;
            }
            let (mut all, mut at) = (Vec::new(), beginning);
            while at.events < log().len() {
                let (records, reached) = write(at, max_bytes, max_records);
                all.extend(records);
                at = reached;
            }
            assert!(blocks(&all) == expected, "in pieces of {max_bytes}, restarted after {max_records}");
        }
    }
    assert!(max_record_count > 1_000);
}

/// The size of a piece does not depend on how far the watermark jumps.
#[test]
fn a_piece_is_at_most_max_bytes_long() {
    let mut partition = Partition::new(0, SETTINGS);
    for event in log() {
        partition.read(&(&event).into());
        while let Some(part) = partition.seal(500) {
            assert!(part.record.len() <= 500, "{} bytes", part.record.len());
        }
    }
    assert!(!partition.is_behind());
}
