//! The audit's errors where it cannot compare, or where a difference has a known cause.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::TestPipeline;
use weir_audit::Audit;
use weir_broker::Kafka;
use weir_kafka::{Connection, Producer, ProducerOptions};
use weir_manifest::{Compression, Pipeline};

fn comparison_error(pipeline: &Pipeline) -> String {
    format!("{:#}", Audit::connect(pipeline, Kafka::shared()).unwrap().compare(true).unwrap_err())
}

#[test]
fn incomparable_topics_are_refused() {
    let test = TestPipeline::new("audit", "audit-events");
    test.generate(600);
    let nothing = comparison_error(&test.pipeline);
    assert!(nothing.ends_with("the result topics hold no window: run `weir process`"), "{nothing}");

    // As after compaction: a snapshot that covers three decisions, all of which were deleted.
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection::new(test.brokers, "audit"),
        compression: Compression::None,
        linger: Duration::ZERO,
    })
    .unwrap();
    let manifest = br#"{"number":4,"decisions":3}"#;
    producer.send(&test.pipeline.state_topic(), 0, b"snapshot", manifest).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
    let refusal = comparison_error(&test.pipeline);
    assert!(refusal.starts_with("not compared: 3 decisions that were taken"), "{refusal}");
    assert!(refusal.contains("--until-end") && !refusal.contains("window that ends"), "{refusal}");
}

#[test]
fn missing_topics_are_named() {
    let mut pipeline = Pipeline::demo();
    pipeline.metadata.name = format!("audit-none-{}", std::process::id());
    let message = comparison_error(&pipeline);
    assert!(message.contains(&format!("there is no topic {}", pipeline.state_topic())), "{message}");
    assert!(message.contains("--pipeline FILE") && message.contains("weir topics apply"), "{message}");
}
