//! Whatever producers may write: each record is counted, or is a dead letter with its reason, and the next one is read.

use std::collections::BTreeSet;

use weir_analytics::{Block, Row};
use weir_events::{ClickstreamEvent, Properties, Reason, encode_event};
use weir_memory::StoredRecord;

use crate::fixture::{Fixture, START};

const GOOD: ClickstreamEvent<'static> = ClickstreamEvent {
    user_id: "u",
    session_id: "s",
    page_url: "/",
    timestamp: START,
    user_agent: "a",
    ..ClickstreamEvent::EMPTY
};
const HEADER: usize = 10;
/// Nearly what the topic accepts, and more than a dead letter keeps.
const HUGE: usize = 990_000;

fn bytes(event: &ClickstreamEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(event, &mut bytes);
    bytes
}

/// `GOOD`, whose body has other bytes in place of those at `from..to`.
fn with(from: usize, to: usize, other: &[u8]) -> Vec<u8> {
    let good = bytes(&GOOD);
    [&good[..HEADER + from], other, &good[HEADER + to..]].concat()
}

/// A name, the value of a record, the reason and what the detail says.
type Case = (&'static str, Option<Vec<u8>>, Reason, String);

fn case(name: &'static str, value: Vec<u8>, reason: Reason, detail: &str) -> Case {
    (name, Some(value), reason, detail.to_owned())
}

fn framings() -> Vec<Case> {
    use Reason::{Malformed, UnknownSchema};
    let body = &bytes(&GOOD)[HEADER..];
    let framed = |id: u32| [&[0][..], &id.to_be_bytes(), body].concat();
    let begins = |first: &str| {
        format!(
            "the value begins with {first}, expected c3 01 (single-object encoding) or 00 (confluent's frame)"
        )
    };
    let id = |id: u32| {
        format!(
            "schema id {id} is not known, because this version asks no schema registry: write events as c3 01 \
             (single-object encoding) with schemas/clickstream-event.avsc"
        )
    };
    let empty = "the value is empty, expected an avro record";
    let other_schema = [&[0xC3, 1][..], &[7; 8], body].concat();
    let end = bytes(&GOOD).len() - 1;
    vec![
        case("no bytes", Vec::new(), Malformed, empty),
        ("a tombstone", None, Malformed, empty.to_owned()),
        case("one byte", vec![0xC3], Malformed, &begins("c3")),
        case("a frame's first byte", vec![0], Malformed, "the value has 1 bytes, too few for its header"),
        case("a cut header", vec![0xC3, 1, 2], Malformed, "the value has 3 bytes, too few for its header"),
        case("JSON", br#"{"user_id": "u"}"#.to_vec(), Malformed, &begins("7b")),
        case("the other magic", [&[0xC3, 2][..], body].concat(), Malformed, &begins("c3")),
        // Two bytes of it would be a gigabyte if anything here unpacked it.
        case("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3], Malformed, &begins("1f")),
        case("an Avro file", b"Obj\x01".to_vec(), Malformed, &begins("4f")),
        case("an unknown id", framed(7), UnknownSchema, &id(7)),
        case("the greatest id", framed(i32::MAX as u32), UnknownSchema, &id(2_147_483_647)),
        case("a negative id", framed(u32::MAX), UnknownSchema, &id(4_294_967_295)),
        case(
            "an unknown fingerprint",
            other_schema,
            UnknownSchema,
            "schema fingerprint 0707070707070707 is not known, expected that of schemas/clickstream-event.avsc: write \
             events with that schema",
        ),
        case(
            "a cut event",
            bytes(&GOOD)[..end].to_vec(),
            Malformed,
            "field session_duration at byte 18: the value ends here",
        ),
        case("a longer event", with(19, 19, &[0]), Malformed, "1 bytes follow the record, expected none"),
    ]
}

/// `GOOD` is `02 u 02 s 00 02 / 00 timestamp(6) 02 a 00 00 00`.
fn bodies() -> Vec<Case> {
    let malformed = |name, value, detail| case(name, value, Reason::Malformed, detail);
    let of_version_2 = |properties: &[u8]| {
        let event = ClickstreamEvent { event_id: Some("e"), ..GOOD };
        let value = bytes(&event);
        [&value[..value.len() - 1], properties].concat()
    };
    vec![
        malformed("a negative length", with(0, 1, &[1]), "field user_id at byte 1: a negative length"),
        malformed(
            "a length beyond the end",
            with(0, 1, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            "field user_id at byte 10: the value ends here",
        ),
        malformed(
            "a length without an end",
            with(0, 1, &[0xff; 12]),
            "field user_id at byte 0: a number out of its type's range",
        ),
        malformed("no UTF-8", with(1, 2, &[0xff]), "field user_id at byte 2: text that is not UTF-8"),
        malformed(
            "a symbol too many",
            with(4, 5, &[10]),
            "field event_type at byte 5: a symbol that the enum does not have",
        ),
        malformed(
            "a third branch",
            with(7, 8, &[4]),
            "field product_id at byte 8: a branch that the union does not have",
        ),
        malformed(
            "an overlong time",
            with(8, 14, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
            "field timestamp at byte 8: a number out of its type's range",
        ),
        malformed(
            "more properties than bytes",
            of_version_2(&[2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            "field properties at byte 37: the value ends here",
        ),
        malformed(
            "properties that are cut",
            of_version_2(&[2, 2, 2, b'k']),
            "field properties at byte 30: the value ends here",
        ),
    ]
}

fn times() -> Vec<Case> {
    use Reason::{FutureTimestamp, Late, NonPositiveTimestamp};
    let at = |timestamp| bytes(&ClickstreamEvent { timestamp, ..GOOD });
    let past = |timestamp: i64| format!("timestamp is {timestamp} ms, expected a time after 1970");
    let ahead = |timestamp: i64, ahead: i64, unit: &str| {
        let hint = if unit.is_empty() {
            String::new()
        } else {
            format!("; it looks like {unit}, expected are milliseconds")
        };
        format!(
            "timestamp is {timestamp} ms, {ahead} ms ahead of the record's own, allowed are 300000 ms{hint}"
        )
    };
    let (limit, micros) = (START + 300_000, START * 1_000);
    let seconds = START / 1_000;
    vec![
        case("the epoch", at(0), NonPositiveTimestamp, &past(0)),
        case("before the epoch", at(-1), NonPositiveTimestamp, &past(-1)),
        case("the least time", at(i64::MIN), NonPositiveTimestamp, &past(i64::MIN)),
        case("too far ahead", at(limit + 1), FutureTimestamp, &ahead(limit + 1, 300_001, "")),
        case("microseconds", at(micros), FutureTimestamp, &ahead(micros, micros - START, "microseconds")),
        case(
            "the greatest time",
            at(i64::MAX),
            FutureTimestamp,
            &ahead(i64::MAX, i64::MAX - START, "nanoseconds"),
        ),
        case(
            "seconds",
            at(seconds),
            Late,
            &format!(
                "timestamp {seconds} lies in no window that ends after the watermark {}; it looks like seconds, \
                 expected are milliseconds",
                START - 30_000
            ),
        ),
    ]
}

fn fields() -> Vec<Case> {
    use Reason::*;
    let of =
        |name, event: ClickstreamEvent<'_>, reason, detail: &str| case(name, bytes(&event), reason, detail);
    let huge = "x".repeat(HUGE);
    let (long_id, long_page, mut properties) =
        ("x".repeat(257), format!("/{}", "%25".repeat(683)), Vec::new());
    let many = (0..33).map(|i| (i.to_string(), String::new()));
    let many = Some(Properties::encode(many, &mut properties));
    let page = |name, page_url: &str, found: &str| {
        let detail =
            format!("page_url {found}, expected an absolute http(s) URL or a path that begins with one '/'");
        of(name, ClickstreamEvent { page_url, ..GOOD }, BadPageUrl, &detail)
    };
    let neither = "is neither an http(s) URL nor a path";
    let control = "has a space or a control character";
    vec![
        of("no user", ClickstreamEvent { user_id: "", ..GOOD }, EmptyUserId, "user_id is empty"),
        of("no visit", ClickstreamEvent { session_id: "", ..GOOD }, EmptySessionId, "session_id is empty"),
        of("no page", ClickstreamEvent { page_url: "", ..GOOD }, EmptyPageUrl, "page_url is empty"),
        of(
            "a long user",
            ClickstreamEvent { user_id: &long_id, ..GOOD },
            IdTooLong,
            "user_id has 257 bytes, allowed are 256",
        ),
        of(
            "a huge visit",
            ClickstreamEvent { session_id: &huge, ..GOOD },
            IdTooLong,
            "session_id has 990000 bytes, allowed are 256",
        ),
        of(
            "a huge event id",
            ClickstreamEvent { event_id: Some(&huge), ..GOOD },
            EventIdTooLong,
            "event_id has 990000 bytes, allowed are 64",
        ),
        of(
            "a long site",
            ClickstreamEvent { site_id: Some(&long_id), ..GOOD },
            SiteIdTooLong,
            "site_id has 257 bytes, allowed are 32",
        ),
        of(
            "a long name",
            ClickstreamEvent { event_name: Some(&long_id), ..GOOD },
            EventNameTooLong,
            "event_name has 257 bytes, allowed are 128",
        ),
        of(
            "a long currency",
            ClickstreamEvent { currency: Some("EURO"), ..GOOD },
            CurrencyTooLong,
            "currency has 4 bytes, allowed are 3",
        ),
        of(
            "many properties",
            ClickstreamEvent { properties: many, ..GOOD },
            PropertiesTooLarge,
            "properties has 33 entries of 56 bytes, allowed are 32 entries of 2048 bytes",
        ),
        of(
            "a huge client",
            ClickstreamEvent { user_agent: &huge, ..GOOD },
            UserAgentTooLong,
            "user_agent has 990000 bytes, allowed are 1024",
        ),
        of(
            "a percent bomb",
            ClickstreamEvent { page_url: &long_page, ..GOOD },
            PageUrlTooLong,
            "page_url has 2050 bytes, allowed are 2048",
        ),
        page("a script's URL", "javascript:alert(1)", neither),
        page("a data URL", "data:text/html;base64,PHNjcmlwdD4=", neither),
        page("a formula", "=cmd|'/c calc'!A1", control),
        page("a formula without a space", "=cmd()", neither),
        page(
            "a user in the URL",
            "https://shop.example@evil.example/",
            "names a user before the host (RFC 9110, 4.2.4)",
        ),
        page("another site", "//evil.example/", "begins with '//'"),
        page("a header's end", "/\r\nset-cookie:a=b", control),
        page("NUL", "/a\0", control),
    ]
}

fn header<'a>(letter: &'a StoredRecord, name: &str) -> &'a str {
    let found = letter.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[test]
fn bad_records_are_dead_letters_with_the_reason() {
    let cases = [framings(), bodies(), times(), fields()].concat();
    let mut fixture = Fixture::new(1);
    let append =
        |value: Option<&[u8]>| fixture.broker.append("events", 0, Some(b"\xff\xfe"), value, &[]).unwrap();
    append(Some(&bytes(&GOOD)));
    // A good one after each: that is read too.
    for (_, value, ..) in &cases {
        append(value.as_deref());
        append(Some(&bytes(&GOOD)));
    }
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 5_000);
    let progress = fixture.progress().remove(0);
    let letters = fixture.broker.records("dead-letters", 0);
    assert_eq!(letters.len(), cases.len());
    for ((name, value, reason, detail), (letter, number)) in cases.iter().zip(letters.iter().zip(0..)) {
        assert_eq!(
            (header(letter, "reason"), header(letter, "detail")),
            (reason.as_str(), &**detail),
            "{name}"
        );
        assert_eq!(header(letter, "offset"), (2 * number + 1).to_string(), "{name}");
        let value = value.as_deref().unwrap_or_default();
        let kept = letter.value.as_deref().unwrap_or_default();
        assert!(value.starts_with(kept) && kept.len() >= value.len().min(800_000), "{name}");
        assert_eq!(header(letter, "truncated").is_empty(), kept.len() == value.len(), "{name}");
        assert_eq!(letter.key.as_deref(), Some(&b"\xff\xfe"[..]), "{name}");
    }
    let late = cases.iter().filter(|(.., reason, _)| *reason == Reason::Late).count() as u64;
    let (all, counted) = (2 * cases.len() as u64 + 1, cases.len() as u64 + 1);
    assert_eq!((progress.read, progress.counted, progress.late), (all, counted, late), "{progress:?}");
    assert_eq!(progress.dead, counted - 1 - late, "{progress:?}");
    assert_eq!(progress.watermark, Some(START - 30_000), "no bad time moves it");
    let reasons: BTreeSet<Reason> = cases.iter().map(|(.., reason, _)| *reason).collect();
    assert_eq!(reasons, BTreeSet::from(Reason::ALL), "each reason has a case");
}

/// Text that is odd, but that some client has: it is counted as it is, and different bytes are different visitors and pages.
#[test]
fn odd_text_is_counted_as_it_is() {
    let mut fixture = Fixture::new(1);
    let users = ["user", "user\0", "user\u{200b}", "\u{202e}user", "us\u{ad}er", "USER", "\u{feff}user"];
    let bomb = format!("/{}", "%25".repeat(682));
    let pages = [
        "/",
        "/<script>alert(1)</script>",
        "/\u{202e}gpj.exe",
        "/a\u{200b}",
        "/a",
        "/%00%0d%0a",
        "/../../etc/passwd",
        &bomb,
    ];
    for user_id in users {
        for page_url in pages {
            let event = ClickstreamEvent { user_id, page_url, user_agent: "a\r\nb: c\0<script>", ..GOOD };
            fixture.broker.append("events", 0, None, Some(&bytes(&event)), &[]).unwrap();
        }
    }
    fixture.end();
    assert_eq!(fixture.broker.records("dead-letters", 0).len(), 0);
    let blocks = fixture.broker.records("blocks", 0);
    let blocks: Vec<Block> =
        blocks.iter().map(|block| Block::decode(block.value.as_ref().unwrap()).unwrap()).collect();
    let whole: Vec<&Block> = blocks.iter().filter(|block| block.site.users > 0).collect();
    assert_eq!(whole.len(), 30, "each window of the event's time");
    for block in whole {
        assert_eq!((block.site.users, block.site.views), (7, 56));
        let found: BTreeSet<&str> = block.pages.iter().map(|row| row.url.as_str()).collect();
        assert_eq!(found, BTreeSet::from(pages));
        assert!(block.pages.iter().all(|row| row.sums.users == 7), "{:?}", block.pages);
    }
}

/// All events of one visitor in one of six partitions, and no end of pages: the state is bounded, and what is not kept apart is counted.
#[test]
fn a_hot_key_with_pages_without_end_is_counted_whole() {
    const EVENTS: usize = 20_000;
    let limit = 100;
    let mut fixture = Fixture::new(1);
    fixture.page_limit = limit;
    for i in 0..EVENTS {
        let page = format!("/{i}");
        let event = ClickstreamEvent { page_url: &page, ..GOOD };
        fixture.broker.append("events", 0, None, Some(&bytes(&event)), &[]).unwrap();
    }
    fixture.end();
    let progress = fixture.progress().remove(0);
    let others = (EVENTS - limit) as u64;
    assert_eq!((progress.counted, progress.other_pages), (EVENTS as u64, others), "{progress:?}");
    assert_eq!(fixture.sealed().0, EVENTS as u64 * 30, "each in each of its windows");
    for block in fixture.broker.records("blocks", 0) {
        let block = Block::decode(&block.value.unwrap()).unwrap();
        assert!(block.pages.len() <= limit + 1, "{}", block.pages.len());
        let views = |row: &Row| row.sums.views;
        let other = block.pages.iter().find(|row| row.url == "(other)").map(views);
        assert_eq!(other, (block.site.users > 0).then_some(others));
    }
}
