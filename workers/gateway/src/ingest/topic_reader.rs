//! Follows the topics of results, rankings and live values.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_kafka::{Connection, Reader, Start};
use weir_log::Error;
use weir_manifest::{Pipeline, Role};

use super::{attempts::Attempts, batch::Batch, generations, progress, sampler, stop::Stop};
use crate::{
    Panicked,
    store::{PipelineState, Source},
    supervise::{Part, supervise},
};

/// Maximum records per poll, and so of a batch.
const MAX_RECORDS_PER_POLL: usize = 1_000;
/// Maximum live values per poll: they are shown on arrival.
const MAX_LIVE_RECORDS_PER_POLL: usize = 64;
/// Maximum wait for a record, and so for a stop.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause after an error, and the maximum where a topic cannot be read from the start.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Time between two requests for a topic's end offsets and id.
const END_OFFSETS_INTERVAL: Duration = Duration::from_secs(2);
/// Records of live values read at the start: enough for a value of every partition.
const INITIAL_LIVE_RECORDS: i64 = 200;

/// The topics without which a gateway is not ready. Without the others (live values, events) its answers lack a part, which is no reason to
/// take every replica out of service at once.
pub fn needed(pipeline: &Pipeline) -> [&str; 2] {
    [pipeline.results_topic(), pipeline.top_pages_topic()]
}

/// Reads results, rankings, live values, a sample of the events, dead letters and the pipeline's progress into `state`, until `stop`. What
/// cannot be read is retried, and reported in the readiness if it is [`needed`], else in the warnings.
///
/// # Errors
/// A reader panicked; then `stop` is cancelled and all have ended.
pub fn follow(state: &PipelineState, brokers: &str, stop: &CancellationToken) -> Result<(), Panicked> {
    let readers = Stop::new(stop.clone())
        .map_err(|error| Panicked::new("the start of the readers", &error.to_string()))?;
    let pipeline = state.manifest();
    let topics = [(Role::Results, pipeline.results_topic()), (Role::TopPages, pipeline.top_pages_topic())];
    let mut parts: Vec<Part<'_>> = vec![
        (
            "the reader of the consumer group's offsets".to_owned(),
            Box::new(|| progress::watch(state, brokers, &readers)),
        ),
        (
            format!("the sampler of {}", pipeline.events_topic()),
            Box::new(|| sampler::sample(state, brokers, &readers)),
        ),
        (
            format!("the reader of {}", pipeline.generations_topic()),
            Box::new(|| generations::watch(state, brokers, &readers)),
        ),
        (format!("the reader of {}", pipeline.live_topic()), Box::new(|| live(state, brokers, &readers))),
    ];
    let readers = &readers;
    for (role, topic) in topics {
        let (connection, start) = (connection(role, brokers), Start::Beginning);
        let read =
            move || TopicReader { state, role, topic, connection, start, generation: None }.read(readers);
        parts.push((format!("the reader of {topic}"), Box::new(read)));
    }
    supervise(parts, stop)
}

/// Reads the live values of the newest generation.
fn live(state: &PipelineState, brokers: &str, stop: &Stop) {
    let (role, start) = (Role::Live, Start::Last(INITIAL_LIVE_RECORDS));
    while !stop.is_requested() {
        let pipeline = state.in_generation();
        let (topic, generation) = (&pipeline.live_topic(), Some(pipeline.generation));
        TopicReader { state, role, topic, connection: connection(role, brokers), start, generation }
            .read(stop);
        if !stop.is_requested() {
            state.forget(topic);
        }
    }
}

fn connection(role: Role, brokers: &str) -> Connection {
    // Live values are provisional: they need not wait for a transaction.
    let isolation = if role == Role::Live { "read_uncommitted" } else { "read_committed" };
    let properties = [
        ("isolation.level", isolation),
        ("queued.max.messages.kbytes", "8192"),
        ("max.partition.fetch.bytes", "131072"),
    ];
    Connection {
        properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Connection::new(brokers, "weir-serve")
    }
}

/// Reads one topic.
struct TopicReader<'a> {
    state: &'a PipelineState,
    role: Role,
    topic: &'a str,
    connection: Connection,
    start: Start,
    /// Of a topic that ends with its generation: reading ends with it, too.
    generation: Option<u32>,
}

impl TopicReader<'_> {
    /// Reads until `stop`; from the beginning again where the topic was replaced by another one of its name.
    fn read(&self, stop: &Stop) {
        let mut attempts = Attempts::new(self.topic, self.state.max_age());
        let mut pause = RETRY_PAUSE;
        while !self.is_over(stop) {
            match Reader::follow(&self.connection, &[self.topic], self.start) {
                Ok(mut reader) => {
                    pause = RETRY_PAUSE;
                    if let Some(why) = self.read_on(&mut reader, &mut attempts, stop) {
                        tracing::warn!(
                            topic = self.topic,
                            reason = why,
                            "topic was replaced, reading it from its beginning"
                        );
                        self.state.restart(self.role, self.topic);
                    }
                    reader.close();
                }
                Err(error) => {
                    self.failed(&error, &mut attempts);
                    stop.wait(pause);
                    pause = (2 * pause).min(MAX_RETRY_PAUSE);
                }
            }
        }
    }

    /// Reads until `stop` (`None`), or until reading must restart (the reason).
    fn read_on(&self, reader: &mut Reader, attempts: &mut Attempts, stop: &Stop) -> Option<String> {
        // Live values are shown on arrival; results are read in bulk.
        let max = if self.role == Role::Live { MAX_LIVE_RECORDS_PER_POLL } else { MAX_RECORDS_PER_POLL };
        let round = END_OFFSETS_INTERVAL.min(self.state.max_age() / 4);
        let mut requested_at = Instant::now();
        // Whether the end offsets of the last request are still to be reached. An error since then voids them.
        let mut is_pending = true;
        while !self.is_over(stop) {
            let mut batch = Batch::default();
            let polled = reader.poll(max, POLL_TIMEOUT, &mut |_, record| {
                batch.record(self.role, record.offset, record.value.unwrap_or_default());
            });
            batch.apply_to(self.state);
            if matches!(polled, Ok(1..)) {
                attempts.progressed();
            }
            let mut failure = polled.err();
            if is_pending && (failure.is_some() || reader.at_end()) {
                is_pending = false;
                if failure.is_none() {
                    attempts.succeeded();
                    self.state.report(self.topic, Source::CaughtUp);
                }
            }
            if !is_pending && requested_at.elapsed() >= round {
                let requested = reader.check_ends();
                // Set after the request, which may take longer than the interval.
                requested_at = Instant::now();
                match requested {
                    Ok(None) => is_pending = true,
                    Ok(why) => return why,
                    Err(error) => failure = Some(error),
                }
            }
            if attempts.is_renewal_due() {
                match reader.renew() {
                    Ok(()) => is_pending = true,
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                is_pending = false;
                self.failed(&error, attempts);
                if !matches!(error, Error::Retry(_)) {
                    stop.wait(RETRY_PAUSE);
                }
            }
        }
        None
    }

    fn is_over(&self, stop: &Stop) -> bool {
        stop.is_requested() || self.generation.is_some_and(|generation| generation != self.state.generation())
    }

    fn failed(&self, error: &Error, attempts: &mut Attempts) {
        attempts.failed(error);
        self.state.report(self.topic, Source::Unavailable(error.to_string()));
    }
}
