//! [`Producer`]: high throughput without losses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::error::classify;
use super::{Latency, ProducerOptions, clients, lines, partitions};
use weir_log::Error;

/// Writes records outside transactions: idempotent, acknowledged by all in-sync replicas, retried forever. While the broker is
/// slow or unavailable, [`send`](Producer::send) blocks once 500,000 records or 128 MiB are in flight. Unacknowledged records are
/// lost when it is dropped: [`flush`](Producer::flush) first.
pub struct Producer {
    // A separate thread serves acknowledgements, so that latencies do not depend on the caller's pace.
    producer: ThreadedProducer<Tally>,
}

impl Producer {
    /// Connects lazily: an unreachable broker only makes [`Producer::send`] block.
    ///
    /// # Errors
    /// [`Error::Fatal`] for unknown librdkafka properties.
    pub fn connect(options: &ProducerOptions) -> Result<Self, Error> {
        let producer = clients::bulk(options)
            .create_with_context(Tally::default())
            .map_err(|error| classify("start a producer", &error))?;
        Ok(Self { producer })
    }

    /// The number of partitions of a topic, to choose one by key.
    ///
    /// # Errors
    /// [`Error::Retry`] if no broker responds, [`Error::Fatal`] for a missing topic.
    pub fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        partitions::count(self.producer.client(), topic, "the configured brokers")
    }

    /// Queues a record. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`Error::Fatal`] for permanent failures: a record that is too large, a missing partition.
    pub fn send(&self, topic: &str, partition: i32, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let sent = usize::try_from(self.tally().micros()).unwrap_or(usize::MAX);
        let mut record = BaseRecord::with_opaque_to(topic, sent).partition(partition).key(key).payload(value);
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    self.producer.poll(Duration::from_millis(1));
                    record
                }
                Err((error, _)) => {
                    return Err(classify(&format!("write to partition {partition} of {topic:?}"), &error));
                }
            };
        }
    }

    /// Waits until everything is acknowledged or has failed.
    ///
    /// # Errors
    /// [`Error::Retry`] when that takes longer than `wait`.
    pub fn flush(&self, wait: Duration) -> Result<(), Error> {
        self.producer.flush(wait).map_err(|error| classify("write everything in time", &error))
    }

    /// Number of records acknowledged by all in-sync replicas.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.tally().acknowledged.load(Ordering::Relaxed)
    }

    /// Number of failed records, and the reason of the last.
    #[must_use]
    pub fn failed(&self) -> (u64, Option<String>) {
        let reason = self.tally().reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.tally().failed.load(Ordering::Relaxed), reason)
    }

    /// Number of records queued or in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Latencies from `send` to the acknowledgement.
    #[must_use]
    pub fn latency(&self) -> &Latency {
        &self.tally().latency
    }

    fn tally(&self) -> &Tally {
        self.producer.context()
    }
}

/// Counts deliveries. Records carry their send time in microseconds since `started`.
struct Tally {
    started: Instant,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    reason: Mutex<Option<String>>,
    latency: Latency,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reason: Mutex::new(None),
            latency: Latency::default(),
        }
    }
}

impl Tally {
    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl ClientContext for Tally {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        lines::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Tally {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: usize) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.latency.record(self.micros().saturating_sub(sent as u64));
            }
            Err((error, _)) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        }
    }
}
