//! Against a real Kafka.
#![allow(clippy::unwrap_used)]

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weir_analytics::{DecisiveSettings, Partition, Settings};
use weir_broker::Kafka;
use weir_events::{
    ClickstreamEvent, EventType, PageAnalytics, SiteTotals, TopPages, encode_event, encode_page_analytics,
    encode_top_pages,
};
use weir_kafka::{Connection, Producer, ProducerOptions, admin};
use weir_log::Generation;
use weir_manifest::{Compression, Pipeline};

use super::*;
use crate::store::{PipelineState, StateLimits, sample::MAX_EVENTS_PER_SECOND};

const DEADLINE: Duration = Duration::from_secs(180);

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
        connection: Connection::new(brokers, "follow"),
        compression: Compression::None,
        linger: Duration::ZERO,
    })
    .unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_panic_of_a_reader_ends_follow() {
    let (pipeline, brokers) = (pipeline("panic"), Kafka::shared());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let producer = producer(brokers);
    producer.send(pipeline.results_topic(), 0, b"", b"panic").unwrap();
    producer.flush(DEADLINE).unwrap();
    let state = PipelineState::new(pipeline.clone(), StateLimits::default(), &needed(&pipeline)).unwrap();
    let panicked = follow(&state, brokers, &CancellationToken::new()).unwrap_err();
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
                ..ClickstreamEvent::EMPTY
            };
            let mut value = Vec::new();
            encode_event(&event, &mut value);
            producer.send(pipeline.events_topic(), 0, b"one", &value).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    send(1..1_001);
    let state = PipelineState::new(pipeline.clone(), StateLimits::default(), &[]).unwrap();
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        // Stops the readers even if the test fails, which would otherwise wait for them for ever.
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        let newest = || state.events(0, usize::MAX).last().map(|event| event.timestamp);
        until("the newest event is sampled", || newest() == Some(1_000));
        send(1_001..2_001);
        until("the newest event of the second batch is sampled", || newest() == Some(2_000));
        drop(ending);
        readers.join().unwrap().unwrap();
    });
    let sampled = state.events(0, usize::MAX).len();
    assert!(sampled <= 2 * usize::from(MAX_EVENTS_PER_SECOND), "{sampled} of 2,000 were read");
}

#[test]
fn dead_letters_of_an_old_topic_are_dropped() {
    let (pipeline, brokers) = (pipeline("letters"), Kafka::shared());
    let (admin, topic) =
        (admin::Admin::new(&Connection::new(brokers, "weir-admin")).unwrap(), pipeline.dead_letters_topic());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let state = PipelineState::new(pipeline.clone(), StateLimits::default(), &[]).unwrap();
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        let producer = producer(brokers);
        let send = || {
            producer.send(&topic, 0, b"", b"").unwrap();
            producer.flush(DEADLINE).unwrap();
        };
        send();
        until("the first is there", || state.dead_letters(9).0.len() == 1);
        let first = state.dead_letters(9).0[0].timestamp;
        admin.delete_topics(&[&topic]).unwrap();
        until("the topic is gone", || admin.describe_topics(&[&topic]).is_ok_and(|found| found.is_empty()));
        until("the clock goes on", || weir_telemetry::millis() > first);
        admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
        // More than before: offsets alone would not reveal the new topic.
        send();
        send();
        until("both of the new topic are there, and nothing else", || {
            let letters = state.dead_letters(9).0;
            letters.len() == 2 && letters.iter().all(|letter| letter.timestamp > first)
        });
        drop(ending);
        readers.join().unwrap().unwrap();
    });
}

#[test]
fn only_results_and_rankings_decide_readiness() {
    let (pipeline, brokers) = (pipeline("optional"), Kafka::shared());
    let needed_only = needed(&pipeline);
    let topics: Vec<_> =
        pipeline.topics().into_iter().filter(|topic| needed_only.contains(&topic.name.as_str())).collect();
    admin::ensure_topics(brokers, &topics).unwrap();
    let state = PipelineState::new(pipeline.clone(), StateLimits::default(), &needed_only).unwrap();
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        until("both missing topics are in the warnings", || {
            let warnings = state.warnings();
            let listed = |topic: &str| warnings.iter().any(|warning| warning.starts_with(topic));
            listed(&pipeline.live_topic()) && listed(pipeline.events_topic())
        });
        until("it is ready without them", || state.unready().is_none());
        drop(ending);
        readers.join().unwrap().unwrap();
    });
}

/// A window of one page.
fn seal(producer: &Producer, pipeline: &Pipeline, end: i64) {
    let row = PageAnalytics {
        page_url: "/".to_owned(),
        window_start: end - 300_000,
        window_end: end,
        view_count: 1,
        unique_users: 1,
        click_count: 0,
        conversion_count: 0,
        engagement_rate: 0.0,
        bounce_rate: 1.0,
        avg_session_duration: 0.0,
    };
    let top = TopPages {
        window_start: row.window_start,
        window_end: end,
        pages: Vec::new(),
        warming_up: true,
        trending: Vec::new(),
        site: SiteTotals { view_count: 1, ..SiteTotals::default() },
        page_count: Some(1),
    };
    producer.send(pipeline.results_topic(), 0, b"/", &encode_page_analytics(&row)).unwrap();
    producer.send(pipeline.top_pages_topic(), 0, b"", &encode_top_pages(&top)).unwrap();
    producer.flush(DEADLINE).unwrap();
}

