//! Any bytes as events, results and rankings.
#![allow(clippy::unwrap_used)]

use weir_events::{
    ClickstreamEvent, Decoder, EventType, PageAnalytics, Properties, decode_page_analytics, decode_top_pages,
    encode_event, encode_page_analytics, encode_top_pages, schema, validate,
};
use weir_fuzz::Target;

const EVENT: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "user-1",
    session_id: "visit-1",
    event_type: EventType::Purchase,
    page_url: "/checkout",
    product_id: Some("product-1"),
    timestamp: 1_700_000_000_000,
    user_agent: "Firefox/140",
    ip_address: "192.0.2.1",
    referrer: Some("https://shop.example/cart"),
    session_duration: Some(312),
    ..ClickstreamEvent::EMPTY
};

fn encoded(event: &ClickstreamEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(event, &mut bytes);
    bytes
}

/// A schema with fields of every shape after those of version 1.
fn later() -> String {
    let added = r#", {"name": "properties", "type": {"type": "map", "values": "string"}, "default": {}},
        {"name": "screen", "type": ["null", {"type": "record", "name": "Screen", "fields": [
            {"name": "scale", "type": "double"}, {"name": "touch", "type": "boolean"}]}], "default": null},
        {"name": "tags", "type": {"type": "array", "items": {"type": "array", "items": "string"}}, "default": []},
        {"name": "void", "type": {"type": "array", "items": "null"}, "default": []},
        {"name": "other", "type": ["null", "Screen", "long"], "default": null}"#;
    let end = schema::CLICKSTREAM_EVENT_1.rfind(']').unwrap();
    format!("{}{added}{}", &schema::CLICKSTREAM_EVENT_1[..end], &schema::CLICKSTREAM_EVENT_1[end..])
}

#[test]
fn fuzz_avro_event() {
    let mut decoder = Decoder::new();
    decoder.register(0, &later()).unwrap();
    decoder.register(1, schema::CLICKSTREAM_EVENT).unwrap();
    let mut buffer = Vec::new();
    let properties = Some(Properties::encode([("a", "1"), ("b", "23")], &mut buffer));
    let version_2 = ClickstreamEvent {
        event_id: Some("e-1"),
        site_id: Some("shop"),
        event_name: Some("n"),
        revenue_micros: Some(-1),
        currency: Some("EUR"),
        properties,
        ..EVENT
    };
    let body = |event: &ClickstreamEvent<'_>| encoded(event)[10..].to_vec();
    let framed = |id: u8, body: Vec<u8>| [vec![0, 0, 0, 0, id], body].concat();
    // Properties, a screen, one list of one tag, one null, and a number.
    let screen = [&[2][..], &1.5_f64.to_le_bytes(), &[1]].concat();
    let added =
        [b"\x02\x02k\x02v\x00", &screen[..], b"\x02\x02\x02t\x00\x00", b"\x02\x00", b"\x04\x54"].concat();
    let later = framed(0, [body(&EVENT), added].concat());
    assert_eq!(decoder.decode(&later).unwrap().product_id, Some("product-1"));
    let seeds = [encoded(&EVENT), encoded(&version_2), framed(1, body(&version_2)), later];
    Target::new("avro-event").seeds(seeds).executions(60_000).run(|bytes| {
        let event = decoder.decode(bytes).map_err(|error| error.to_string())?;
        assert_eq!(decoder.decode(&encoded(&event)).as_ref(), Ok(&event));
        validate(&event, EVENT.timestamp, 300_000).map_err(|invalid| invalid.to_string())
    });
}

#[test]
fn fuzz_avro_results() {
    let page = PageAnalytics {
        page_url: "/a".to_owned(),
        window_start: 1_700_000_000_000,
        window_end: 1_700_000_300_000,
        view_count: 184,
        unique_users: 97,
        click_count: 3,
        conversion_count: 1,
        engagement_rate: 0.5,
        bounce_rate: 0.25,
        avg_session_duration: 12.25,
    };
    Target::new("avro-results").seeds([encode_page_analytics(&page)]).run(|bytes| {
        let page = decode_page_analytics(bytes).map_err(|error| error.to_string())?;
        // Compared as bytes: a rate may be no number.
        let encoded = encode_page_analytics(&page);
        assert_eq!(encode_page_analytics(&decode_page_analytics(&encoded).unwrap()), encoded);
        Ok(())
    });
}

/// As fastavro wrote them: with the first schema, and with that which has `page_count`.
const TOP_PAGES: [&str; 2] = [
    "c3010c3a3646b781935c80a0abfef962c0efcffef9620402042f61f002c201020404062fc3a9181800000002042f61\
     f0020000000000c044400000000000802840c2010090033c08ca01ce0178",
    "c301b573124c5c52bcdd80a0abfef962c0efcffef9620402042f61f002c201020404062fc3a9181800000002042f61\
     f0020000000000c044400000000000802840c2010090033c08ca01ce01780208",
];

#[test]
fn fuzz_avro_top_pages() {
    let from_hex = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    Target::new("avro-top-pages").seeds(TOP_PAGES.map(from_hex)).run(|bytes| {
        let top = decode_top_pages(bytes).map_err(|error| error.to_string())?;
        let encoded = encode_top_pages(&top);
        assert_eq!(encode_top_pages(&decode_top_pages(&encoded).unwrap()), encoded);
        Ok(())
    });
}
