//! The fields that version 2 added, and who reads and writes them.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::Properties;

/// The fields of version 2, owned.
#[derive(Debug, Clone)]
struct Added {
    text: [Option<String>; 4],
    revenue_micros: Option<i64>,
    properties: Option<BTreeMap<String, String>>,
}

impl Added {
    fn add<'a>(&'a self, event: ClickstreamEvent<'a>, buffer: &'a mut Vec<u8>) -> ClickstreamEvent<'a> {
        let [event_id, site_id, event_name, currency] = self.text.each_ref().map(Option::as_deref);
        ClickstreamEvent {
            event_id,
            site_id,
            event_name,
            revenue_micros: self.revenue_micros,
            currency,
            properties: self.properties.as_ref().map(|entries| Properties::encode(entries, buffer)),
            ..event
        }
    }
}

fn added() -> impl Strategy<Value = Added> {
    let text = || prop::option::of(".{0,12}");
    let map = prop::collection::btree_map(".{0,5}", ".{0,5}", 0..4);
    ([text(), text(), text(), text()], prop::option::of(any::<i64>()), prop::option::of(map))
        .prop_map(|(text, revenue_micros, properties)| Added { text, revenue_micros, properties })
}

/// The event as apache-avro's value of version 2.
fn value_2(event: &ClickstreamEvent<'_>) -> Value {
    let option = |value: Option<Value>| match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    };
    let text = |value: Option<&str>| option(value.map(|text| Value::String(text.to_owned())));
    let map = |properties: Properties<'_>| {
        let entries = properties.iter().into_iter();
        let entries = entries.map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())));
        Value::Map(entries.collect::<HashMap<_, _>>())
    };
    let mut fields = value(event);
    fields.extend([
        ("event_id".to_owned(), text(event.event_id)),
        ("site_id".to_owned(), text(event.site_id)),
        ("event_name".to_owned(), text(event.event_name)),
        ("revenue_micros".to_owned(), option(event.revenue_micros.map(Value::Long))),
        ("currency".to_owned(), text(event.currency)),
        ("properties".to_owned(), option(event.properties.map(map))),
    ]);
    Value::Record(fields)
}

fn schema_2() -> Schema {
    Schema::parse_str(CLICKSTREAM_EVENT).unwrap()
}

/// In the frame of version 2 whatever the fields.
fn framed(body: &[u8]) -> Vec<u8> {
    [&[0xC3, 0x01][..], &fingerprints(&schema_2()).unwrap().written, body].concat()
}

