//! The site's traffic: a simulated shop, and beside it faulty clients.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_generator::{Faults, Generator, Profile};
use weir_kafka::{Connection, Producer, ProducerOptions};
use weir_manifest::Pipeline;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// One event per this many is from a client without keys: its visitors are always in another partition than theirs.
const EVENTS_PER_MISPLACED: u64 = 50;

/// The shop's rate and its clients' faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrafficOptions {
    pub(crate) events_per_second: f64,
    /// Shares of the events.
    pub(crate) late: f64,
    pub(crate) duplicates: f64,
    pub(crate) malformed: f64,
}

impl TrafficOptions {
    pub(crate) const COMMON: Self =
        Self { events_per_second: 300.0, late: 0.01, duplicates: 0.01, malformed: 0.005 };
}

/// State shared by the senders and the faults.
#[derive(Default)]
pub(crate) struct Traffic {
    quiet: AtomicBool,
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::SeqCst);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Sends the shop's events when they are due until it is stopped. While quiet they are dropped.
    pub(crate) fn run(
        &self,
        pipeline: &Pipeline,
        brokers: &str,
        options: TrafficOptions,
        seed: u64,
    ) -> anyhow::Result<()> {
        let start = now();
        let TrafficOptions { events_per_second, late, duplicates, malformed } = options;
        let (window, topic) = (&pipeline.spec.window, pipeline.events_topic());
        let out_of_orderness = window.out_of_orderness.as_millis();
        let mut shop = Generator::new(weir_generator::GeneratorOptions {
            events_per_second,
            users: 500,
            pages: 50,
            seed,
            profile: Profile::Constant,
            start,
            partitions: pipeline.spec.topics.events.partitions,
            out_of_orderness,
            faults: Faults {
                late,
                late_by: window.size.as_millis() + 2 * out_of_orderness + 5_000,
                duplicates,
                malformed,
                distinct_urls: 0.0,
                burst: None,
            },
            ..weir_generator::GeneratorOptions::default()
        })?;
        let producer = Producer::connect(&ProducerOptions {
            connection: Connection::new(brokers, "shop"),
            compression: weir_manifest::Compression::Snappy,
            linger: Duration::from_millis(20),
        })?;
        let keyless: BaseProducer = config(brokers).create()?;
        while !self.stop.load(Ordering::SeqCst) {
            let delivery = shop.next();
            while !self.stop.load(Ordering::SeqCst) && delivery.due > now() {
                keyless.poll(Duration::ZERO);
                thread::sleep(Duration::from_millis((delivery.due - now()).clamp(1, 50) as u64));
            }
            if self.quiet.load(Ordering::SeqCst) {
                continue;
            }
            producer.send(topic, delivery.partition, delivery.key, delivery.value)?;
            let sent = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            if sent.is_multiple_of(EVENTS_PER_MISPLACED) {
                let user = format!("keyless-{}", sent % 20);
                let partitions = pipeline.spec.topics.events.partitions;
                let other = (partition_of(user.as_bytes(), partitions) + 1) % partitions;
                let value = event(&user, "/guests");
                // Best effort: the queue is far from full, and lost events do not affect the comparison.
                let _ = keyless.send(BaseRecord::<(), _>::to(topic).partition(other).payload(&value));
                self.sent.fetch_add(1, Ordering::SeqCst);
            }
        }
        producer.flush(2 * REQUEST_TIMEOUT)?;
        keyless.flush(2 * REQUEST_TIMEOUT).context("flush the events without keys")
    }
}

/// Sends events in a transaction that stays open for `open`, then commits or aborts it.
pub(crate) fn transaction(
    pipeline: &Pipeline,
    brokers: &str,
    open: Duration,
    commits: bool,
) -> anyhow::Result<()> {
    let mut config = config(brokers);
    config.set("transactional.id", format!("site-{}", now())).set("transaction.timeout.ms", "120000");
    let producer: BaseProducer = config.create()?;
    producer.init_transactions(REQUEST_TIMEOUT)?;
    producer.begin_transaction()?;
    for number in 0..100 {
        let user = "in-a-transaction";
        let partition = partition_of(user.as_bytes(), pipeline.spec.topics.events.partitions);
        let value = event(user, &format!("/transaction/{}", number % 3));
        let record = BaseRecord::to(pipeline.events_topic()).partition(partition).key(user).payload(&value);
        producer.send::<str, _>(record).map_err(|(error, _)| error)?;
    }
    producer.flush(REQUEST_TIMEOUT)?;
    thread::sleep(open);
    Ok(if commits {
        producer.commit_transaction(REQUEST_TIMEOUT)
    } else {
        producer.abort_transaction(REQUEST_TIMEOUT)
    }?)
}

/// Sends an event that would exceed the brokers' limit if it were not compressed.
pub(crate) fn oversized(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<()> {
    let mut config = config(brokers);
    config.set("message.max.bytes", "8000000").set("compression.type", "gzip");
    let producer: BaseProducer = config.create()?;
    let value = event("large", &format!("/{}", "a".repeat(3_000_000)));
    let partition = partition_of(b"large", pipeline.spec.topics.events.partitions);
    let record = BaseRecord::to(pipeline.events_topic()).partition(partition).key("large").payload(&value);
    producer.send::<str, _>(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(REQUEST_TIMEOUT)?)
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("enable.idempotence", "true");
    config
}

fn event(user: &str, page: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let event = ClickstreamEvent {
        user_id: user,
        session_id: user,
        event_type: EventType::View,
        page_url: page,
        product_id: None,
        timestamp: now(),
        user_agent: "faults",
        ip_address: "192.0.2.1",
        referrer: None,
        session_duration: None,
        ..ClickstreamEvent::EMPTY
    };
    encode_event(&event, &mut bytes);
    bytes
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
