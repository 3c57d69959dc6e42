//! Reads a pipeline's topics from Kafka into a gateway.

mod sampler;
mod standings;
#[cfg(test)]
mod tests;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_spec::{Pipeline, Role};
use weir_stream::{
    kafka::{Reader, ReaderOptions, Start},
    log::Error,
};

use crate::{
    Batch, Gateway, Panicked, Source,
    supervise::{Part, supervise},
};
pub use standings::standing;

/// Most records taken over at once.
const MOST: usize = 1_000;
/// Longest wait for a record, and so between two looks at the stop flag.
const WAIT: Duration = Duration::from_millis(100);
/// Pause after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Records of live values to begin with: enough to hear of every partition at once.
const LIVE: i64 = 200;

/// The topics that must have been read before a gateway is ready, by name. Without the others (live values, events) it answers
/// with less, which is no reason to take every replica out of service at once.
pub fn needed(pipeline: &Pipeline) -> [&str; 2] {
    [pipeline.results_topic(), pipeline.top_pages_topic()]
}

/// Follows the results, the rankings, the live values, a sample of the events and where the pipeline stands, until `stop`. What cannot be
/// read is tried again, and said in the gateway's readiness if it is [`needed`], else in its warnings.
///
/// # Errors
/// A reader panicked; then `stop` is set and all have ended.
pub fn follow(
    gateway: &Gateway,
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
) -> Result<(), Panicked> {
    let live = pipeline.live_topic();
    let topics = [
        (Role::Results, pipeline.results_topic(), Start::Beginning),
        (Role::TopPages, pipeline.top_pages_topic(), Start::Beginning),
        (Role::Live, &live, Start::Last(LIVE)),
    ];
    let mut parts: Vec<Part<'_>> = vec![
        (
            "the reader of the consumer group's offsets".to_owned(),
            Box::new(|| standings::watch(gateway, pipeline, brokers, stop)),
        ),
        (
            format!("the sampler of {}", pipeline.events_topic()),
            Box::new(|| sampler::sample(gateway, pipeline, brokers, stop)),
        ),
    ];
    for (role, topic, start) in topics {
        let read = move || {
            while !stop.load(Ordering::SeqCst) {
                if let Err(error) = read(gateway, brokers, role, topic, start, stop) {
                    tracing::warn!(topic, %error, "cannot be read now");
                    gateway.source(topic, Source::Away(error.to_string()));
                    thread::sleep(PAUSE);
                }
            }
        };
        parts.push((format!("the reader of {topic}"), Box::new(read)));
    }
    supervise(parts, stop)
}

fn read(
    gateway: &Gateway,
    brokers: &str,
    role: Role,
    topic: &str,
    start: Start,
    stop: &AtomicBool,
) -> Result<(), Error> {
    // Live values are worth showing before their transaction, if any, is through; and nothing else hangs on them.
    let isolation = if role == Role::Live { "read_uncommitted" } else { "read_committed" };
    let options = ReaderOptions {
        bootstrap: brokers.to_owned(),
        client_id: "weir-serve".to_owned(),
        extra: vec![
            ("isolation.level".to_owned(), isolation.to_owned()),
            ("queued.max.messages.kbytes".to_owned(), "8192".to_owned()),
            ("max.partition.fetch.bytes".to_owned(), "131072".to_owned()),
        ],
    };
    let mut reader = Reader::follow(&options, &[topic], start)?;
    gateway.source(topic, Source::Behind);
    let mut following = false;
    while !stop.load(Ordering::SeqCst) {
        let mut batch = Batch::default();
        // Live values go on as they come; what else there is comes in bulk.
        let most = if role == Role::Live { 64 } else { MOST };
        let polled = reader.poll(most, WAIT, &mut |_, record| {
            batch.record(role, record.offset, record.value.unwrap_or_default());
        });
        gateway.apply(batch);
        match polled {
            Ok(_) if !following && reader.at_end() => {
                following = true;
                gateway.source(topic, Source::Following);
            }
            Ok(_) => {}
            Err(Error::Retry(why)) => {
                tracing::warn!(topic, reason = %why, "transient error, retrying");
                gateway.source(topic, Source::Away(why));
                following = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
