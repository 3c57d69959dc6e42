//! Failing reads from Kafka: logged once, with a new client after a while.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// Maximum time without progress until a client is replaced; the time doubles with each replacement.
const MAX_RENEWAL: Duration = Duration::from_secs(600);

/// The attempts of one reader.
pub(super) struct Attempts {
    /// The source that it reads, for the log.
    what: String,
    is_failing: bool,
    /// When it last made progress, or got a new client.
    since: Instant,
    first_renewal: Duration,
    /// Time from then until it gets a new client.
    renewal: Duration,
}

impl Attempts {
    /// Nothing was tried yet. After `renewal` without success a new client is due.
    pub(super) fn new(what: impl Into<String>, renewal: Duration) -> Self {
        let since = Instant::now();
        Self { what: what.into(), is_failing: false, since, first_renewal: renewal, renewal }
    }

    /// One succeeded.
    pub(super) fn succeeded(&mut self) {
        if self.is_failing {
            tracing::info!(what = self.what, "readable again");
        }
        self.is_failing = false;
        self.renewal = self.first_renewal;
        self.progressed();
    }

    /// Some records were read.
    pub(super) fn progressed(&mut self) {
        self.since = Instant::now();
    }

    /// One failed: logged at `warn` if the last one had not.
    pub(super) fn failed(&mut self, error: &dyn Display) {
        if self.is_failing {
            tracing::debug!(what = self.what, %error, "still cannot be read");
        } else {
            tracing::warn!(what = self.what, %error, "cannot be read, retrying");
        }
        self.is_failing = true;
    }

    /// Whether a new client is due. It has twice the time of the last one to make progress.
    pub(super) fn is_renewal_due(&mut self) -> bool {
        let due = self.since.elapsed() >= self.renewal;
        if due {
            tracing::warn!(what = self.what, within = ?self.renewal, "nothing was read, replacing the client");
            self.progressed();
            self.renewal = (self.renewal * 2).min(MAX_RENEWAL);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_renewal_takes_twice_as_long_until_something_succeeds() {
        let mut attempts = Attempts::new("topic", Duration::ZERO);
        assert!(attempts.is_renewal_due() && attempts.is_renewal_due());
        attempts.first_renewal = MAX_RENEWAL / 3;
        attempts.succeeded();
        assert!(!attempts.is_renewal_due());
        for expected in [2 * MAX_RENEWAL / 3, MAX_RENEWAL, MAX_RENEWAL] {
            attempts.since -= attempts.renewal;
            assert!(attempts.is_renewal_due());
            assert_eq!(attempts.renewal, expected);
            assert!(!attempts.is_renewal_due(), "not twice in a row");
        }
        attempts.since -= MAX_RENEWAL;
        attempts.progressed();
        assert!(!attempts.is_renewal_due(), "it makes progress");
    }
}
