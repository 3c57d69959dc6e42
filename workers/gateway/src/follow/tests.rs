//! Against a real Kafka.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use weir_events::{ClickstreamEvent, EventType, encode_event};
use weir_spec::Compression;
use weir_stream::kafka::{Producer, ProducerOptions, admin};
use weir_testbed::Kafka;

use super::*;
use crate::{Limits, sample::MAX_EVENTS_PER_SECOND};

const DEADLINE: Duration = Duration::from_secs(60);

fn pipeline(name: &str) -> Pipeline {
    let name = format!("{name}-{}", std::process::id());
    Pipeline::from_yaml(&format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {{name: {name}}}, spec: {{topics: {{events: {{name: {name}-e}}, \
         results: {{name: {name}-r}}, topPages: {{name: {name}-t}}}}}}}}"
    ))
    .unwrap()
}

fn producer(brokers: &str) -> Producer {
    Producer::connect(&ProducerOptions {
        bootstrap: brokers.to_owned(),
        client_id: "follow".to_owned(),
        compression: Compression::None,
        linger: Duration::ZERO,
        extra: Vec::new(),
    })
    .unwrap()
}

/// Ends the following also where a test fails, which would wait for it for ever otherwise.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_reader_that_panics_ends_the_following() {
    let (pipeline, brokers) = (pipeline("panic"), Kafka::shared());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let producer = producer(brokers);
    producer.send(pipeline.results_topic(), 0, b"", b"panic").unwrap();
    producer.flush(DEADLINE).unwrap();
    let gateway = Gateway::new(pipeline.clone(), Limits::default(), &needed(&pipeline)).unwrap();
    let panicked = follow(&gateway, &pipeline, brokers, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(panicked.part, format!("the reader of {}", pipeline.results_topic()));
    assert!(panicked.message.contains("planted"), "{panicked}");
}

#[test]
fn the_newest_events_are_sampled() {
    let (pipeline, brokers) = (pipeline("sampled"), Kafka::shared());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let producer = producer(brokers);
    let send = |timestamps: std::ops::Range<i64>| {
        for timestamp in timestamps {
            let event = ClickstreamEvent {
                user_id: "one",
                session_id: "visit",
                event_type: EventType::View,
                page_url: "/",
                product_id: None,
                timestamp,
                user_agent: "",
                ip_address: "",
                referrer: None,
                session_duration: None,
            };
            let mut value = Vec::new();
            encode_event(&event, &mut value);
            producer.send(pipeline.events_topic(), 0, b"one", &value).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    send(1..1_001);
    let gateway = Gateway::new(pipeline.clone(), Limits::default(), &[]).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(&stop);
        let following = scope.spawn(|| follow(&gateway, &pipeline, brokers, &stop));
        let newest = || gateway.events(0, usize::MAX).last().map(|event| event.timestamp);
        until("the newest is there", || newest() == Some(1_000));
        send(1_001..2_001);
        until("the newest of the next are", || newest() == Some(2_000));
        drop(ending);
        following.join().unwrap().unwrap();
    });
    let sampled = gateway.events(0, usize::MAX).len();
    assert!(sampled <= 2 * usize::from(MAX_EVENTS_PER_SECOND), "{sampled} of 2,000 were read");
}

#[test]
fn only_results_and_rankings_decide_readiness() {
    let (pipeline, brokers) = (pipeline("optional"), Kafka::shared());
    let needed_only = needed(&pipeline);
    let topics: Vec<_> =
        pipeline.topics().into_iter().filter(|topic| needed_only.contains(&topic.name.as_str())).collect();
    admin::ensure_topics(brokers, &topics).unwrap();
    let gateway = Gateway::new(pipeline.clone(), Limits::default(), &needed_only).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(&stop);
        let following = scope.spawn(|| follow(&gateway, &pipeline, brokers, &stop));
        until("both missing topics are in the warnings", || {
            let warnings = gateway.warnings();
            let told = |topic: &str| warnings.iter().any(|warning| warning.starts_with(topic));
            told(&pipeline.live_topic()) && told(pipeline.events_topic())
        });
        until("it is ready all the same", || gateway.unready().is_none());
        drop(ending);
        following.join().unwrap().unwrap();
    });
}
