//! A large state is written in parts.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Partition, Settings};
use weir_oracle::{Event, Kind};

#[test]
fn a_large_state_is_written_in_parts() {
    let mut partition = Partition::new(0, Settings::default());
    for i in 0..20_000 {
        let event = Event {
            user: format!("user-{i}"),
            session: "session".to_owned(),
            kind: Kind::View,
            page: format!("/page/{i}"),
            timestamp: 1_000_000_000,
            session_duration: None,
            event_id: None,
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
    assert_eq!(Partition::restore(0, Settings::default(), &whole).unwrap().snapshot().unwrap(), whole);
}
