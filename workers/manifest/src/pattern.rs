//! Formats of strings: the schema's patterns, and for each the same rule as a function with a readable expectation.
//!
//! This avoids a regular-expression engine for eight rules; a test checks that every pattern of the schema has its function.

use crate::Duration;

/// A DNS-1123 label of at most 52 characters: longer ones leave no room for the suffixes of a pod's name.
pub(crate) const NAME: &str = "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$";
/// A DNS-1123 subdomain.
pub(crate) const OBJECT_NAME: &str =
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// A key of a Secret.
pub(crate) const SECRET_KEY: &str = "^[-._a-zA-Z0-9]{1,253}$";
/// A valid Kafka topic name, if it has at most 249 characters.
pub(crate) const TOPIC: &str = r"^(\.{0,2}[a-zA-Z0-9_-][a-zA-Z0-9._-]*|\.{3}[a-zA-Z0-9._-]*)$";
/// A broker's address.
pub(crate) const HOST_PORT: &str = r"^(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):[0-9]{1,5}$";
/// The base of a web API.
pub(crate) const HTTP_URL: &str = r##"^https?://[!"$-.0->@-~][!-~]*$"##;

/// An image, with its registry, tag and digest.
pub(crate) const IMAGE: &str = "^[a-zA-Z0-9][-a-zA-Z0-9._/:@]{0,511}$";

/// What a pattern requires, in words; `None` for unknown patterns.
pub(crate) fn expectation(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        Duration::PATTERN => Duration::EXPECTED,
        NAME => {
            "1 to 52 of a-z, 0-9 and -, beginning and ending with a letter or digit, because pods are named after it"
        }
        OBJECT_NAME => "the name of an object in Kubernetes: labels of a-z, 0-9 and -, joined by dots",
        SECRET_KEY => "the name of an entry of a secret: 1 to 253 of a-z, A-Z, 0-9, -, _ and .",
        TOPIC => "a topic name that Kafka takes: 1 to 249 of a-z, A-Z, 0-9, ., _ and -, and neither . nor ..",
        HOST_PORT => "host:port with a port from 1 to 65535, such as kafka:9092",
        IMAGE => {
            "an image: 1 to 512 of a-z, A-Z, 0-9, ., _, /, :, @ and -, such as registry.example/weir:1.2.3"
        }
        HTTP_URL => "an address that begins with http:// or https:// and a host",
        _ => return None,
    })
}

/// Whether `text` matches `pattern`, which must be one of the above.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        Duration::PATTERN => text.parse::<Duration>().is_ok(),
        NAME => text.len() <= 52 && is_label(text),
        OBJECT_NAME => text.len() <= 253 && text.split('.').all(is_label),
        SECRET_KEY => (1..=253).contains(&text.len()) && text.bytes().all(is_file_name),
        TOPIC => {
            (1..=249).contains(&text.len()) && text.bytes().all(is_file_name) && text != "." && text != ".."
        }
        HOST_PORT => is_host_port(text),
        HTTP_URL => is_http_url(text),
        IMAGE => {
            (1..=512).contains(&text.len())
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.bytes().all(|b| is_file_name(b) || b"/:@".contains(&b))
        }
        _ => true,
    }
}

fn is_file_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._".contains(&b)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is a broker's address: a host and a port from 1 to 65535.
pub fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let host_is_good = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_file_name),
    };
    digits && port.parse::<u16>().is_ok_and(|p| p > 0) && host_is_good
}

fn is_http_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    !rest.is_empty() && !rest.starts_with(['/', '?', '#']) && rest.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
