#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::EventType;

const NOW: i64 = 1_700_000_000_000;
const MAX_FUTURE: i64 = 300_000;
const GOOD: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "user-1",
    session_id: "visit-1",
    event_type: EventType::View,
    page_url: "/home",
    product_id: None,
    timestamp: NOW,
    user_agent: "",
    ip_address: "",
    referrer: None,
    session_duration: None,
    ..ClickstreamEvent::EMPTY
};

fn check(event: &ClickstreamEvent<'_>) -> Result<(), Invalid> {
    validate(event, NOW, MAX_FUTURE)
}

fn reason(event: &ClickstreamEvent<'_>) -> Option<Reason> {
    check(event).err().map(|invalid| invalid.reason)
}

fn page_reason(page_url: &str) -> Option<Reason> {
    reason(&ClickstreamEvent { page_url, ..GOOD })
}

#[test]
fn required_fields_must_not_be_empty() {
    assert_eq!(check(&GOOD), Ok(()));
    assert_eq!(reason(&ClickstreamEvent { user_id: "", ..GOOD }), Some(Reason::EmptyUserId));
    assert_eq!(reason(&ClickstreamEvent { session_id: "", ..GOOD }), Some(Reason::EmptySessionId));
    assert_eq!(reason(&ClickstreamEvent { page_url: "", ..GOOD }), Some(Reason::EmptyPageUrl));
    assert_eq!(reason(&ClickstreamEvent { product_id: Some(""), ..GOOD }), None);
}

/// Limits are in bytes and inclusive.
#[test]
fn lengths_are_limited() {
    let id = "é".repeat(MAX_ID / 2);
    let long_id = format!("{id}x");
    let page = format!("/{}", "x".repeat(MAX_PAGE_URL - 1));
    let long_page = format!("{page}x");
    let agent = "x".repeat(MAX_USER_AGENT);
    let long_agent = format!("{agent}x");
    let full = ClickstreamEvent {
        user_id: &id,
        session_id: &id,
        product_id: Some(&id),
        page_url: &page,
        user_agent: &agent,
        ..GOOD
    };
    assert_eq!(check(&full), Ok(()));
    for (event, reason, detail) in [
        (
            ClickstreamEvent { user_id: &long_id, ..full.clone() },
            Reason::IdTooLong,
            "user_id has 257 bytes, allowed are 256",
        ),
        (
            ClickstreamEvent { session_id: &long_id, ..full.clone() },
            Reason::IdTooLong,
            "session_id has 257 bytes, allowed are 256",
        ),
        (
            ClickstreamEvent { product_id: Some(&long_id), ..full.clone() },
            Reason::IdTooLong,
            "product_id has 257 bytes, allowed are 256",
        ),
        (
            ClickstreamEvent { page_url: &long_page, ..full.clone() },
            Reason::PageUrlTooLong,
            "page_url has 2049 bytes, allowed are 2048",
        ),
        (
            ClickstreamEvent { user_agent: &long_agent, ..full.clone() },
            Reason::UserAgentTooLong,
            "user_agent has 1025 bytes, allowed are 1024",
        ),
    ] {
        assert_eq!(check(&event), Err(Invalid { reason, detail: detail.to_owned() }));
    }
}

#[test]
fn times_must_be_after_the_epoch_and_not_far_ahead_of_the_record() {
    let at = |timestamp| check(&ClickstreamEvent { timestamp, ..GOOD });
    assert_eq!(at(1), Ok(()));
    assert_eq!(
        at(0).unwrap_err().to_string(),
        "non_positive_timestamp: timestamp is 0 ms, expected a time after 1970"
    );
    assert_eq!(at(i64::MIN).unwrap_err().reason, Reason::NonPositiveTimestamp);
    assert_eq!(at(NOW + MAX_FUTURE), Ok(()));
    assert_eq!(
        at(NOW + MAX_FUTURE + 1).unwrap_err().to_string(),
        "future_timestamp: timestamp is 1700000300001 ms, 300001 ms ahead of the record's own, allowed are 300000 ms"
    );
    let micros = at(NOW * 1_000).unwrap_err();
    assert_eq!(micros.reason, Reason::FutureTimestamp);
    assert!(micros.detail.ends_with("; it looks like microseconds, expected are milliseconds"), "{micros}");
    let last = ClickstreamEvent { timestamp: i64::MAX, ..GOOD };
    assert_eq!(validate(&last, i64::MIN, 0).unwrap_err().reason, Reason::FutureTimestamp);
    assert_eq!(validate(&last, i64::MAX, i64::MAX), Ok(()));
}

