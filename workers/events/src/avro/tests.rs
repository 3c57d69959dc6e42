#![allow(clippy::unwrap_used)]

mod bytes;
mod evolution;
mod results;
mod version_2;

use std::io::Read;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

use super::*;
use crate::schema::{CLICKSTREAM_EVENT, CLICKSTREAM_EVENT_1};
use crate::{ClickstreamEvent, EventType};

const HEADER: usize = 10;

/// An event that owns its strings.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    text: [String; 5],
    event_type: EventType,
    product_id: Option<String>,
    timestamp: i64,
    referrer: Option<String>,
    session_duration: Option<i32>,
}

impl Owned {
    fn event(&self) -> ClickstreamEvent<'_> {
        let [user_id, session_id, page_url, user_agent, ip_address] = &self.text;
        ClickstreamEvent {
            user_id,
            session_id,
            event_type: self.event_type,
            page_url,
            product_id: self.product_id.as_deref(),
            timestamp: self.timestamp,
            user_agent,
            ip_address,
            referrer: self.referrer.as_deref(),
            session_duration: self.session_duration,
            ..ClickstreamEvent::EMPTY
        }
    }
}

const TYPES: [EventType; 5] =
    [EventType::View, EventType::Click, EventType::AddToCart, EventType::Purchase, EventType::Search];

fn events() -> impl Strategy<Value = Owned> {
    let text = || prop_oneof![8 => ".{0,12}", 1 => ".{60,200}"];
    (
        [text(), text(), text(), text(), text()],
        prop::sample::select(&TYPES[..]),
        prop::option::of(text()),
        prop_oneof![any::<i64>(), -70_i64..70, Just(i64::MAX), Just(i64::MIN)],
        prop::option::of(text()),
        prop::option::of(any::<i32>()),
    )
        .prop_map(|(text, event_type, product_id, timestamp, referrer, session_duration)| Owned {
            text,
            event_type,
            product_id,
            timestamp,
            referrer,
            session_duration,
        })
}

fn encoded(event: &ClickstreamEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(event, &mut bytes);
    bytes
}

/// The event as apache-avro's value.
fn value(event: &ClickstreamEvent<'_>) -> Vec<(String, Value)> {
    let text = |s: &str| Value::String(s.to_owned());
    let option = |value: Option<Value>| match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    };
    let symbol = serde_json::to_value(event.event_type).unwrap().as_str().unwrap().to_owned();
    let index = TYPES.iter().position(|t| *t == event.event_type).unwrap() as u32;
    vec![
        ("user_id".into(), text(event.user_id)),
        ("session_id".into(), text(event.session_id)),
        ("event_type".into(), Value::Enum(index, symbol)),
        ("page_url".into(), text(event.page_url)),
        ("product_id".into(), option(event.product_id.map(text))),
        ("timestamp".into(), Value::TimestampMillis(event.timestamp)),
        ("user_agent".into(), text(event.user_agent)),
        ("ip_address".into(), text(event.ip_address)),
        ("referrer".into(), option(event.referrer.map(text))),
        ("session_duration".into(), option(event.session_duration.map(Value::Int))),
    ]
}

/// The value that apache-avro reads, if it consumes exactly all bytes.
fn apache_reads(schema: &Schema, bytes: &[u8]) -> Option<Value> {
    let mut input = Input { rest: bytes, overrun: false };
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut input).ok()?;
    (input.rest.is_empty() && !input.overrun).then_some(value)
}

/// Records reads past the end: apache-avro takes the end of the input for a null.
struct Input<'a> {
    rest: &'a [u8],
    overrun: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.overrun |= out.len() > self.rest.len();
        self.rest.read(out)
    }
}

fn apache_writes(schema: &Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

proptest! {
    #[test]
    fn apache_avro_writes_and_reads_the_same(owned in events()) {
        let event = owned.event();
        let schema = Schema::parse_str(CLICKSTREAM_EVENT_1).unwrap();
        let bytes = encoded(&event);
        prop_assert_eq!(&bytes[HEADER..], apache_writes(&schema, Value::Record(value(&event))));
        prop_assert_eq!(apache_reads(&schema, &bytes[HEADER..]), Some(Value::Record(value(&event))));
        prop_assert_eq!(Decoder::new().decode(&bytes), Ok(event));
    }

    #[test]
    fn encoding_appends(owned in events(), before: Vec<u8>) {
        let mut out = before.clone();
        encode_event(&owned.event(), &mut out);
        prop_assert_eq!(&out[..before.len()], before.as_slice());
        prop_assert_eq!(&out[before.len()..], encoded(&owned.event()));
    }

    #[test]
    fn truncated_and_longer_bytes_are_errors(owned in events(), extra in 1_usize..4) {
        let mut bytes = encoded(&owned.event());
        for end in 0..bytes.len() {
            prop_assert!(Decoder::new().decode(&bytes[..end]).is_err(), "{} of {} bytes", end, bytes.len());
        }
        bytes.resize(bytes.len() + extra, 0);
        prop_assert_eq!(Decoder::new().decode(&bytes), Err(DecodeError::Trailing(extra)));
    }

    /// For any bytes: no panic, and every decoded value equals apache-avro's. (The other direction fails for numbers only:
    /// apache-avro accepts numbers with surplus bits.)
    #[test]
    fn damaged_events_are_read_as_apache_avro_reads_them(
        owned in events(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&owned.event());
        for (at, byte) in damage {
            let body = &mut bytes[HEADER..];
            body[at.index(body.len())] = byte;
        }
        agrees(&bytes)?;
    }

    #[test]
    fn any_bytes_are_read_as_apache_avro_reads_them(body: Vec<u8>) {
        let mut bytes = encoded(&owned_header());
        bytes.truncate(HEADER);
        bytes.extend(body);
        agrees(&bytes)?;
    }

    #[test]
    fn any_bytes_at_all_never_panic(bytes: Vec<u8>, id in 0_u32..2) {
        let mut decoder = Decoder::new();
        decoder.register(0, CLICKSTREAM_EVENT_1).unwrap();
        let _ = decoder.decode(&bytes);
        let framed = [&[0][..], &id.to_be_bytes(), &bytes].concat();
        prop_assert_eq!(decoder.decode(&framed).is_err_and(|e| e == DecodeError::UnknownId(1)), id == 1);
        let _ = (decode_page_analytics(&framed), decode_top_pages(&framed));
    }
}

fn owned_header() -> ClickstreamEvent<'static> {
    bytes::EVENT
}

fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let schema = Schema::parse_str(CLICKSTREAM_EVENT_1).unwrap();
    let apache = apache_reads(&schema, &bytes[HEADER..]);
    match Decoder::new().decode(bytes) {
        Ok(event) => prop_assert_eq!(apache, Some(Value::Record(value(&event)))),
        Err(DecodeError::Body { fault: Fault::Number, .. }) => {}
        Err(error) => prop_assert_eq!(apache, None, "{}", error),
    }
    Ok(())
}
