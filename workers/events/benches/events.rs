//! Time per event of each way to read and write Avro, and of the steps after it: `cargo bench -p weir-events`.
//!
//! The results are in `docs/decisions/0001-avro-on-the-hot-path.md`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::LazyLock;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use divan::{Bencher, black_box};
use serde::Deserialize;
use weir_events::{
    ClickstreamEvent, Decoder, EventType, IdPolicy, IpPolicy, Privacy, PrivacySettings, Scratch,
    UserAgentPolicy, encode_event, schema, validate,
};

const HEADER: usize = 10;
const EVENT: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "user-000417",
    session_id: "5f0c6d1e-8a55-4c0e-9d53-1f3d0f3f7c11",
    event_type: EventType::AddToCart,
    page_url: "/products/garden/watering-can-417",
    product_id: Some("product-00417"),
    timestamp: 1_795_000_000_000,
    user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ip_address: "203.0.113.77",
    referrer: Some("https://www.example.com/search?q=watering+can"),
    session_duration: Some(312),
    ..ClickstreamEvent::EMPTY
};

static SCHEMA: LazyLock<apache_avro::Schema> =
    LazyLock::new(|| apache_avro::Schema::parse_str(schema::CLICKSTREAM_EVENT).unwrap());
static FAST: LazyLock<serde_avro_fast::Schema> = LazyLock::new(|| schema::CLICKSTREAM_EVENT.parse().unwrap());

/// apache-avro's serde path cannot borrow, and matches fields by name.
#[derive(Deserialize)]
#[serde(rename = "ClickstreamEvent")]
#[allow(dead_code)]
struct OwnedEvent {
    user_id: String,
    session_id: String,
    event_type: EventType,
    page_url: String,
    product_id: Option<String>,
    timestamp: i64,
    user_agent: String,
    ip_address: String,
    referrer: Option<String>,
    session_duration: Option<i32>,
}

fn main() {
    divan::main();
}

fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(&EVENT, &mut bytes);
    bytes
}

#[divan::bench(sample_size = 2000)]
fn decode_1_apache_avro_value(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    let reader = GenericDatumReader::builder(&SCHEMA).build().unwrap();
    bencher.bench(|| reader.read_value(&mut black_box(&bytes[HEADER..])).unwrap());
}

#[divan::bench(sample_size = 2000)]
fn decode_2_apache_avro_serde(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    let reader = GenericDatumReader::builder(&SCHEMA).human_readable(false).build().unwrap();
    bencher.bench(|| reader.read_deser::<OwnedEvent>(&mut black_box(&bytes[HEADER..])).unwrap());
}

#[divan::bench(sample_size = 2000)]
fn decode_3_serde_avro_fast(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    bencher.bench(|| {
        let read =
            serde_avro_fast::from_datum_slice::<ClickstreamEvent<'_>>(black_box(&bytes[HEADER..]), &FAST);
        black_box(&read).as_ref().unwrap().timestamp
    });
}

#[divan::bench(sample_size = 2000)]
fn decode_4_weir(bencher: Bencher<'_, '_>) {
    let bytes = encoded();
    let decoder = Decoder::new();
    bencher.bench(|| black_box(&decoder.decode(black_box(&bytes))).as_ref().unwrap().timestamp);
}

#[divan::bench(sample_size = 2000)]
fn encode_1_apache_avro_serde(bencher: Bencher<'_, '_>) {
    let writer = GenericDatumWriter::builder(&SCHEMA).human_readable(false).build().unwrap();
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        writer.write_ser(&mut out, black_box(&EVENT)).unwrap()
    });
}

#[divan::bench(sample_size = 2000)]
fn encode_2_serde_avro_fast(bencher: Bencher<'_, '_>) {
    let mut config = serde_avro_fast::ser::SerializerConfig::new(&FAST);
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        serde_avro_fast::to_single_object(black_box(&EVENT), &mut out, &mut config).unwrap();
        out.len()
    });
}

#[divan::bench(sample_size = 2000)]
fn encode_3_weir(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        encode_event(black_box(&EVENT), &mut out);
        out.len()
    });
}

#[divan::bench(sample_size = 2000)]
fn then_validate(bencher: Bencher<'_, '_>) {
    bencher.bench(|| validate(black_box(&EVENT), EVENT.timestamp, 300_000).is_ok());
}

#[divan::bench(sample_size = 2000)]
fn then_privacy_of_everything(bencher: Bencher<'_, '_>) {
    let settings = PrivacySettings {
        user_id: IdPolicy::Hash,
        ip_address: IpPolicy::Truncate,
        user_agent: UserAgentPolicy::Family,
    };
    let privacy = Privacy::new(settings, Some(b"secret")).unwrap();
    let mut scratch = Scratch::default();
    bencher.bench_local(|| privacy.apply(black_box(EVENT), &mut scratch).user_id.len());
}