proptest! {
    #[test]
    fn apache_avro_reads_what_is_written_here_and_the_other_way_round(owned in events(), added in added()) {
        let mut buffer = Vec::new();
        let event = added.add(owned.event(), &mut buffer);
        let bytes = encoded(&event);
        prop_assert_eq!(Decoder::new().decode(&bytes), Ok(event.clone()));
        let theirs = apache_writes(&schema_2(), value_2(&event));
        if event.has_fields_of_version_2() {
            prop_assert_eq!(apache_reads(&schema_2(), &bytes[HEADER..]), Some(value_2(&event)));
            let entries = event.properties.map_or(0, |properties| properties.size().0);
            prop_assert!(entries > 1 || bytes[HEADER..] == theirs, "the order of a map's entries alone may differ");
        } else {
            // So that a reader of version 1 can read it.
            prop_assert_eq!(&bytes, &encoded(&owned.event()));
        }
        let theirs = framed(&theirs);
        let read = Decoder::new().decode(&theirs).unwrap();
        prop_assert_eq!(value_2(&read), value_2(&event));
        for end in 0..bytes.len() {
            prop_assert!(Decoder::new().decode(&bytes[..end]).is_err(), "{} of {} bytes", end, bytes.len());
        }
    }

    /// Whatever the bytes: no panic, and nothing is read that apache-avro would not read alike.
    #[test]
    fn damaged_events_of_version_2_are_read_as_apache_avro_reads_them(
        owned in events(),
        added in added(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut buffer = Vec::new();
        let mut bytes = framed(&apache_writes(&schema_2(), value_2(&added.add(owned.event(), &mut buffer))));
        for (at, byte) in damage {
            let body = &mut bytes[HEADER..];
            body[at.index(body.len())] = byte;
        }
        let apache = apache_reads(&schema_2(), &bytes[HEADER..]);
        match Decoder::new().decode(&bytes) {
            Ok(event) => prop_assert_eq!(apache, Some(value_2(&event))),
            Err(DecodeError::Body { fault: Fault::Number | Fault::Truncated, .. }) => {}
            Err(error) => prop_assert_eq!(apache, None, "{}", error),
        }
    }
}

/// A writer that has fields of its own between, leaves some out and knows no null in others: the rules of Avro's resolution.
#[test]
fn fields_of_version_2_are_found_by_name() {
    let end = CLICKSTREAM_EVENT_1.rfind(']').unwrap();
    let json = format!(
        r#"{}, {{"name": "properties", "type": {{"type": "map", "values": "string"}}, "default": {{}}}},
            {{"name": "campaign", "type": "string", "default": ""}},
            {{"name": "event_id", "type": "string", "default": ""}}{}"#,
        &CLICKSTREAM_EVENT_1[..end],
        &CLICKSTREAM_EVENT_1[end..]
    );
    let mut decoder = Decoder::new();
    decoder.register(5, &json).unwrap();
    let body = &encoded(&bytes::EVENT)[HEADER..];
    let value = [&[0, 0, 0, 0, 5][..], body, b"\x02\x02k\x02v\x00", b"\x06abc", b"\x04id"].concat();
    let mut buffer = Vec::new();
    let properties = Some(Properties::encode([("k", "v")], &mut buffer));
    let expected = ClickstreamEvent { event_id: Some("id"), properties, ..bytes::EVENT };
    assert_eq!(decoder.decode(&value), Ok(expected));
    for end in 5..value.len() {
        assert!(decoder.decode(&value[..end]).is_err(), "{end}");
    }

    let other = CLICKSTREAM_EVENT.replace(
        r#""event_id", "type": ["null", "string"], "default": null"#,
        r#""event_id", "type": ["string", "null"], "default": """#,
    );
    assert_ne!(other, CLICKSTREAM_EVENT);
    let error = decoder.register(6, &other).unwrap_err().to_string();
    assert!(
        error.contains("has event_id [\"string\",\"null\"] where event_id [\"null\",\"string\"] is expected"),
        "{error}"
    );
}

/// What is in topics stays readable.
#[test]
fn the_bytes_of_version_2_are_these() {
    let mut buffer = Vec::new();
    let event = ClickstreamEvent {
        event_id: Some("e"),
        site_id: Some("t"),
        event_name: Some("n"),
        revenue_micros: Some(-1),
        currency: Some("EUR"),
        properties: Some(Properties::encode([("k", "v")], &mut buffer)),
        ..bytes::EVENT
    };
    let added = b"\x02\x02e\x02\x02t\x02\x02n\x02\x01\x02\x06EUR\x02\x02\x02k\x02v\x00";
    let expected = framed(&[&encoded(&bytes::EVENT)[HEADER..], added].concat());
    assert_eq!(encoded(&event), expected);
    assert_eq!(Decoder::new().decode(&expected), Ok(event));
}

#[test]
fn properties_that_claim_too_much_cannot_keep_the_reader_busy() {
    let body = &encoded(&bytes::EVENT)[HEADER..];
    let claim = framed(&[body, &[0; 5], b"\x02\xfe\xff\xff\xff\xff\xff\xff\x7f"].concat());
    let error = Decoder::new().decode(&claim).unwrap_err();
    assert!(
        matches!(error, DecodeError::Body { field: "properties", fault: Fault::Truncated, .. }),
        "{error}"
    );
}
