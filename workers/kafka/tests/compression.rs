//! Every compression of the document: by our producers and by the broker, and read back.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::time::Duration;

use cluster::{Cluster, name, spec};
use weir_kafka::admin::ensure_topics;
use weir_kafka::{Connection, MemberOptions, Producer, ProducerOptions, TopicInspector};
use weir_manifest::Compression;

#[test]
fn every_compression_is_written_and_read() {
    let cluster = Cluster::shared();
    let all =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    // Compressed by the producer; and by the broker from uncompressed batches.
    let cases = all.map(|by_producer| (by_producer, "producer"));
    let cases = cases.into_iter().chain(all.map(|by_broker| (Compression::None, by_broker.topic_setting())));
    for (compression, setting) in cases {
        let topic = spec(&name(), 1, &[("compression.type", setting)]);
        ensure_topics(cluster.bootstrap(), std::slice::from_ref(&topic)).unwrap();
        let producer = Producer::connect(&ProducerOptions {
            connection: Connection::new(cluster.bootstrap(), "test"),
            compression,
            linger: Duration::from_millis(20),
        });
        let producer = producer.unwrap_or_else(|error| panic!("{compression:?}: {error}"));
        // Similar values, so that compression pays off.
        let value = |n: i32| format!("{} {n}", "https://shop.example/products".repeat(10)).into_bytes();
        (0..500).for_each(|n| producer.send(&topic.name, 0, b"key", &value(n)).unwrap());
        producer.flush(Duration::from_secs(30)).unwrap();
        let inspector =
            TopicInspector::connect(&MemberOptions::new(cluster.bootstrap(), "test", &topic.name, "test"))
                .unwrap();
        let mut read = Vec::new();
        inspector.read(&topic.name, 0, 0, &mut |record| read.push(record.value.unwrap().to_vec())).unwrap();
        assert!(
            read.iter().cloned().eq((0..500).map(value)),
            "{compression:?} {setting}: {} read",
            read.len()
        );
    }
}