fn windows(state: &PipelineState) -> Vec<i64> {
    let store = state.windows();
    store.windows(i64::MIN, i64::MAX).filter(|window| window.complete()).map(|window| window.end()).collect()
}

#[test]
fn a_gateway_without_brokers_is_not_ready_until_it_has_caught_up() {
    let kafka = Kafka::start(1).unwrap();
    let (pipeline, brokers) = (pipeline("outage"), kafka.bootstrap());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    seal(&producer(brokers), &pipeline, 10_000);
    let limits = StateLimits { max_age: Duration::from_secs(10), ..StateLimits::default() };
    let state = PipelineState::new(pipeline.clone(), limits, &needed(&pipeline)).unwrap();
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        until("it is ready", || state.unready().is_none() && windows(&state) == [10_000]);
        kafka.broker(0).stop().unwrap();
        until("it is not ready any more", || state.unready().is_some());
        until("all optional sources are in the warnings", || state.warnings().len() == 5);
        kafka.broker(0).start().unwrap();
        seal(&producer(brokers), &pipeline, 20_000);
        until("it is ready again and has the new window", || {
            state.unready().is_none() && windows(&state) == [10_000, 20_000]
        });
        until("no warning is left", || state.warnings().is_empty());
        let labels: Vec<String> = state.read_ages().into_iter().map(|(label, _)| label).collect();
        assert!(labels.len() == 7 && labels.iter().any(|label| label == "committed-offsets"), "{labels:?}");
        drop(ending);
        readers.join().unwrap().unwrap();
    });
}

#[test]
fn recreated_topics_are_read_from_their_beginning() {
    let (pipeline, brokers) = (pipeline("anew"), Kafka::shared());
    let admin = admin::Admin::new(&Connection::new(brokers, "weir-admin")).unwrap();
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let limits = StateLimits { max_age: Duration::from_secs(3), ..StateLimits::default() };
    let state = PipelineState::new(pipeline.clone(), limits, &needed(&pipeline)).unwrap();
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        seal(&producer(brokers), &pipeline, 10_000);
        until("the first window is there", || windows(&state) == [10_000]);
        admin.delete_topics(&needed(&pipeline)).unwrap();
        until("they are gone", || {
            admin.describe_topics(&needed(&pipeline)).is_ok_and(|found| found.is_empty())
        });
        admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
        // As many records as before: offsets alone would not reveal the new topic.
        seal(&producer(brokers), &pipeline, 20_000);
        until("the first window is gone, the second is there", || windows(&state) == [20_000]);
        // A window is gone with the first of its topics that is found to be another; the other's records follow.
        until("nothing of the first is left", || state.windows().stats().windows == 1);
        until("it is ready", || state.unready().is_none());
        drop(ending);
        readers.join().unwrap().unwrap();
    });
}

/// A partition's live values with so many views.
fn live_values(views: i64) -> Vec<u8> {
    let mut partition = Partition::new(0, Settings::default());
    for view in 0..views {
        let event = ClickstreamEvent {
            user_id: "one",
            session_id: "visit",
            page_url: "/",
            timestamp: 1_000_000 + view,
            ..ClickstreamEvent::EMPTY
        };
        partition.read(&event);
    }
    partition.live_snapshot(0).unwrap().encode().unwrap()
}

#[test]
fn a_gateway_follows_the_newest_generation() {
    let (pipeline, brokers) = (pipeline("followed"), Kafka::shared());
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    let producer = producer(brokers);
    let send = |topic: &str, value: &[u8]| {
        producer.send(topic, 0, b"0", value).unwrap();
        producer.flush(DEADLINE).unwrap();
    };
    let state = PipelineState::new(pipeline.clone(), StateLimits::default(), &needed(&pipeline)).unwrap();
    let views = || state.live().map(|live| live.site.views);
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let ending = stop.clone().drop_guard();
        let readers = scope.spawn(|| follow(&state, brokers, &stop));
        send(&pipeline.live_topic(), &live_values(3));
        send(&pipeline.dead_letters_topic(), b"");
        until("values of the first are shown", || views() == Some(3) && state.dead_letters(9).0.len() == 1);

        let second = pipeline.in_generation(2);
        admin::ensure_topics(brokers, &second.topics()).unwrap();
        let mut faster = pipeline.clone();
        faster.spec.window.slide = "5s".parse().unwrap();
        let settings = DecisiveSettings::of(&faster, None).unwrap().committed(true).to_owned();
        let declared = serde_json::to_vec(&Generation::declared(2, &settings, 0)).unwrap();
        send(&pipeline.generations_topic(), &declared);
        until("the second is known", || state.generation() == 2);
        send(&second.live_topic(), &live_values(5));
        until("values of the second are shown, and nothing of the first", || {
            views() == Some(5) && state.dead_letters(9).0.is_empty()
        });
        send(&pipeline.live_topic(), &live_values(7));
        send(&second.dead_letters_topic(), b"");
        until("dead letters of the second are shown", || state.dead_letters(9).0.len() == 1);
        assert_eq!(views(), Some(5), "values of the first are not read any more");
        let warnings = state.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains("windows of 300 s every 5 s"),
            "its document is an older one: {warnings:?}"
        );
        drop(ending);
        readers.join().unwrap().unwrap();
    });
}
