//! The bytes of a partition's state: those of the release before are read by this one, those of this one by the next.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Partition, Settings};
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
};

/// Visitors on several pages, with sealed windows behind them, baselines, open slices and visits that have ended.
fn partition() -> Partition {
    let mut partition = Partition::new(0, SETTINGS);
    for i in 0..60 {
        let event = Event {
            user: format!("user-{}", i % 7),
            session: format!("session-{}", i % 3),
            kind: [Kind::View, Kind::Click, Kind::Purchase][i as usize % 3],
            page: format!("/page/{}", i * i % 11),
            timestamp: 1_000_000_000 + i * 4_321 - (i % 4) * 1_000,
            session_duration: (i % 5 == 0).then_some(12),
        };
        partition.read(&(&event).into());
        partition.take_blocks();
    }
    partition
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn snapshots_of_version_1_are_read_and_written() {
    let golden = include_str!("golden/snapshot-1.hex").trim();
    let bytes: Vec<u8> = golden
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(hex(&partition().snapshot().unwrap()), golden);
    let restored = Partition::restore(0, SETTINGS, &bytes).unwrap();
    assert_eq!(hex(&restored.snapshot().unwrap()), golden);
    assert_eq!(restored.live(), partition().live());
}

#[test]
fn a_large_state_is_handed_on_in_parts() {
    let mut partition = partition();
    for i in 0..20_000 {
        let event = Event {
            user: format!("user-{i}"),
            session: "session".to_owned(),
            kind: Kind::View,
            page: format!("/page/{i}"),
            timestamp: 1_000_260_000,
            session_duration: None,
        };
        partition.read(&(&event).into());
        partition.take_blocks();
    }
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    partition
        .write_snapshot(&mut |part| {
            whole.extend_from_slice(part);
            parts.push(part.len());
        })
        .unwrap();
    assert!(parts.len() > 10 && parts.iter().all(|&part| part < 66_000), "{parts:?}");
    assert_eq!(whole, partition.snapshot().unwrap());
    assert_eq!(Partition::restore(0, SETTINGS, &whole).unwrap().snapshot().unwrap(), whole);
}
