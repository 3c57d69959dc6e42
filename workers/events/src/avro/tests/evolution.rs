//! Events written with later schemas.

use super::*;

/// Every shape that a field can have; named types occur twice, the second time as a reference.
const ADDED: &str = r#"
    {"name": "campaign", "type": ["null", "string"], "default": null},
    {"name": "screen", "type": ["null", {"type": "record", "name": "Screen", "fields": [
        {"name": "width", "type": "int"}, {"name": "scale", "type": "double"}, {"name": "touch", "type": "boolean"}]}],
        "default": null},
    {"name": "tags", "type": ["null", {"type": "array", "items": "string"}], "default": null},
    {"name": "labels", "type": ["null", {"type": "map", "values": ["null", "float"]}], "default": null},
    {"name": "digest", "type": ["null", {"type": "fixed", "name": "Digest", "size": 3}], "default": null},
    {"name": "before", "type": ["null", "EventType"], "default": null},
    {"name": "parent", "type": ["null", "Digest"], "default": null},
    {"name": "sent", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null}
"#;

fn with_fields(added: &str) -> String {
    let end = CLICKSTREAM_EVENT_1.rfind(']').unwrap();
    format!("{}, {added} {}", &CLICKSTREAM_EVENT_1[..end], &CLICKSTREAM_EVENT_1[end..])
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn none() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

fn later(event: &ClickstreamEvent<'_>, filled: bool, tags: &[String]) -> Value {
    let text = |s: &String| Value::String(s.clone());
    let values = vec![
        ("campaign", Value::String("spring".into())),
        (
            "screen",
            Value::Record(vec![
                ("width".into(), Value::Int(-1000)),
                ("scale".into(), Value::Double(1.5)),
                ("touch".into(), Value::Boolean(true)),
            ]),
        ),
        ("tags", Value::Array(tags.iter().map(text).collect())),
        ("labels", Value::Map(tags.iter().map(|tag| (tag.clone(), some(Value::Float(0.5)))).collect())),
        ("digest", Value::Fixed(3, vec![1, 2, 3])),
        ("before", Value::Enum(4, "SEARCH".into())),
        ("parent", Value::Fixed(3, vec![4, 5, 6])),
        ("sent", Value::TimestampMillis(i64::MIN)),
    ];
    let mut fields = value(event);
    fields.extend(
        values.into_iter().map(|(name, value)| (name.to_owned(), if filled { some(value) } else { none() })),
    );
    Value::Record(fields)
}

proptest! {
    #[test]
    fn fields_added_at_the_end_are_skipped(owned in events(), filled: bool, tags in prop::collection::vec(".{0,5}", 0..4)) {
        let json = with_fields(ADDED);
        let schema = Schema::parse_str(&json).unwrap();
        let body = apache_writes(&schema, later(&owned.event(), filled, &tags));
        let mut decoder = Decoder::new();

        let framed = [&[0, 0, 0, 1, 2][..], &body].concat();
        prop_assert_eq!(decoder.decode(&framed), Err(DecodeError::UnknownId(258)));
        decoder.register(258, &json).unwrap();
        prop_assert_eq!(decoder.decode(&framed), Ok(owned.event()));

        let fingerprint = fingerprints(&schema).unwrap();
        for written in [fingerprint.written, fingerprint.java] {
            let single = [&[0xC3, 0x01][..], &written, &body].concat();
            let number = u64::from_be_bytes(written);
            prop_assert_eq!(Decoder::new().decode(&single), Err(DecodeError::UnknownFingerprint(number)));
            decoder.register_fingerprint(&json).unwrap();
            prop_assert_eq!(decoder.decode(&single), Ok(owned.event()));
        }

        for end in 5..framed.len() {
            prop_assert!(decoder.decode(&framed[..end]).is_err(), "{} of {} bytes", end, framed.len());
        }
        let longer = [&framed[..], &[0]].concat();
        prop_assert_eq!(decoder.decode(&longer), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn damaged_later_events_never_panic(owned in events(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let json = with_fields(ADDED);
        let body = apache_writes(&Schema::parse_str(&json).unwrap(), later(&owned.event(), true, &["a".to_owned()]));
        let mut framed = [&[0; 5][..], &body].concat();
        for (at, byte) in damage {
            let at = 5 + at.index(body.len());
            framed[at] = byte;
        }
        let mut decoder = Decoder::new();
        decoder.register(0, &json).unwrap();
        let _ = decoder.decode(&framed);
    }
}

#[test]
fn an_array_of_nulls_cannot_keep_the_reader_busy() {
    let json = with_fields(r#"{"name": "void", "type": {"type": "array", "items": "null"}, "default": []}"#);
    let mut decoder = Decoder::new();
    decoder.register(0, &json).unwrap();
    let event = &encoded(&bytes::EVENT)[HEADER..];
    let claim = [&[0; 5][..], event, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]].concat();
    assert!(matches!(decoder.decode(&claim), Err(DecodeError::Body { fault: Fault::Truncated, .. })));
    let min = [&[0; 5][..], event, &[0xff; 9], &[0x01, 0x00, 0x00]].concat();
    assert!(matches!(decoder.decode(&min), Err(DecodeError::Body { fault: Fault::Truncated, .. })));
}

/// Items without bytes, in as many blocks as fit: each claims no more than what is left, and all of them the square of it.
#[test]
fn many_arrays_of_nulls_cannot_keep_the_reader_busy() {
    let event = &encoded(&bytes::EVENT)[HEADER..];
    let nulls = r#"{"type": "array", "items": "null"}"#;
    let lists = format!(r#"{{"type": "array", "items": {nulls}}}"#);
    let empty = r#"{"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}"#;
    for (items, written) in [
        (nulls, [vec![40; 100], vec![0]].concat()),
        (empty, [vec![40; 100], vec![0]].concat()),
        // Each list is one block of its own and an end.
        (&lists, [&[100][..], &[40, 0].repeat(50), &[0]].concat()),
    ] {
        let json = with_fields(&format!(r#"{{"name": "void", "type": {items}, "default": []}}"#));
        let mut decoder = Decoder::new();
        decoder.register(0, &json).unwrap();
        let claim = [&[0; 5][..], event, &written].concat();
        let fault = decoder.decode(&claim).unwrap_err();
        assert!(matches!(fault, DecodeError::Body { fault: Fault::Truncated, .. }), "{items}: {fault}");
        // As many as there are bytes are no harm.
        let few = [&[0; 5][..], event, &[2, 0], &[0; 10]].concat();
        assert!(!matches!(decoder.decode(&few), Err(DecodeError::Body { .. })), "{items}");
    }
}

#[test]
fn a_schema_that_grows_when_it_is_spelled_out_is_refused() {
    let tree = |levels: usize| {
        let leaf = r#"{"type": "record", "name": "T0", "fields": [{"name": "a", "type": "int"}]}"#.to_owned();
        let tree = (1..levels).fold(leaf, |below, level| {
            let again = format!("T{}", level - 1);
            format!(
                r#"{{"type": "record", "name": "T{level}", "fields": [{{"name": "a", "type": {below}}}, {{"name": "b", "type": "{again}"}}]}}"#
            )
        });
        with_fields(&format!(r#"{{"name": "tree", "type": ["null", {tree}], "default": null}}"#))
    };
    Decoder::new().register(1, &tree(10)).unwrap();
    let refused = Decoder::new().register(1, &tree(30)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the schema has more than 10000 types once analytics.events.T11 stands for the whole of its type, expected fewer: use it less often"
    );
}

#[test]
fn blocks_may_have_a_size() {
    let json =
        with_fields(r#"{"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}"#);
    let mut decoder = Decoder::new();
    decoder.register(0, &json).unwrap();
    let event = &encoded(&bytes::EVENT)[HEADER..];
    let sized = [&[0; 5][..], event, &[0x03, 0x08, 0x02, b'a', 0x02, b'b', 0x00]].concat();
    assert_eq!(decoder.decode(&sized), Ok(bytes::EVENT));
}

#[test]
fn an_id_can_be_registered_again() {
    let mut decoder = Decoder::new();
    decoder.register(7, &with_fields(ADDED)).unwrap();
    decoder.register(7, CLICKSTREAM_EVENT_1).unwrap();
    let framed = [&[0, 0, 0, 0, 7][..], &encoded(&bytes::EVENT)[HEADER..]].concat();
    assert_eq!(decoder.decode(&framed), Ok(bytes::EVENT));
}

#[test]
fn properties_that_do_not_change_the_bytes_are_allowed() {
    let java = CLICKSTREAM_EVENT_1
        .replace(
            r#""user_id", "type": "string""#,
            r#""user_id", "type": {"type": "string", "avro.java.string": "String"}"#,
        )
        .replace(r#"{"type": "long", "logicalType": "timestamp-millis"}"#, r#""long""#);
    assert_ne!(java, CLICKSTREAM_EVENT_1);
    Decoder::new().register(1, &java).unwrap();
}

#[test]
fn other_schemas_are_refused_with_the_reason() {
    let refused = |json: &str| Decoder::new().register(1, json).unwrap_err().to_string();
    assert!(refused("{").starts_with("not an avro schema: "), "{}", refused("{"));
    assert_eq!(
        refused(r#""string""#),
        "the schema is not a record, expected analytics.events.ClickstreamEvent"
    );

    let without = CLICKSTREAM_EVENT_1.replace(r#"{"name": "user_id", "type": "string"},"#, "");
    assert!(
        refused(&without).contains("cannot be read as analytics.events.ClickstreamEvent: "),
        "{}",
        refused(&without)
    );

    let swapped = CLICKSTREAM_EVENT_1
        .replace(r#""user_id""#, r#""x""#)
        .replace(r#""session_id""#, r#""user_id""#)
        .replace(r#""x""#, r#""session_id""#);
    assert_eq!(
        refused(&swapped),
        "schema analytics.events.ClickstreamEvent has session_id \"string\" where user_id \"string\" is expected: \
         fields may only be added at the end"
    );

    let symbols = CLICKSTREAM_EVENT_1.replace(r#""VIEW", "CLICK""#, r#""CLICK", "VIEW""#);
    assert!(refused(&symbols).contains("has event_type"), "{}", refused(&symbols));

    let shorter =
        CLICKSTREAM_EVENT_1.replace(r#"{"name": "session_duration""#, r#"{"name": "other_duration""#);
    assert!(refused(&shorter).contains("has other_duration"), "{}", refused(&shorter));

    let recursive = with_fields(
        r#"{"name": "tree", "type": {"type": "record", "name": "Tree", "fields": [
            {"name": "next", "type": ["null", "Tree"], "default": null}]}, "default": {"next": null}}"#,
    );
    assert!(
        refused(&recursive).ends_with("Tree contains itself: spell it out without recursion"),
        "{}",
        refused(&recursive)
    );
}

#[test]
fn logical_types_are_encoded_as_their_underlying_type() {
    let json = with_fields(
        r#"{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "rate", "type": {"type": "fixed", "name": "Rate", "size": 2, "logicalType": "decimal", "precision": 3}},
        {"name": "trace", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "span", "type": {"type": "fixed", "name": "Span", "size": 16, "logicalType": "uuid"}},
        {"name": "visible", "type": {"type": "fixed", "name": "Visible", "size": 12, "logicalType": "duration"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}}"#,
    );
    let mut decoder = Decoder::new();
    decoder.register(0, &json).unwrap();
    let added = [&b"\x04pp"[..], b"rr", b"\x02t", &[1; 16], &[2; 12], b"\x81\x01"].concat();
    let framed = [&[0; 5][..], &encoded(&bytes::EVENT)[HEADER..], &added].concat();
    assert_eq!(decoder.decode(&framed), Ok(bytes::EVENT));
    assert!(decoder.decode(&framed[..framed.len() - 1]).is_err());
}
