//! One event can seal many windows: memory must not grow with the jump of the watermark.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, process::Child, time::Duration};

use support::TestPipeline;
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_kafka::{Connection, Producer, ProducerOptions};
use weir_manifest::Compression;

/// Distance in event time at which an event seals everything before it, milliseconds.
const JUMP: i64 = 900_000;

/// Writes an event on each of `pages` pages with URLs of `length` bytes within a minute, and one more fifteen minutes later.
fn fill(test: &TestPipeline, pages: usize, length: usize) {
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection::new(test.brokers, "jump"),
        compression: Compression::Lz4,
        linger: Duration::from_millis(20),
    })
    .unwrap();
    let topic = test.pipeline.events_topic();
    let partitions = test.pipeline.spec.topics.events.partitions;
    let start = 1_767_225_600_000;
    let mut value = Vec::new();
    for page in 0..=pages {
        let timestamp = if page == pages { start + JUMP } else { start + (page * 60_000 / pages) as i64 };
        // URLs that have little in common, as those of trackers and searches have.
        let hash = (page as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let url: String = format!("/{hash:016x}?page={page}&")
            .chars()
            .chain("x".repeat(length).chars())
            .take(length)
            .collect();
        let user = format!("user-{page}");
        value.clear();
        encode_event(
            &ClickstreamEvent {
                user_id: &user,
                session_id: "session",
                event_type: EventType::View,
                page_url: &url,
                product_id: None,
                timestamp,
                user_agent: "",
                ip_address: "",
                referrer: None,
                session_duration: None,
                ..ClickstreamEvent::EMPTY
            },
            &mut value,
        );
        let partition = if page == pages { 0 } else { partition_of(user.as_bytes(), partitions) };
        producer.send(topic, partition, user.as_bytes(), &value).unwrap();
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    assert_eq!(producer.failed(), (0, None));
}

/// Waits for the end; returns the peak memory, MB.
fn peak(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return peak / 1_000;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kilobytes.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `WEIR_JUMP=PAGESxBYTES` measures another number of pages and length of URLs.
#[test]
fn memory_does_not_grow_with_the_jump() {
    let given = std::env::var("WEIR_JUMP").ok();
    let (pages, length) = given
        .as_deref()
        .and_then(|text| text.split_once('x'))
        .map_or((20_000, 250), |(pages, length)| (pages.parse().unwrap(), length.parse().unwrap()));
    let test = TestPipeline::new(&format!("jump-{pages}-{length}"), &format!("jump-events-{pages}-{length}"));
    fill(&test, pages, length);
    let begun = std::time::Instant::now();
    let peak = peak(test.weir(&["process", "--until-end", "--instance", "p0"]).spawn().unwrap());
    println!("{pages} pages of {length} bytes: {peak} MB at most, {:.1} s", begun.elapsed().as_secs_f64());
    // 884 MB when all windows that one event seals were in memory at once.
    assert!(given.is_some() || peak < 300, "{peak} MB");
}
