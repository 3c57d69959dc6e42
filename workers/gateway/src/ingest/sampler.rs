//! A sample of the events: once a second the newest few of three partitions. Reading the whole topic for the twenty events per second that
//! are shown would cost every gateway the site's full traffic. The same client reads the newest dead letters.

use std::{collections::BTreeMap, time::Duration};

use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::Error;

use super::{attempts::Attempts, progress::renew, stop::Stop};
use crate::store::{
    PipelineState, Source,
    dead_letters::{DeadLetter, MAX_DEAD_LETTERS},
    sample::MAX_EVENTS_PER_SECOND,
};

/// Time between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// Rounds from one read of the dead letters to the next.
const ROUNDS_PER_DEAD_LETTER_READ: u32 = 5;
/// Partitions read in a round, so that the cost does not grow with their number.
const MAX_PARTITIONS_PER_ROUND: i32 = 3;
/// Bytes asked for at a time. A broker answers with one whole batch at least.
const MAX_FETCH_BYTES: &str = "16384";

/// Samples until `stop`.
pub(super) fn sample(state: &PipelineState, brokers: &str, stop: &Stop) {
    let pipeline = state.manifest();
    let mut options = MemberOptions::new(brokers, "weir-serve", pipeline.events_topic(), "");
    options.connection.client_id = "weir-serve".to_owned();
    for (property, value) in [
        // No prefetching.
        ("queued.min.messages", "1"),
        ("max.partition.fetch.bytes", MAX_FETCH_BYTES),
    ] {
        options.connection.properties.push((property.to_owned(), value.to_owned()));
    }
    let mut dead_letters = state.in_generation().dead_letters_topic();
    let mut sampler = None;
    let mut attempts = Attempts::new(pipeline.events_topic(), state.max_age());
    let mut dead_letter_attempts = Attempts::new(&dead_letters, state.max_age());
    for count in (0..ROUNDS_PER_DEAD_LETTER_READ).cycle() {
        if stop.is_requested() {
            break;
        }
        let done = round(&mut sampler, &options, state);
        report_outcome(state, pipeline.events_topic(), &done, &mut attempts, &mut sampler);
        if let (true, Some(Sampler { inspector, dead_letters: position, .. })) = (count == 0, &mut sampler) {
            let now = state.in_generation().dead_letters_topic();
            if now != dead_letters {
                state.forget(&dead_letters);
                dead_letters = now;
            }
            let done = newest_dead_letters(inspector, &dead_letters, position, state);
            report_outcome(state, &dead_letters, &done, &mut dead_letter_attempts, &mut sampler);
        }
        stop.wait(ROUND_INTERVAL);
    }
}

/// Reports how a round went, and renews the client where none has succeeded for long.
fn report_outcome(
    state: &PipelineState,
    topic: &str,
    done: &Result<(), Error>,
    attempts: &mut Attempts,
    sampler: &mut Option<Sampler>,
) {
    let source = match done {
        Ok(()) => {
            attempts.succeeded();
            Source::CaughtUp
        }
        Err(error) => {
            attempts.failed(error);
            renew(sampler.as_mut().map(|sampler| &mut sampler.inspector), attempts);
            Source::Unavailable(error.to_string())
        }
    };
    state.report(topic, source);
}

/// A connection, and the read positions.
struct Sampler {
    inspector: TopicInspector,
    /// The offset after the newest record seen, by partition.
    seen: BTreeMap<i32, i64>,
    /// The partition to begin the next round with.
    next: i32,
    dead_letters: DeadLetterPosition,
}

/// The read position in the dead letters.
#[derive(Default)]
struct DeadLetterPosition {
    /// The id of their topic.
    id: String,
    /// The offset after the newest one.
    next: i64,
}

/// Reads the dead letters since the last read, or the newest ones.
fn newest_dead_letters(
    inspector: &TopicInspector,
    topic: &str,
    position: &mut DeadLetterPosition,
    state: &PipelineState,
) -> Result<(), Error> {
    let Some(found) = inspector.topics(&[topic])?.pop().flatten() else {
        return Err(Error::retry(format!("there is no topic {topic}, or the broker does not know it yet")));
    };
    // Brokers before 2.8 know no ids.
    if !found.id.is_empty() && found.id != position.id {
        state.clear_dead_letters();
        *position = DeadLetterPosition { id: found.id, next: 0 };
    }
    let (_, end) = inspector.watermarks(topic, 0)?;
    // Each may have a transaction's marker behind it.
    let from = position.next.max(end - 2 * MAX_DEAD_LETTERS as i64);
    let mut letters = Vec::new();
    let reached = inspector.read_headers(topic, 0, from, |record, headers| {
        letters.push(DeadLetter::new(record.offset, record.timestamp, headers.iter().copied()));
    })?;
    // A failed read is repeated.
    position.next = reached;
    state.add_dead_letters(letters);
    Ok(())
}

fn round(sampler: &mut Option<Sampler>, options: &MemberOptions, state: &PipelineState) -> Result<(), Error> {
    let Sampler { inspector, seen, next, .. } = match sampler {
        Some(sampler) => sampler,
        None => sampler.insert(Sampler {
            inspector: TopicInspector::connect(options)?,
            seen: BTreeMap::new(),
            next: 0,
            dead_letters: DeadLetterPosition::default(),
        }),
    };
    let partitions = inspector.partition_count()?;
    let visited = partitions.min(MAX_PARTITIONS_PER_ROUND);
    let max_events = i64::from(MAX_EVENTS_PER_SECOND) / i64::from(visited.max(1));
    for partition in (0..visited).map(|step| (*next + step) % partitions) {
        let end = inspector.end(partition)?;
        let from = seen.get(&partition).map_or(end - max_events, |&seen| seen.max(end - max_events));
        // Advanced after the read only: a failed round is repeated.
        if from < end {
            let mut values = Vec::new();
            inspector.read(options.topic.as_str(), partition, from, &mut |record| {
                values.extend(record.value.map(<[u8]>::to_vec));
            })?;
            // More may have been written between the request for the end and the read.
            let skip = values.len().saturating_sub(max_events as usize);
            values.iter().skip(skip).for_each(|value| state.offer(value));
        }
        seen.insert(partition, end);
    }
    *next = (*next + visited) % partitions.max(1);
    Ok(())
}
