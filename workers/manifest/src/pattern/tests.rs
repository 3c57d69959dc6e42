use super::*;

#[track_caller]
fn holds(pattern: &str, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(matches(pattern, text), "{text:?} is good");
    }
    for text in bad {
        assert!(!matches(pattern, text), "{text:?} is bad");
    }
}

#[test]
fn names() {
    let (longest, too_long) = ("a".repeat(52), "a".repeat(53));
    holds(
        NAME,
        &["shop", "a", "0", "shop-2", &longest],
        &["", "Shop", "-shop", "shop-", "a.b", "a_b", "ä", &too_long, "a\n"],
    );
    let too_long = "a".repeat(64);
    holds(OBJECT_NAME, &["ca", "kafka-user", "a.b-c.d"], &["", ".", "a..b", "A", "a_b", &too_long]);
    holds(SECRET_KEY, &["ca.crt", "KEY_1", ".x"], &["", "a b", "a/b"]);
}

#[test]
fn images() {
    holds(
        IMAGE,
        &["weir", "registry.example:5000/a/weir:1.2.3", "weir@sha256:00ff"],
        &["", "/weir", "we ir", ":1", "weir;x"],
    );
}

#[test]
fn topics() {
    let (longest, too_long) = ("t".repeat(249), "t".repeat(250));
    holds(
        TOPIC,
        &["clickstream-events", "A.b_c-9", "...", ".a", &longest],
        &["", ".", "..", "a b", "a/b", "ä", &too_long],
    );
}

#[test]
fn addresses() {
    holds(
        HOST_PORT,
        &["kafka:9092", "10.0.0.1:1", "a-b.c_d:65535", "[::1]:9092"],
        &[
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "kafka:+1",
            "a b:1",
            "::1:9092",
            "[x]:1",
            "http://kafka:9092",
        ],
    );
    holds(
        HTTP_URL,
        &["http://registry:8080/apis/ccompat/v7", "https://r"],
        &["", "registry:8080", "ftp://r", "http://", "http:///x", "https://?q", "http://a b"],
    );
}
