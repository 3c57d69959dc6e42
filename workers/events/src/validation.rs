//! Event validation. It depends on the record alone, so that a replay gives the same result.

use crate::{ClickstreamEvent, Invalid, Properties, Reason};

/// Maximum length of `page_url`, bytes.
pub const MAX_PAGE_URL: usize = 2048;
/// Maximum length of `user_agent`, bytes.
pub const MAX_USER_AGENT: usize = 1024;
/// Maximum length of `user_id`, `session_id` and `product_id`, bytes.
pub const MAX_ID: usize = 256;
/// Longest `event_id`, bytes.
pub const MAX_EVENT_ID: usize = 64;
/// Longest `site_id`, bytes.
pub const MAX_SITE_ID: usize = 32;
/// Longest `event_name`, bytes.
pub const MAX_EVENT_NAME: usize = 128;
/// Longest `currency`, bytes: a code of ISO 4217.
pub const MAX_CURRENCY: usize = 3;
/// Most entries of `properties`.
pub const MAX_PROPERTIES: usize = 32;
/// Longest `properties`, bytes of all keys and values.
pub const MAX_PROPERTIES_BYTES: usize = 2048;

/// The likely unit of a time that cannot be milliseconds since the epoch: those of 1973 to 5138 have 12 to 14 digits.
///
/// ```
/// use weir_events::looks_like;
///
/// assert_eq!(looks_like(1_700_000_000), Some("seconds"));
/// assert_eq!(looks_like(1_700_000_000_000), None);
/// ```
pub fn looks_like(timestamp: i64) -> Option<&'static str> {
    match timestamp {
        100_000_000..100_000_000_000 => Some("seconds"),
        100_000_000_000_000..100_000_000_000_000_000 => Some("microseconds"),
        100_000_000_000_000_000.. => Some("nanoseconds"),
        _ => None,
    }
}

/// Checks whether the event may be counted. `record_timestamp` is the record's Kafka timestamp, `max_future_ms` how far the
/// event's may be ahead of it; both in milliseconds. Allocates only for errors.
///
/// ```
/// use weir_events::{ClickstreamEvent, EventType, Reason, validate};
///
/// let event = ClickstreamEvent {
///     user_id: "user-1",
///     session_id: "visit-1",
///     event_type: EventType::View,
///     page_url: "home",
///     product_id: None,
///     timestamp: 1_700_000_000_000,
///     user_agent: "",
///     ip_address: "",
///     referrer: None,
///     session_duration: None,
///     ..ClickstreamEvent::EMPTY
/// };
/// let invalid = validate(&event, event.timestamp, 300_000).unwrap_err();
/// assert_eq!(invalid.reason, Reason::BadPageUrl);
/// ```
///
/// # Errors
/// [`Invalid`] with the first reason found: empty fields first, then lengths, the page's form, and the time.
pub fn validate(
    event: &ClickstreamEvent<'_>,
    record_timestamp: i64,
    max_future_ms: i64,
) -> Result<(), Invalid> {
    filled(event.user_id, "user_id", Reason::EmptyUserId)?;
    filled(event.session_id, "session_id", Reason::EmptySessionId)?;
    filled(event.page_url, "page_url", Reason::EmptyPageUrl)?;
    within(event.user_id, "user_id", MAX_ID, Reason::IdTooLong)?;
    within(event.session_id, "session_id", MAX_ID, Reason::IdTooLong)?;
    within(event.product_id.unwrap_or(""), "product_id", MAX_ID, Reason::IdTooLong)?;
    within(event.page_url, "page_url", MAX_PAGE_URL, Reason::PageUrlTooLong)?;
    within(event.user_agent, "user_agent", MAX_USER_AGENT, Reason::UserAgentTooLong)?;
    if event.has_fields_of_version_2() {
        fields_of_version_2(event)?;
    }
    page(event.page_url).map_err(|found| {
        invalid(
            Reason::BadPageUrl,
            format!("page_url {found}, expected an absolute http(s) URL or a path that begins with one '/'"),
        )
    })?;
    if event.timestamp <= 0 {
        return Err(invalid(
            Reason::NonPositiveTimestamp,
            format!("timestamp is {} ms, expected a time after 1970", event.timestamp),
        ));
    }
    if event.timestamp > record_timestamp.saturating_add(max_future_ms) {
        return Err(invalid(
            Reason::FutureTimestamp,
            format!(
                "timestamp is {} ms, {} ms ahead of the record's own, allowed are {max_future_ms} ms{}",
                event.timestamp,
                event.timestamp.saturating_sub(record_timestamp),
                unit_hint(event.timestamp)
            ),
        ));
    }
    Ok(())
}

