//! Events of version 2: their ids, and what an earlier release made of them.

use std::time::Duration;

use weir_analytics::Definitions;
use weir_events::{ClickstreamEvent, encode_event};
use weir_log::PartitionProgress;

use crate::fixture::{Fixture, START};

impl Fixture {
    /// Appends a view with an id, which makes it an event of version 2.
    fn view_with_id(&self, user: &str, event_id: &str, timestamp: i64) {
        let mut value = Vec::new();
        encode_event(
            &ClickstreamEvent {
                user_id: user,
                session_id: user,
                page_url: "/",
                timestamp,
                event_id: Some(event_id),
                ..ClickstreamEvent::EMPTY
            },
            &mut value,
        );
        self.broker.append("events", 0, None, Some(&value), &[]).unwrap();
    }
}

/// A commit of this release, with what it has beyond earlier ones.
const VERSION_2: &str = include_str!("../../../log/tests/golden/partition-progress-4.json");

#[test]
fn a_stored_commit_after_version_2_is_read() {
    let stored: PartitionProgress = serde_json::from_str(VERSION_2).unwrap();
    assert_eq!((stored.duplicates, stored.version_2_from), (1, Some(2)));
    assert_eq!(serde_json::to_string(&stored).unwrap(), VERSION_2.trim());
}

#[test]
fn version_2_events_that_an_earlier_release_refused_stay_refused() {
    let mut fixture = Fixture::new(1);
    fixture.definitions = Definitions::V1;
    fixture.view("a", START, Some(0));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    fixture.definitions = Definitions::NEWEST;
    // The next snapshot is due five minutes of event time after this one, so that what comes now is read again each time.
    drop(worker);
    fixture.broker.advance(Duration::from_secs(60));
    let before = fixture.progress().remove(0);
    assert_eq!((before.counted, before.from, before.snapshot), (1, 1, true));
    // As a release that knows version 1 alone: invalid, and committed as that.
    fixture.view_with_id("b", "1", START + 1_000);
    let refused = PartitionProgress { read: before.read + 1, dead: before.dead + 1, ..before };
    fixture.commit(2, &serde_json::to_string(&refused).unwrap());
    // From here on they are counted, once each, and releases before refuse to continue.
    for _ in 0..2 {
        fixture.view_with_id("c", "1", START + 2_000);
    }
    // Once before a commit says that version 2 was read, and once after it.
    for _ in 0..2 {
        let mut worker = fixture.worker();
        fixture.pass(&mut worker, 5_000);
        drop(worker);
        fixture.broker.advance(Duration::from_secs(60));
        let progress = fixture.progress().remove(0);
        assert_eq!((progress.from, progress.version_2_from), (1, Some(2)), "it is read again: {progress:?}");
    }
    fixture.end();
    let progress = fixture.progress().remove(0);
    let counts = (progress.read, progress.counted, progress.dead, progress.duplicates);
    assert_eq!((counts, fixture.sealed().0), ((4, 2, 1, 1), 2 * 30), "{progress:?}");
    let stored: PartitionProgress = serde_json::from_str(VERSION_2).unwrap();
    assert_eq!(progress.settings, stored.settings, "{progress:?}");
    assert_eq!(progress.version_2_from, Some(2), "{progress:?}");
}

#[test]
fn duplicates_do_not_end_a_silence() {
    let mut fixture = Fixture::new(2);
    let mut worker = fixture.worker();
    // A monitor that gives all its events one id. Only the first counts, and none of the others moves the watermark.
    for _ in 0..60 {
        // Two at a time: between them the end of the log is not seen.
        for _ in 0..2 {
            fixture.view_with_id("monitor", "always", fixture.broker.now());
        }
        fixture.pass(&mut worker, 10_000);
    }
    let progress = fixture.progress().remove(0);
    assert_eq!((progress.counted, progress.duplicates), (1, 119), "{progress:?}");
    let (views, early) = fixture.sealed();
    assert_eq!(views, 30, "the window is sealed by the clock, as in a silence");
    assert!(early <= 0, "{early}");
}
