//! Any bytes as the metadata of commits and as records of generations.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use weir_fuzz::Target;
use weir_log::{Generations, PartitionProgress, Record, ResultsProgress};

fn bytes(golden: &str) -> Vec<u8> {
    golden.trim().as_bytes().to_vec()
}

/// What is read is written so that the same is read again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<(), String> {
    let read: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    assert_eq!(serde_json::from_str::<T>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    Ok(())
}

#[test]
fn fuzz_partition_progress() {
    let golden = [
        include_str!("golden/partition-progress-1.json"),
        include_str!("golden/partition-progress-2.json"),
        include_str!("golden/partition-progress-3.json"),
        include_str!("golden/partition-progress-4.json"),
        include_str!("golden/partition-progress-5.json"),
        include_str!("golden/partition-progress-6.json"),
    ];
    Target::new("partition-progress").seeds(golden.map(bytes)).run(round_trip::<PartitionProgress>);
}

#[test]
fn fuzz_results_progress() {
    let golden = [
        include_str!("golden/results-progress-1.json"),
        include_str!("golden/results-progress-2.json"),
        include_str!("golden/results-progress-3.json"),
    ];
    Target::new("results-progress").seeds(golden.map(bytes)).run(round_trip::<ResultsProgress>);
}

#[test]
fn fuzz_generations() {
    let read = |value: &[u8]| {
        Generations::collect("shop.generations", |sink| {
            sink(Record { partition: 0, offset: 7, timestamp: 0, key: Some(b"1"), value: Some(value) });
            Ok(())
        })
    };
    let golden = include_str!("golden/generations-1.json");
    Target::new("generations").seeds(golden.lines().map(bytes)).run(|bytes| {
        let generations = read(bytes).map_err(|error| {
            let text = error.to_string();
            assert!(text.contains("shop.generations holds a record at offset 7"), "{text}");
            text
        })?;
        let newest = generations.newest().unwrap();
        assert_eq!(read(&serde_json::to_vec(newest).unwrap()).unwrap(), generations);
        Ok(())
    });
}
