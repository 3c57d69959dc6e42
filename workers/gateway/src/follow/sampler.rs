//! A sample of the events: the newest few of some partitions, now and then. Reading the whole topic for the twenty a second that are
//! shown would cost every gateway the site's full traffic.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Lookup, Options},
    log::Error,
};

use super::{standings::renew, tries::Tries};
use crate::{Gateway, Source, sample::MAX_EVENTS_PER_SECOND};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Partitions read in a round, so that the cost does not grow with their number.
const MAX_PARTITIONS_PER_ROUND: i32 = 3;
/// Bytes asked for at a time. A broker answers with one whole batch at least.
const FETCH_BYTES: &str = "16384";

/// Samples until `stop`.
pub(super) fn sample(gateway: &Gateway, pipeline: &Pipeline, brokers: &str, stop: &AtomicBool) {
    let mut options = Options::new(brokers, "weir-serve", pipeline.events_topic(), "");
    options.client_id = "weir-serve".to_owned();
    for (property, value) in [
        // Nothing is fetched ahead of what is asked for.
        ("queued.min.messages", "1"),
        ("max.partition.fetch.bytes", FETCH_BYTES),
    ] {
        options.extra.push((property.to_owned(), value.to_owned()));
    }
    let (mut sampler, mut tries) = (None, Tries::new(pipeline.events_topic(), gateway.max_age()));
    while !stop.load(Ordering::SeqCst) {
        let source = match round(&mut sampler, &options, gateway) {
            Ok(()) => {
                tries.succeeded();
                Source::Following
            }
            Err(error) => {
                tries.failed(&error);
                renew(sampler.as_mut().map(|sampler: &mut Sampler| &mut sampler.lookup), &mut tries);
                Source::Away(error.to_string())
            }
        };
        gateway.source(pipeline.events_topic(), source);
        thread::sleep(ROUND);
    }
}

/// A connection, and what was sampled.
struct Sampler {
    lookup: Lookup,
    /// The offset after the newest record seen, by partition.
    seen: BTreeMap<i32, i64>,
    /// The partition to begin the next round with.
    next: i32,
}

fn round(sampler: &mut Option<Sampler>, options: &Options, gateway: &Gateway) -> Result<(), Error> {
    let Sampler { lookup, seen, next } = match sampler {
        Some(sampler) => sampler,
        None => sampler.insert(Sampler { lookup: Lookup::connect(options)?, seen: BTreeMap::new(), next: 0 }),
    };
    let partitions = lookup.partition_count()?;
    let visited = partitions.min(MAX_PARTITIONS_PER_ROUND);
    let most = i64::from(MAX_EVENTS_PER_SECOND) / i64::from(visited.max(1));
    for partition in (0..visited).map(|step| (*next + step) % partitions) {
        let end = lookup.end(partition)?;
        let from = seen.get(&partition).map_or(end - most, |&seen| seen.max(end - most));
        // Only seen once it is read: a round that fails is made again.
        if from < end {
            let mut values = Vec::new();
            lookup.read(options.topic.as_str(), partition, from, &mut |record| {
                values.extend(record.value.map(<[u8]>::to_vec));
            })?;
            // More may have come between asking for the end and reading.
            let skip = values.len().saturating_sub(most as usize);
            values.iter().skip(skip).for_each(|value| gateway.offer(value));
        }
        seen.insert(partition, end);
    }
    *next = (*next + visited) % partitions.max(1);
    Ok(())
}