#[inline(never)]
fn fields_of_version_2(event: &ClickstreamEvent<'_>) -> Result<(), Invalid> {
    within(event.event_id.unwrap_or(""), "event_id", MAX_EVENT_ID, Reason::EventIdTooLong)?;
    within(event.site_id.unwrap_or(""), "site_id", MAX_SITE_ID, Reason::SiteIdTooLong)?;
    within(event.event_name.unwrap_or(""), "event_name", MAX_EVENT_NAME, Reason::EventNameTooLong)?;
    within(event.currency.unwrap_or(""), "currency", MAX_CURRENCY, Reason::CurrencyTooLong)?;
    let (entries, bytes) = event.properties.map_or((0, 0), Properties::size);
    if entries > MAX_PROPERTIES || bytes > MAX_PROPERTIES_BYTES {
        return Err(invalid(
            Reason::PropertiesTooLarge,
            format!(
                "properties has {entries} entries of {bytes} bytes, allowed are {MAX_PROPERTIES} entries of {MAX_PROPERTIES_BYTES} bytes"
            ),
        ));
    }
    Ok(())
}

/// A hint to append to messages about a time: the unit that it looks like, or nothing.
pub fn unit_hint(timestamp: i64) -> String {
    looks_like(timestamp)
        .map_or_else(String::new, |unit| format!("; it looks like {unit}, expected are milliseconds"))
}

#[cold]
fn invalid(reason: Reason, detail: String) -> Invalid {
    Invalid { reason, detail }
}

#[inline]
fn filled(value: &str, field: &str, reason: Reason) -> Result<(), Invalid> {
    if value.is_empty() { Err(invalid(reason, format!("{field} is empty"))) } else { Ok(()) }
}

#[inline]
fn within(value: &str, field: &str, limit: usize, reason: Reason) -> Result<(), Invalid> {
    if value.len() > limit {
        Err(invalid(reason, format!("{field} has {} bytes, allowed are {limit}", value.len())))
    } else {
        Ok(())
    }
}

/// Checks a page URL. Errors do not quote it.
fn page(url: &str) -> Result<(), &'static str> {
    let bytes = url.as_bytes();
    // Without an early exit the compiler vectorizes this.
    if bytes.iter().fold(false, |found, b| found | b.is_ascii_control() | (*b == b' ')) {
        return Err("has a space or a control character");
    }
    match bytes {
        // Browsers take "//host/path" as another site's URL.
        [b'/', b'/', ..] => Err("begins with '//'"),
        [b'/', ..] => Ok(()),
        _ => authority(after_scheme(bytes).ok_or("is neither an http(s) URL nor a path")?),
    }
}

fn after_scheme(url: &[u8]) -> Option<&[u8]> {
    [&b"https://"[..], b"http://"].into_iter().find_map(|scheme| {
        let (head, rest) = url.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Checks host and port (RFC 3986, 3.2), which end at the first '/', '?' or '#'.
fn authority(rest: &[u8]) -> Result<(), &'static str> {
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.contains(&b'@') {
        return Err("names a user before the host (RFC 9110, 4.2.4)");
    }
    let (host, port) = match authority {
        [b'[', literal @ ..] => {
            let close = literal.iter().position(|b| *b == b']').ok_or("has an address without its ']'")?;
            (&literal[..close], &literal[close + 1..])
        }
        _ => authority.split_at(authority.iter().position(|b| *b == b':').unwrap_or(end)),
    };
    if host.is_empty() {
        return Err("has no host");
    }
    match port {
        [] => Ok(()),
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err("has a port that is not a number"),
    }
}

#[cfg(test)]
mod tests;
