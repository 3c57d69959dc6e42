//! Writes Avro's binary encoding into a buffer that the caller keeps.

use super::write::{long, optional, string};
use crate::schema::{
    CLICKSTREAM_EVENT_FINGERPRINTS, CLICKSTREAM_EVENT_FINGERPRINTS_1, Fingerprints, SINGLE_OBJECT,
};
use crate::{ClickstreamEvent, EventType};

/// Appends the event in Avro's single-object encoding: of version 1 where it has no field that version 2 added, so that readers of
/// version 1 can read it. Allocates only where `out` must grow.
///
/// ```
/// use weir_events::{ClickstreamEvent, Decoder, EventType, encode_event};
///
/// let event = ClickstreamEvent {
///     user_id: "user-1",
///     session_id: "visit-1",
///     event_type: EventType::View,
///     page_url: "/home",
///     product_id: None,
///     timestamp: 1_700_000_000_000,
///     user_agent: "curl/8",
///     ip_address: "192.0.2.1",
///     referrer: None,
///     session_duration: Some(0),
///     ..ClickstreamEvent::EMPTY
/// };
/// let mut bytes = Vec::new();
/// encode_event(&event, &mut bytes);
/// assert_eq!(Decoder::new().decode(&bytes), Ok(event));
/// ```
pub fn encode_event(event: &ClickstreamEvent<'_>, out: &mut Vec<u8>) {
    let version_2 = event.has_fields_of_version_2();
    header(if version_2 { CLICKSTREAM_EVENT_FINGERPRINTS } else { CLICKSTREAM_EVENT_FINGERPRINTS_1 }, out);
    string(event.user_id, out);
    string(event.session_id, out);
    out.push(symbol(event.event_type) << 1);
    string(event.page_url, out);
    optional(event.product_id, out, string);
    long(event.timestamp, out);
    string(event.user_agent, out);
    string(event.ip_address, out);
    optional(event.referrer, out, string);
    optional(event.session_duration, out, |seconds, out| long(i64::from(seconds), out));
    if version_2 {
        optional(event.event_id, out, string);
        optional(event.site_id, out, string);
        optional(event.event_name, out, string);
        optional(event.revenue_micros, out, long);
        optional(event.currency, out, string);
        optional(event.properties, out, |properties, out| out.extend_from_slice(properties.as_bytes()));
    }
}

fn symbol(event_type: EventType) -> u8 {
    match event_type {
        EventType::View => 0,
        EventType::Click => 1,
        EventType::AddToCart => 2,
        EventType::Purchase => 3,
        EventType::Search => 4,
    }
}

pub(super) fn header(fingerprints: Fingerprints, out: &mut Vec<u8>) {
    out.extend_from_slice(&SINGLE_OBJECT);
    out.extend_from_slice(&fingerprints.written);
}
