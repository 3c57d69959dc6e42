//! The log on a real Kafka, through librdkafka.
//!
//! - [`Member`]: one member of a consumer group and its transactional producer; implements [`weir_log::Member`].
//! - [`Producer`]: a plain, fast, lossless producer, for the generator.
//! - [`Reader`]: follows topics without a group, for consoles and tests.
//! - [`TopicInspector`]: reads a group's commits and topics, without joining.
//! - [`admin`]: creates and updates topics.
//!
//! librdkafka's errors become [`weir_log::Error`] in one place, `error.rs`; unknown ones are fatal.

pub mod admin;
mod batch_queue;
mod clients;
mod context;
mod error;
#[cfg(feature = "failpoints")]
mod failpoint;
mod generations;
mod group;
mod inspector;
mod latency;
mod leaving;
mod lines;
mod member;
mod partitions;
mod producer;
mod reader;
mod transactions;
mod watchdog;

use std::time::Duration;

use weir_manifest::Compression;

pub use generations::record_generations;
pub use inspector::TopicInspector;
pub use latency::Latency;
pub use member::Member;
pub use producer::Producer;
pub use reader::{Reader, Start};

/// The connection to a cluster, common to consumers, producers and administrators.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `HOST:PORT,...`.
    pub brokers: String,
    /// `client.id`, as it appears in the broker's logs and quotas. Also the name of the group that a [`Reader`] never joins.
    pub client_id: String,
    /// Further librdkafka properties, mostly for security; they take precedence. Properties of consumers only are ignored by
    /// producers, and vice versa. `max.poll.interval.ms` (5 min) is the time limit for answering a rebalance.
    pub properties: Vec<(String, String)>,
}

impl Connection {
    /// A connection without further properties.
    #[must_use]
    pub fn new(brokers: &str, client_id: &str) -> Self {
        Self { brokers: brokers.to_owned(), client_id: client_id.to_owned(), properties: Vec::new() }
    }
}

/// The group, topic, transactional id and connection of a [`Member`].
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// Connection to the cluster.
    pub connection: Connection,
    /// Consumer group.
    pub group: String,
    /// Input topic; it must exist.
    pub topic: String,
    /// `group.instance.id`: a member that returns under this name within the session timeout causes no rebalance.
    pub instance: Option<String>,
    /// `transactional.id`: the last member to connect with it fences the others.
    pub transactional_id: String,
    /// A member without heartbeats for this time is expelled.
    pub session_timeout: Duration,
    /// The broker aborts transactions that are open for longer.
    pub transaction_timeout: Duration,
    /// A member without a rebalance or partitions for this time rejoins: librdkafka may wait forever for a coordinator whose
    /// response was lost. Longer than a rebalance may take, or waiting members would disturb it.
    pub rejoin_after: Duration,
}

impl MemberOptions {
    /// Options with session and transaction timeouts of 15 s, no static membership and nothing extra; `client.id` is the
    /// transactional id.
    #[must_use]
    pub fn new(bootstrap: &str, group: &str, topic: &str, transactional_id: &str) -> Self {
        Self {
            connection: Connection::new(bootstrap, transactional_id),
            group: group.to_owned(),
            topic: topic.to_owned(),
            instance: None,
            transactional_id: transactional_id.to_owned(),
            session_timeout: Duration::from_secs(15),
            transaction_timeout: Duration::from_secs(15),
            rejoin_after: Duration::from_secs(360),
        }
    }
}

/// The connection and batching of a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Connection to the cluster.
    pub connection: Connection,
    /// Compression of batches.
    pub compression: Compression,
    /// How long a batch is filled before it is sent: longer means fewer, larger requests.
    pub linger: Duration,
}
