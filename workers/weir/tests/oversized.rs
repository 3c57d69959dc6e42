//! An input record may be larger than an output may be: it must not stop a pipeline.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::TestPipeline;
use weir_kafka::{Connection, Producer, ProducerOptions, Reader, Start, admin::Admin};
use weir_manifest::Compression;

/// More than a topic accepts by default; compressed it is small, and the events topic has a limit of its own.
const LARGE: usize = 3_000_000;

#[test]
fn a_record_larger_than_a_dead_letter_may_be_is_truncated() {
    let test = TestPipeline::new("large", "large-events");
    let mut events = test.pipeline.topics().into_iter().next().unwrap();
    events.settings.insert("max.message.bytes".to_owned(), "8000000".to_owned());
    Admin::new(&Connection::new(test.brokers, "weir-admin"))
        .unwrap()
        .ensure_topics(&[events], |_| true)
        .unwrap();
    test.generate(100);
    let extra = ["message.max.bytes", "batch.size"].map(|name| (name.to_owned(), "8000000".to_owned()));
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection { properties: extra.to_vec(), ..Connection::new(test.brokers, "large") },
        compression: Compression::Gzip,
        linger: Duration::ZERO,
    })
    .unwrap();
    let value: Vec<u8> = (0..LARGE).map(|i| (i / 1_000) as u8).collect();
    producer.send(test.pipeline.events_topic(), 0, &[b'k'; 100_000], &value).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    assert_eq!(producer.failed(), (0, None));

    test.run(&["process", "--until-end"]);

    let options = Connection::new(test.brokers, "large-reader");
    let mut reader =
        Reader::follow(&options, &[&test.pipeline.dead_letters_topic()], Start::Beginning).unwrap();
    let mut letters = Vec::new();
    while !reader.at_end() {
        reader
            .poll(1_000, Duration::from_millis(100), &mut |_, record| {
                letters.push((record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
            })
            .unwrap();
    }
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let large: Vec<_> = letters.iter().filter(|(_, value)| length(value) > 10_000).collect();
    assert_eq!(large.len(), 1);
    let (key, beginning) = large[0];
    assert_eq!(length(key), 64_000);
    assert!(beginning.as_deref() == Some(&value[..800_000]), "{} bytes", length(beginning));
}
