//! A gateway that starts reads a day of windows of a hundred pages from a real Kafka within seconds.
#![allow(clippy::unwrap_used)]

mod running;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_broker::Kafka;
use weir_events::{encode_page_analytics, encode_top_pages};
use weir_gateway::{
    ingest,
    store::{PipelineState, StateLimits, windows::StoreStats},
};
use weir_kafka::{Connection, Producer, ProducerOptions, admin};
use weir_manifest::{Compression, Pipeline};

use running::{rows, top, until};

const SLIDE: i64 = 10_000;
const WINDOWS: i64 = 8_640;
const FIRST: i64 = 1_700_000_000_000;

#[test]
fn a_restarted_gateway_reads_the_whole_day() {
    let name = format!("restart-{}", std::process::id());
    let pipeline = Pipeline::from_yaml(&format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {{name: {name}}}, spec: {{topics: {{events: {{name: {name}-e}}, \
         results: {{name: {name}-r}}, topPages: {{name: {name}-t}}}}}}}}"
    ))
    .unwrap();
    let brokers = Kafka::shared();
    admin::ensure_topics(brokers, &pipeline.topics()).unwrap();
    write(&pipeline, brokers);

    let state =
        PipelineState::new(pipeline.clone(), StateLimits::default(), &ingest::needed(&pipeline)).unwrap();
    assert!(state.unready().is_some(), "not ready before it has read");
    let (begun, stop) = (Instant::now(), CancellationToken::new());
    std::thread::scope(|scope| {
        let readers = scope.spawn(|| ingest::follow(&state, brokers, &stop));
        until("everything is read", || state.unready().is_none());
        println!("{WINDOWS} windows of 100 pages after {:?}", begun.elapsed());
        stop.cancel();
        readers.join().unwrap().unwrap();
    });
    let StoreStats { windows, pages, bytes, refused } = state.windows().stats();
    println!("{bytes} bytes");
    assert_eq!((windows, pages, refused, state.unreadable()), (WINDOWS as usize, 100, 0, 0));
    assert!(state.windows().windows(i64::MIN, i64::MAX).all(|window| window.complete()));
    assert_eq!(state.windows().latest().unwrap().end(), FIRST + (WINDOWS - 1) * SLIDE);
}

fn write(pipeline: &Pipeline, brokers: &str) {
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection::new(brokers, "restart"),
        compression: Compression::Gzip,
        linger: Duration::from_millis(20),
    })
    .unwrap();
    let urls: Vec<String> = (0..100).map(|page| format!("https://shop.example/page/{page}")).collect();
    let pages: Vec<(&str, i64)> = urls.iter().map(|url| (url.as_str(), 7)).collect();
    for end in (0..WINDOWS).map(|window| FIRST + window * SLIDE) {
        for (row, page) in rows(end, &pages).iter().zip(0..) {
            let key = row.page_url.as_bytes();
            producer.send(pipeline.results_topic(), page % 3, key, &encode_page_analytics(row)).unwrap();
        }
        let mut ranking = top(end, &pages);
        ranking.pages.truncate(10);
        producer.send(pipeline.top_pages_topic(), 0, b"", &encode_top_pages(&ranking)).unwrap();
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}
