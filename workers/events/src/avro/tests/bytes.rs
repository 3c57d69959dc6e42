//! Bytes with one fault each.

use super::*;

pub(super) const EVENT: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "u",
    session_id: "s",
    event_type: EventType::Search,
    page_url: "/",
    product_id: None,
    timestamp: 1,
    user_agent: "a",
    ip_address: "i",
    referrer: Some("r"),
    session_duration: Some(3),
    ..ClickstreamEvent::EMPTY
};

/// `EVENT`'s body, field by field.
const BODY: [&[u8]; 10] =
    [b"\x02u", b"\x02s", b"\x08", b"\x02/", b"\x00", b"\x02", b"\x02a", b"\x02i", b"\x02\x02r", b"\x02\x06"];

fn with(field: usize, bytes: &[u8]) -> Vec<u8> {
    let mut fields = BODY.map(<[u8]>::to_vec);
    fields[field] = bytes.to_vec();
    [&encoded(&EVENT)[..HEADER], &fields.concat()].concat()
}

fn fault(field: usize, bytes: &[u8]) -> (&'static str, Fault) {
    match Decoder::new().decode(&with(field, bytes)) {
        Err(DecodeError::Body { field, fault, .. }) => (field, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    assert_eq!(with(0, BODY[0]), encoded(&EVENT));
    assert_eq!(encoded(&EVENT)[..HEADER], [0xC3, 0x01, 0x14, 0x8a, 0xe3, 0x3f, 0x41, 0x22, 0xa2, 0x41]);
}

#[test]
fn javas_fingerprint_is_accepted() {
    let mut bytes = encoded(&EVENT);
    bytes[2..HEADER].copy_from_slice(&[0x63, 0xb2, 0x34, 0x75, 0x47, 0x07, 0xe1, 0xdf]);
    assert_eq!(Decoder::new().decode(&bytes), Ok(EVENT));
}

#[test]
fn header_faults_are_distinguished() {
    let decode = |bytes: &[u8]| Decoder::new().decode(bytes).unwrap_err();
    assert_eq!(decode(b""), DecodeError::Empty);
    assert_eq!(decode(b"\xC3"), DecodeError::Framing(0xC3));
    assert_eq!(decode(b"\xC3\x02........"), DecodeError::Framing(0xC3));
    assert_eq!(
        decode(b"{\"user_id\":1}").to_string(),
        "the value begins with 7b, expected c3 01 (single-object encoding) or 00 (confluent's frame)"
    );
    assert_eq!(decode(b"\xC3\x01.......").to_string(), "the value has 9 bytes, too few for its header");
    assert_eq!(decode(b"\x00...").to_string(), "the value has 4 bytes, too few for its header");
    assert_eq!(
        decode(b"\x00\x00\x00\x01\x02").to_string(),
        "schema id 258 is not known, because this version asks no schema registry: write events as c3 01 (single-object encoding) with schemas/clickstream-event.avsc"
    );
    assert_eq!(
        decode(b"\xC3\x01\x01\x02\x03\x04\x05\x06\x07\x08").to_string(),
        "schema fingerprint 0102030405060708 is not known, expected that of schemas/clickstream-event.avsc: write events with that schema"
    );
}

#[test]
fn faults_are_named() {
    let ff = |n: usize, last: u8| [vec![0xff; n], vec![last]].concat();
    for (field, bytes, name, expected) in [
        (0, b"\x01".to_vec(), "user_id", Fault::Length),
        (0, ff(9, 0x01), "user_id", Fault::Length),
        (0, [ff(8, 0x7f), vec![b'u']].concat(), "user_id", Fault::Length),
        (0, [vec![0xfe], ff(8, 0x01)].concat(), "user_id", Fault::Truncated),
        (0, b"\x80\x80\x80\x80\x10".to_vec(), "user_id", Fault::Truncated),
        (0, b"\x04\xc3\x28".to_vec(), "user_id", Fault::Utf8),
        (3, b"\x02\xff".to_vec(), "page_url", Fault::Utf8),
        (2, b"\x0a".to_vec(), "event_type", Fault::Symbol),
        (2, b"\x01".to_vec(), "event_type", Fault::Symbol),
        (4, b"\x04".to_vec(), "product_id", Fault::Branch),
        (4, b"\x01".to_vec(), "product_id", Fault::Branch),
        (5, ff(9, 0x02), "timestamp", Fault::Number),
        (5, ff(10, 0x00), "timestamp", Fault::Number),
        (9, b"\x02\x80\x80\x80\x80\x10".to_vec(), "session_duration", Fault::Number),
        (9, b"\x02\x81\x80\x80\x80\x10".to_vec(), "session_duration", Fault::Number),
        (9, b"\x02".to_vec(), "session_duration", Fault::Truncated),
        (9, b"\x02\x80".to_vec(), "session_duration", Fault::Truncated),
        (9, b"".to_vec(), "session_duration", Fault::Truncated),
    ] {
        assert_eq!(fault(field, &bytes), (name, expected), "{bytes:x?}");
    }
}

#[test]
fn a_fault_names_its_position_and_quotes_nothing() {
    assert_eq!(
        Decoder::new().decode(&with(2, b"\x0a")).unwrap_err().to_string(),
        "field event_type at byte 5: a symbol that the enum does not have"
    );
}

/// Overlong but not out of range: unusual, but accepted by every Avro reader.
#[test]
fn numbers_may_have_leading_zeros() {
    let bytes = with(5, b"\x82\x80\x00");
    assert_eq!(Decoder::new().decode(&bytes), Ok(EVENT));
}
