//! Retries with backoff after transient errors.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_log::{Error, Failure};

/// First and maximum pause after a transient error.
const BACKOFF_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Interval at which the stop flag is polled.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pauses between attempts: each twice as long as the last.
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// The backoff before the first error.
    pub(crate) fn new() -> Self {
        Self(BACKOFF_RANGE.0)
    }

    /// Logs the error and waits; a stop ends the wait.
    pub(crate) fn wait(&mut self, error: &Error, stop: &AtomicBool) {
        let Failure { topic, partition, offset, .. } = error.failure();
        tracing::warn!(%error, topic, partition, offset, retry_in = ?self.0, "transient error, retrying");
        let mut left = self.0;
        while !left.is_zero() && !stop.load(Ordering::SeqCst) {
            thread::sleep(left.min(STOP_POLL_INTERVAL));
            left = left.saturating_sub(STOP_POLL_INTERVAL);
        }
        self.0 = (self.0 * 2).min(BACKOFF_RANGE.1);
    }
}

/// Retries transient errors until success or another error; `None` after a stop.
pub(crate) fn retry_with_backoff<T>(
    stop: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut backoff = Backoff::new();
    while !stop.load(Ordering::SeqCst) {
        match attempt() {
            Err(error @ Error::Retry(_)) => backoff.wait(&error, stop),
            other => return other.map(Some),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn transient_errors_are_retried_and_others_returned() {
        let stop = AtomicBool::new(false);
        let mut attempts = 0;
        let done = retry_with_backoff(&stop, || {
            attempts += 1;
            if attempts < 3 { Err(Error::retry("away")) } else { Ok(attempts) }
        });
        assert_eq!(done.unwrap(), Some(3));
        let fatal = || Err::<(), _>(Error::fatal("wrong password"));
        assert_eq!(retry_with_backoff(&stop, fatal), Err(Error::fatal("wrong password")));
        let mut attempts = 0;
        let stopped = retry_with_backoff(&stop, || {
            attempts += 1;
            stop.store(attempts == 2, Ordering::SeqCst);
            Err::<(), _>(Error::retry("away"))
        });
        assert_eq!((stopped, attempts), (Ok(None), 2));
    }
}
