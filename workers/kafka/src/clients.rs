//! The configuration of each kind of client.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::batch_queue::MAX_RECORDS_PER_CALL;
use super::{Connection, MemberOptions};

/// Timeout of a single request to the broker (metadata, offsets).
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Common to all clients: quick reconnects after an outage, and detection of dead connections.
fn common(connection: &Connection) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &connection.brokers)
        .set("client.id", &connection.client_id)
        .set("socket.keepalive.enable", "true")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("statistics.interval.ms", "0")
        // Producers would by default, if the broker allows it: a deleted topic would be recreated with the broker's defaults.
        .set("allow.auto.create.topics", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

fn extended(mut config: ClientConfig, connection: &Connection) -> ClientConfig {
    for (key, value) in &connection.properties {
        config.set(key, value);
    }
    config
}

/// A client for administration and metadata.
pub(super) fn admin(connection: &Connection) -> ClientConfig {
    extended(common(connection), connection)
}

/// A consumer of committed records that never commits and never joins: librdkafka requires a `group.id` for any assignment.
pub(super) fn reader(connection: &Connection, group: &str) -> ClientConfig {
    extended(plain_reader(connection, group), connection)
}

/// The same, without the connection's further properties.
fn plain_reader(connection: &Connection, group: &str) -> ClientConfig {
    let mut config = common(connection);
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // Silently resetting to another offset would lose records.
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        // Reading pauses for this time whenever the queue was full; the default is a second.
        .set("fetch.queue.backoff.ms", "5")
        // Read-ahead; a typical event takes about three times its size in memory. Fetches in progress come on top.
        .set("queued.max.messages.kbytes", "4096")
        .set("max.partition.fetch.bytes", "262144");
    config
}

/// A member's client for requests besides its membership.
pub(super) fn inspector(options: &MemberOptions) -> ClientConfig {
    let mut config = plain_reader(&options.connection, &options.group);
    // It has no session, but librdkafka validates this against max.poll.interval.ms from further properties.
    config.set("session.timeout.ms", millis(options.session_timeout));
    extended(config, &options.connection)
}

/// The member of the group.
pub(super) fn member(options: &MemberOptions) -> ClientConfig {
    let mut config = plain_reader(&options.connection, &options.group);
    config
        .set("group.protocol", "classic")
        .set("consume.callback.max.messages", MAX_RECORDS_PER_CALL.to_string())
        // Eager: all partitions are revoked before any is assigned, as the interface requires.
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", millis(options.session_timeout))
        // Members learn of a rebalance from a heartbeat's response, so this delays its start for the others.
        .set("heartbeat.interval.ms", millis((options.session_timeout / 5).min(Duration::from_secs(1))));
    if let Some(instance) = &options.instance {
        config.set("group.instance.id", instance);
    }
    extended(config, &options.connection)
}

/// The transactional producer.
pub(super) fn transactional(options: &MemberOptions) -> ClientConfig {
    let mut config = common(&options.connection);
    config
        .set("transactional.id", &options.transactional_id)
        .set("transaction.timeout.ms", millis(options.transaction_timeout))
        // A third, so that a request lost with its broker can be retried before the transaction times out.
        .set("socket.timeout.ms", millis((options.transaction_timeout / 3).min(ANSWER)))
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        // Limits unacknowledged data in memory: enough to keep a broker busy.
        .set("queue.buffering.max.kbytes", "16384")
        .set("compression.type", "lz4");
    extended(config, &options.connection)
}

/// The time after which librdkafka sends a request again at the earliest: a fifth less than the configured one.
pub(super) fn resend_after(config: &ClientConfig) -> Duration {
    let millis = |name, default| config.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
    let backoff: u64 = millis("retry.backoff.ms", 100) * 4 / 5;
    Duration::from_millis(backoff.min(millis("retry.backoff.max.ms", 1_000)))
}

/// Best effort, outside transactions: records that cannot be sent soon are dropped.
pub(super) fn publisher(options: &MemberOptions) -> ClientConfig {
    let mut config = common(&options.connection);
    config
        .set("acks", "1")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("message.timeout.ms", "5000")
        // Retry interval for a missing topic.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("queue.buffering.max.kbytes", "16384");
    extended(config, &options.connection)
}

/// High throughput without losses: idempotent, acknowledged by all replicas, retried until `message.timeout.ms`, which is
/// infinite, so that an outage blocks the sender instead of dropping records.
pub(super) fn bulk(options: &super::ProducerOptions) -> ClientConfig {
    let mut config = common(&options.connection);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("linger.ms", millis(options.linger))
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("queue.buffering.max.messages", "500000")
        .set("compression.type", options.compression.codec());
    extended(config, &options.connection)
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn further_properties_take_precedence_everywhere() {
        let mut options = MemberOptions::new("a:1", "g", "t", "x");
        options.connection.properties = vec![("client.id".into(), "other".into())];
        for config in [member(&options), transactional(&options), publisher(&options)] {
            assert_eq!(config.get("client.id"), Some("other"));
        }
    }

    #[test]
    fn requests_are_sent_again_after_the_configured_time() {
        let mut options = MemberOptions::new("a:1", "g", "t", "x");
        assert_eq!(resend_after(&transactional(&options)), Duration::from_millis(80));
        options.connection.properties = vec![("retry.backoff.ms".into(), "50".into())];
        assert_eq!(resend_after(&transactional(&options)), Duration::from_millis(40));
        options.connection.properties.push(("retry.backoff.max.ms".into(), "20".into()));
        assert_eq!(resend_after(&transactional(&options)), Duration::from_millis(20));
    }

    #[test]
    fn no_client_creates_topics() {
        let options = MemberOptions::new("a:1", "g", "t", "x");
        let producer = super::super::ProducerOptions {
            connection: Connection::new("a:1", "x"),
            compression: weir_manifest::Compression::None,
            linger: Duration::ZERO,
        };
        let readers = [
            member(&options),
            inspector(&options),
            reader(&options.connection, "x"),
            admin(&options.connection),
        ];
        let writers = [transactional(&options), publisher(&options), bulk(&producer)];
        for config in readers.iter().chain(&writers) {
            assert_eq!(config.get("allow.auto.create.topics"), Some("false"));
        }
        for config in writers {
            config.create::<rdkafka::producer::BaseProducer>().unwrap();
        }
    }

    #[test]
    fn requests_can_be_retried_within_the_transaction_timeout() {
        let mut options = MemberOptions::new("a:1", "g", "t", "x");
        options.transaction_timeout = Duration::from_secs(6);
        assert_eq!(transactional(&options).get("socket.timeout.ms"), Some("2000"));
    }
}
