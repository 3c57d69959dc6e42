//! Memory is proportional to live state, not to the events read.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Partition, Settings, Verdict};
use weir_events::Decoder;
use weir_generator::{Generator, GeneratorOptions, Profile};

/// A partition's state, including free numbers, in bytes and in pairs and visits.
fn size(partition: &Partition) -> (usize, usize) {
    (partition.snapshot().unwrap().len(), partition.live())
}

#[test]
fn state_does_not_grow_under_constant_load() {
    let options =
        GeneratorOptions { partitions: 1, profile: Profile::Constant, ..GeneratorOptions::default() };
    let (start, minute) = (options.start, 60_000);
    let mut simulation = Generator::new(options).unwrap();
    let (decoder, mut partition) = (Decoder::new(), Partition::new(0, Settings::default()));
    // Visits are kept for 35 minutes: from then on their number is constant.
    let (mut before, mut after) = ((0, 0), (0, 0));
    let mut events = 0;
    loop {
        let delivery = simulation.next();
        let age = delivery.due - start;
        if age > 105 * minute {
            break;
        }
        let event = decoder.decode(delivery.value).unwrap();
        assert_eq!(partition.read(&event), Verdict::Counted);
        if !partition.take_blocks().is_empty() {
            let (bytes, live) = size(&partition);
            if age > 45 * minute {
                let greatest = if age < 75 * minute { &mut before } else { &mut after };
                *greatest = (greatest.0.max(bytes), greatest.1.max(live));
            }
        }
        events += 1;
    }
    assert!(events > 600_000, "{events}");
    assert!(before.1 > 10_000 && before.0 > 100_000, "{before:?}");
    let grown = |before: usize, after: usize| after as f64 / before as f64;
    assert!(grown(before.0, after.0) < 1.05 && grown(before.1, after.1) < 1.05, "{before:?}, then {after:?}");
}

#[test]
fn events_out_of_order_are_added_to_their_slices_counts() {
    let mut partition = Partition::new(0, Settings::default());
    let mut view = |timestamp| {
        let event = weir_oracle::Event {
            user: "user".to_owned(),
            session: "session".to_owned(),
            kind: weir_oracle::Kind::View,
            page: "/page".to_owned(),
            timestamp,
            session_duration: None,
            event_id: None,
        };
        assert_ne!(partition.read(&(&event).into()), Verdict::Late);
        partition.take_blocks();
        size(&partition)
    };
    view(100_000);
    let (once, _) = view(5_000);
    let sizes = (0..1_000).map(|_| view(5_000).0);
    // Only a few counters grow, by a byte or two each.
    assert!(sizes.max().unwrap() < once + 20);
}
