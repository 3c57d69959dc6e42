//! The log on a real Kafka, through librdkafka.
//!
//! - [`Member`]: one member of a consumer group and its transactional producer; implements [`weir_log::Member`].
//! - [`Producer`]: a plain, fast, never dropping producer, for the generator.
//! - [`Reader`]: follows topics without a group, for consoles and tests.
//! - [`TopicInspector`]: what a group committed and what topics hold, without joining.
//! - [`admin`]: makes topics as they should be.
//!
//! What librdkafka reports becomes [`weir_log::Error`] in one place, `error.rs`; what is unknown there is fatal.

pub mod admin;
mod batch_queue;
mod clients;
mod context;
mod error;
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

pub use inspector::TopicInspector;
pub use latency::Latency;
pub use member::Member;
pub use producer::Producer;
pub use reader::{Reader, Start};

/// How a cluster is reached: what consumers, producers and administrators have in common.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `HOST:PORT,...`.
    pub brokers: String,
    /// `client.id`, as it appears in the broker's logs and quotas. Also the name of the group that a [`Reader`] never joins.
    pub client_id: String,
    /// Further librdkafka properties (security, mostly); they win. One that only consumers or only producers know is ignored by
    /// the others. `max.poll.interval.ms` (5 min) is how long a rebalance may stay unanswered.
    pub properties: Vec<(String, String)>,
}

impl Connection {
    /// A connection without further properties.
    #[must_use]
    pub fn new(brokers: &str, client_id: &str) -> Self {
        Self { brokers: brokers.to_owned(), client_id: client_id.to_owned(), properties: Vec::new() }
    }
}

/// Which group, topic and transactional id a [`Member`] is, and where.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// How the cluster is reached.
    pub connection: Connection,
    /// Consumer group.
    pub group: String,
    /// Input topic; it must exist.
    pub topic: String,
    /// `group.instance.id`: a member that returns under this name within the session timeout moves no partition.
    pub instance: Option<String>,
    /// `transactional.id`: whoever connects with it last has it.
    pub transactional_id: String,
    /// A member that the broker does not hear for so long is expelled.
    pub session_timeout: Duration,
    /// The broker aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
    /// A member that was offered nothing for so long joins anew: librdkafka may wait without end for a coordinator whose answer
    /// was lost. Longer than a rebalance may take, or members that only wait would disturb it.
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

/// Where and how a [`Producer`] writes.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// How the cluster is reached.
    pub connection: Connection,
    /// How batches are packed.
    pub compression: Compression,
    /// How long a batch is filled before it is sent: more of it means fewer, bigger requests.
    pub linger: Duration,
}
