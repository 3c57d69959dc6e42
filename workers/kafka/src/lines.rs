//! Forwards librdkafka's log lines. While brokers are unavailable, each client of a process writes the same line at each attempt:
//! lines that differ only in numbers are rate-limited, and the number of suppressed ones is added.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::config::RDKafkaLogLevel;

/// Minimum interval between two lines of a kind.
const INTERVAL: Duration = Duration::from_secs(30);
/// Maximum number of kinds tracked; more than a client has, so this only bounds memory in case of a bug.
const MAX_KINDS: usize = 256;

/// Writes a line, unless one of its kind was written recently.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    static LIMIT: OnceLock<Mutex<Limit>> = OnceLock::new();
    if matches!(level, RDKafkaLogLevel::Debug) {
        tracing::debug!(target: "librdkafka", facility, "{line}");
        return;
    }
    let limit = LIMIT.get_or_init(Mutex::default);
    let Some(held_back) =
        limit.lock().unwrap_or_else(PoisonError::into_inner).admit(facility, line, Instant::now())
    else {
        return;
    };
    // Omitted if zero, as for most lines.
    let more =
        if held_back == 0 { String::new() } else { format!(" (and {held_back} such lines before it)") };
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{line}{more}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}{more}"),
        _ => tracing::info!(target: "librdkafka", facility, "{line}{more}"),
    }
}

/// When a line of each kind was last written, and how many were suppressed since.
#[derive(Debug, Default)]
struct Limit {
    kinds: HashMap<String, (Instant, u64)>,
}

impl Limit {
    /// If the line is to be written, returns how many of its kind were suppressed before it.
    fn admit(&mut self, facility: &str, line: &str, now: Instant) -> Option<u64> {
        let kind = kind(facility, line);
        if let Some((written, held_back)) = self.kinds.get_mut(&kind) {
            if now.duration_since(*written) < INTERVAL {
                *held_back += 1;
                return None;
            }
            *written = now;
            return Some(std::mem::take(held_back));
        }
        if self.kinds.len() >= MAX_KINDS {
            self.kinds.retain(|_, (written, _)| now.duration_since(*written) < INTERVAL);
        }
        if self.kinds.len() < MAX_KINDS {
            self.kinds.insert(kind, (now, 0));
        }
        Some(0)
    }
}

/// A line without its thread, without numbers (times, ports, counts), and without the client's own count of suppressed repeats.
fn kind(facility: &str, line: &str) -> String {
    let said = match line.strip_prefix("[thrd:").and_then(|line| line.split_once("]: ")) {
        Some((_, said)) => said,
        None => line,
    };
    let said = said.split_once(" (after ").map_or(said, |(said, _)| said);
    let mut kind = format!("{facility} ");
    let mut number = false;
    for c in said.chars() {
        if !c.is_ascii_digit() {
            kind.push(c);
        } else if !number {
            kind.push('#');
        }
        number = c.is_ascii_digit();
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused \
                           (after 0ms in state CONNECT)";

    #[test]
    fn lines_that_differ_only_in_numbers_are_of_one_kind() {
        let again = "[thrd:app]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 13ms in state \
                     CONNECT, 4 identical error(s) suppressed)";
        assert_eq!(kind("FAIL", REFUSED), kind("FAIL", again));
        assert_ne!(kind("FAIL", REFUSED), kind("ERROR", REFUSED));
        assert_ne!(
            kind("FAIL", REFUSED),
            kind("FAIL", "[thrd:app]: 127.0.0.1:1/bootstrap: Disconnected (after 5ms in state UP)")
        );
    }

    #[test]
    fn lines_of_a_kind_are_rate_limited_and_counted() {
        let (mut limit, begin) = (Limit::default(), Instant::now());
        assert_eq!(limit.admit("FAIL", REFUSED, begin), Some(0));
        for _ in 0..7 {
            assert_eq!(limit.admit("FAIL", REFUSED, begin + INTERVAL / 2), None);
        }
        assert_eq!(limit.admit("FAIL", "another", begin + INTERVAL / 2), Some(0));
        assert_eq!(limit.admit("FAIL", REFUSED, begin + INTERVAL), Some(7));
        assert_eq!(limit.admit("FAIL", REFUSED, begin + INTERVAL), None);
    }

    #[test]
    fn kinds_do_not_pile_up() {
        let (mut limit, begin) = (Limit::default(), Instant::now());
        let name = |n: u32| "x".repeat(n as usize);
        for n in 0..=2 * MAX_KINDS as u32 {
            assert_eq!(limit.admit("", &name(n), begin), Some(0), "what is not remembered is written");
        }
        assert_eq!(limit.kinds.len(), MAX_KINDS);
        limit.admit("", &name(MAX_KINDS as u32 + 1), begin + INTERVAL);
        assert_eq!(limit.kinds.len(), 1);
    }
}
