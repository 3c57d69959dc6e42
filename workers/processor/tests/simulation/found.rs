//! Reads the final contents of the topics, and checks that everything is there once and in order.

use std::{collections::BTreeMap, fmt::Debug};

use weir_analytics::Block;
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_memory::{Broker, StoredRecord};

use crate::setup::{RESULTS, Setup, TOP_PAGES};

/// A logged idle decision: the partition's watermark is advanced before its record at `offset` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatermarkAdvance {
    pub partition: i32,
    /// Its own offset in the state topic.
    pub state_offset: i64,
    pub offset: i64,
    pub watermark: i64,
    /// When it was written, by the broker's clock.
    pub timestamp: i64,
}

/// The watermark advances in the state topic.
pub fn advances(broker: &Broker, setup: &Setup) -> Vec<WatermarkAdvance> {
    let of = |partition| {
        broker
            .records(&setup.state(), partition)
            .into_iter()
            .filter_map(move |record| advance_watermark(partition, &record))
    };
    (0..setup.inputs).flat_map(of).collect()
}

fn advance_watermark(partition: i32, record: &StoredRecord) -> Option<WatermarkAdvance> {
    let (offset, watermark) = decision(record.key.as_deref(), record.value.as_deref())?;
    Some(WatermarkAdvance {
        partition,
        state_offset: record.offset,
        offset,
        watermark,
        timestamp: record.timestamp,
    })
}

/// Offset and watermark of a record of the state topic, if it is a watermark advance.
pub fn decision(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(i64, i64)> {
    let value = value.filter(|_| key.is_some_and(|key| key.starts_with(b"raise/")))?;
    let value: serde_json::Value = serde_json::from_slice(value).unwrap();
    Some((value["offset"].as_i64().unwrap(), value["watermark"].as_i64().unwrap()))
}

/// A dead letter: reason, original key and value.
pub type DeadLetter = (String, Option<Vec<u8>>, Option<Vec<u8>>);

/// All outputs of a pipeline, as bytes.
#[derive(Debug, Default, PartialEq)]
pub struct Output {
    /// By input partition and window end.
    pub blocks: BTreeMap<(i32, i64), Vec<u8>>,
    /// By window end and page.
    pub rows: BTreeMap<(i64, String), Vec<u8>>,
    /// By window end.
    pub rankings: BTreeMap<i64, Vec<u8>>,
    /// By partition and offset of the event.
    pub dead_letters: BTreeMap<(i32, i64), DeadLetter>,
}

/// Reads all outputs of a generation.
///
/// # Errors
/// Something is there twice or out of order.
pub fn output(broker: &Broker, setup: &Setup) -> Result<Output, String> {
    let mut output = Output::default();
    let mut order = Order::default();
    for lane in 0..setup.settings.lanes {
        let mut parts = BTreeMap::new();
        for record in broker.records(&setup.blocks(), lane) {
            let mut block = Block::decode(&record.value.unwrap()).unwrap();
            order.then(format!("lane {lane}: blocks of partition {}", block.partition), block.end)?;
            let whole: Option<Block> = parts.remove(&block.partition);
            if let Some(mut begun) = whole {
                if begun.end != block.end {
                    return Err(format!(
                        "of the block {:?} the rest is missing",
                        (begun.partition, begun.end)
                    ));
                }
                begun.pages.append(&mut block.pages);
                block.pages = begun.pages;
            }
            if block.more {
                parts.insert(block.partition, block);
                continue;
            }
            if !block.pages.is_sorted_by(|a, b| a.url < b.url) {
                return Err(format!("rows are there twice in {block:?}"));
            }
            let key = (block.partition, block.end);
            once("block", &mut output.blocks, key, block.encode().unwrap().concat())?;
        }
        if !parts.is_empty() {
            return Err(format!("of blocks the rest is missing: {parts:?}"));
        }
    }
    for partition in 0..setup.result_partitions {
        for record in broker.records(RESULTS, partition) {
            let value = record.value.unwrap();
            let row = decode_page_analytics(&value).unwrap();
            assert_eq!(record.key.as_deref(), Some(row.page_url.as_bytes()), "results are keyed by page");
            if Some(row.window_end) <= setup.cut {
                continue;
            }
            let lane = setup.settings.lane(row.window_end);
            order.then(format!("results {partition}: windows of lane {lane}"), row.window_end)?;
            once("row", &mut output.rows, (row.window_end, row.page_url), value)?;
        }
    }
    for record in broker.records(TOP_PAGES, 0) {
        let value = record.value.unwrap();
        let end = decode_top_pages(&value).unwrap().window_end;
        if Some(end) <= setup.cut {
            continue;
        }
        order.then(format!("rankings of lane {}", setup.settings.lane(end)), end)?;
        once("ranking", &mut output.rankings, end, value)?;
    }
    for record in broker.records(&setup.dead_letters(), 0) {
        let header = |name: &str| {
            record.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()).unwrap()
        };
        let source = (header("partition").parse().unwrap(), header("offset").parse().unwrap());
        order.then(format!("dead letters of partition {}", source.0), source.1)?;
        once("dead letter", &mut output.dead_letters, source, (header("reason"), record.key, record.value))?;
    }
    Ok(output)
}

impl Output {
    /// Returns the differences of two outputs.
    pub fn compare(&self, other: &Self) -> Result<(), String> {
        same("blocks", &self.blocks, &other.blocks)?;
        same("rows", &self.rows, &other.rows)?;
        same("rankings", &self.rankings, &other.rankings)?;
        same("dead letters", &self.dead_letters, &other.dead_letters)
    }
}

#[derive(Default)]
struct Order(BTreeMap<String, i64>);

impl Order {
    fn then(&mut self, of: String, position: i64) -> Result<(), String> {
        match self.0.get(&of) {
            Some(&before) if before > position => Err(format!("{of}: {position} comes after {before}")),
            _ => {
                self.0.insert(of, position);
                Ok(())
            }
        }
    }
}

fn once<K: Ord + Clone + Debug, V>(
    what: &str,
    all: &mut BTreeMap<K, V>,
    key: K,
    value: V,
) -> Result<(), String> {
    match all.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(format!("{what} {key:?} is there twice")),
    }
}

/// Compares two collections by key.
pub fn same<K: Ord + Debug, V: PartialEq>(
    what: &str,
    expected: &BTreeMap<K, V>,
    actual: &BTreeMap<K, V>,
) -> Result<(), String> {
    let missing: Vec<&K> = expected.keys().filter(|key| !actual.contains_key(key)).collect();
    let surplus: Vec<&K> = actual.keys().filter(|key| !expected.contains_key(key)).collect();
    let wrong: Vec<&K> = expected
        .iter()
        .filter(|(key, value)| actual.get(key).is_some_and(|other| other != *value))
        .map(|(key, _)| key)
        .collect();
    if missing.is_empty() && surplus.is_empty() && wrong.is_empty() {
        return Ok(());
    }
    let sample = |keys: &[&K]| format!("{} {:?}", keys.len(), &keys[..keys.len().min(3)]);
    Err(format!(
        "{what}, of {}: missing {}, too many {}, other bytes {}",
        expected.len(),
        sample(&missing),
        sample(&surplus),
        sample(&wrong)
    ))
}