#[test]
fn page_urls_must_be_absolute() {
    for good in [
        "/",
        "/a/b?c=d#e",
        "/a//b",
        "/@user",
        "/:80",
        "/größe",
        "http://a",
        "https://a/",
        "HtTpS://A.example/x",
        "http://a:80/",
        "http://a:/",
        "http://a?b",
        "http://a#b",
        "http://a/b@c",
        "http://a?b@c:d",
        "http://a/b:c",
        "http://[2001:db8::1]",
        "http://[2001:db8::1]:80/x",
        "http://münchen.example/",
    ] {
        assert_eq!(page_reason(good), None, "{good}");
    }
    for bad in [
        "home",
        "./home",
        "?a",
        "#a",
        "//a/b",
        "///",
        "http",
        "http:",
        "http:/a",
        "http//a",
        "http://",
        "http:///a",
        "http://?a",
        "http://#a",
        "http://:80",
        "http://[]",
        "http://[]:80",
        "http://[2001:db8::1",
        "http://[::1]x",
        "http://a:b",
        "http://a:80:80",
        "http://user@a/",
        "http://user:secret@a/",
        "http://@a/",
        "ftp://a/",
        "httpss://a/",
        "javascript:alert(1)",
        "mailto:a@b",
        " /",
        "/a b",
        "/a\tb",
        "/a\n",
        "/a\0",
        "/a\u{7f}",
        "http://a b/",
        "http://a/\r",
        "é/",
    ] {
        assert_eq!(page_reason(bad), Some(Reason::BadPageUrl), "{bad}");
    }
}

proptest! {
    /// Dead letters must not contain what the privacy stage may have to remove.
    #[test]
    fn errors_never_quote_values(secret in "[A-Z]{12}", kind in 0..7) {
        let long = secret.repeat(200);
        let relative = format!("{secret} {secret}");
        let user = format!("http://{secret}@a/");
        let port = format!("http://a:{secret}/");
        let event = match kind {
            0 => ClickstreamEvent { user_id: &long, ..GOOD },
            1 => ClickstreamEvent { session_id: &long, ..GOOD },
            2 => ClickstreamEvent { product_id: Some(&long), ..GOOD },
            3 => ClickstreamEvent { page_url: &relative, ..GOOD },
            4 => ClickstreamEvent { page_url: &user, ..GOOD },
            5 => ClickstreamEvent { page_url: &port, ..GOOD },
            _ => ClickstreamEvent { user_agent: &long, ..GOOD },
        };
        let message = check(&event).unwrap_err().to_string();
        prop_assert!(!message.contains(&secret), "{message}");
    }

    #[test]
    fn no_text_panics(page_url in "(?s)(/|https?://)?.{0,40}", timestamp: i64, record_timestamp: i64, ahead: i64) {
        let event = ClickstreamEvent { page_url: &page_url, timestamp, ..GOOD };
        let _ = validate(&event, record_timestamp, ahead);
    }
}

#[test]
fn fields_of_version_2_have_limits_too() {
    let [id, site, name] = [MAX_EVENT_ID, MAX_SITE_ID, MAX_EVENT_NAME].map(|limit| "x".repeat(limit));
    let [long_id, long_site, long_name] = [&id, &site, &name].map(|text| format!("{text}x"));
    // 32 entries of 64 bytes: both limits at once.
    let entries =
        |count: usize, length: usize| (0..count).map(move |i| (format!("{i:02}"), "v".repeat(length - 2)));
    let mut buffers = [Vec::new(), Vec::new(), Vec::new()];
    let [full, many, big] = &mut buffers;
    let most = MAX_PROPERTIES_BYTES / MAX_PROPERTIES;
    let full = Some(Properties::encode(entries(MAX_PROPERTIES, most), full));
    let many = Some(Properties::encode(entries(MAX_PROPERTIES + 1, 2), many));
    let big = Some(Properties::encode(entries(MAX_PROPERTIES, most + 1), big));
    let good = ClickstreamEvent {
        event_id: Some(&id),
        site_id: Some(&site),
        event_name: Some(&name),
        revenue_micros: Some(i64::MIN),
        currency: Some("EUR"),
        properties: full,
        ..GOOD
    };
    assert_eq!(check(&good), Ok(()));
    let of = |event: ClickstreamEvent<'_>| check(&event).unwrap_err().to_string();
    assert_eq!(
        of(ClickstreamEvent { event_id: Some(&long_id), ..good.clone() }),
        "event_id_too_long: event_id has 65 bytes, allowed are 64"
    );
    assert_eq!(
        of(ClickstreamEvent { site_id: Some(&long_site), ..good.clone() }),
        "site_id_too_long: site_id has 33 bytes, allowed are 32"
    );
    assert_eq!(
        of(ClickstreamEvent { event_name: Some(&long_name), ..good.clone() }),
        "event_name_too_long: event_name has 129 bytes, allowed are 128"
    );
    assert_eq!(
        of(ClickstreamEvent { currency: Some("EURO"), ..good.clone() }),
        "currency_too_long: currency has 4 bytes, allowed are 3"
    );
    assert_eq!(
        of(ClickstreamEvent { properties: many, ..good.clone() }),
        "properties_too_large: properties has 33 entries of 66 bytes, allowed are 32 entries of 2048 bytes"
    );
    assert_eq!(
        of(ClickstreamEvent { properties: big, ..good }),
        "properties_too_large: properties has 32 entries of 2080 bytes, allowed are 32 entries of 2048 bytes"
    );
}
