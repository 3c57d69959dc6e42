//! What the audit says where it cannot compare, or where what it finds has a known cause.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::TestPipeline;
use weir_audit::Audit;
use weir_broker::Kafka;
use weir_kafka::{Connection, Producer, ProducerOptions};
use weir_manifest::{Compression, Pipeline};

fn told(pipeline: &Pipeline) -> String {
    format!("{:#}", Audit::connect(pipeline, Kafka::shared()).unwrap().compare(true).unwrap_err())
}

#[test]
fn what_cannot_be_compared_is_not() {
    let trial = TestPipeline::new("audit", "audit-events");
    trial.generate(600);
    let nothing = told(&trial.pipeline);
    assert!(nothing.ends_with("the result topics hold no window: run `weir process`"), "{nothing}");

    // As compaction leaves it: a snapshot that covers three decisions, none of which is there any more.
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection::new(trial.brokers, "audit"),
        compression: Compression::None,
        linger: Duration::ZERO,
    })
    .unwrap();
    let manifest = br#"{"number":4,"decisions":3}"#;
    producer.send(&trial.pipeline.state_topic(), 0, b"snapshot", manifest).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
    let refusal = told(&trial.pipeline);
    assert!(refusal.starts_with("not compared: 3 decisions that were taken"), "{refusal}");
    assert!(refusal.contains("--until-end") && !refusal.contains("window that ends"), "{refusal}");
}

#[test]
fn topics_that_are_not_there_are_named() {
    let mut pipeline = Pipeline::demo();
    pipeline.metadata.name = format!("audit-none-{}", std::process::id());
    let told = told(&pipeline);
    assert!(told.contains(&format!("there is no topic {}", pipeline.state_topic())), "{told}");
    assert!(told.contains("--pipeline FILE") && told.contains("weir topics apply"), "{told}");
}
