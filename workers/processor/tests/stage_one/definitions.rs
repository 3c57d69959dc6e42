//! Generations that began with other definitions than this release's.

use weir_analytics::Definitions;
use weir_log::PartitionProgress;

use crate::fixture::{Fixture, START};
use crate::refusal;

#[test]
fn a_generation_goes_on_by_the_definitions_that_it_began_with() {
    let mut earlier = Fixture::new(2);
    earlier.definitions = Definitions::V1;
    let mut worker = earlier.worker();
    earlier.pass(&mut worker, 5_000);
    let PartitionProgress { settings, .. } = earlier.progress().remove(0);
    assert!(!settings.contains("definitions"), "{settings}");

    // An earlier release has begun with one of the partitions.
    let mut fixture = Fixture::new(2);
    let begun = PartitionProgress { settings: settings.clone(), ..PartitionProgress::default() };
    fixture.commit(0, &serde_json::to_string(&begun).unwrap());
    fixture.view("a", START, Some(0));
    fixture.view("b", START, Some(1));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    let progress = fixture.progress();
    assert_eq!(progress.len(), 2);
    for partition in progress {
        assert_eq!((partition.counted, &partition.settings), (1, &settings));
    }
}

#[test]
fn a_partition_without_a_commit_follows_what_is_recorded_of_its_generation() {
    let mut fixture = Fixture::new(2);
    fixture.cut = Some(0);
    fixture.view("a", START, Some(0));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    let settings = fixture.progress().remove(0).settings;
    let other = PartitionProgress { settings, ..PartitionProgress::default() };
    let mut fixture = Fixture::new(2);
    (fixture.cut, fixture.definitions) = (Some(0), Definitions::V1);
    fixture.commit(0, &serde_json::to_string(&other).unwrap());
    fixture.view("b", START, Some(1));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    let settings = &fixture.progress()[1].settings;
    assert!(!settings.contains("definitions"), "{settings}");
}

#[test]
fn definitions_of_a_later_release_are_refused() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", START, Some(0));
    assert_eq!(refusal(&mut fixture), None);
    let progress = fixture.progress().remove(0);
    assert!(progress.settings.ends_with(", definitions 2"), "{progress:?}");
    let later = progress.settings.replace("definitions 2", "definitions 3");
    let committed = PartitionProgress { settings: later, ..progress };
    fixture.commit(1, &serde_json::to_string(&committed).unwrap());
    let why = refusal(&mut fixture).unwrap();
    let expected = "the state of events/0 follows the definitions of version 3, and this release knows them up to version 2";
    assert!(why.contains(expected), "{why}");
}
