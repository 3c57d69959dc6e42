//! Waiting for what may come back by itself.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_log::Error;

/// First and longest pause after an error that may pass.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Longest sleep, so that a stop is heard.
const NAP: Duration = Duration::from_millis(100);

/// The pauses between attempts: each twice as long as the last.
pub(crate) struct Patience(Duration);

impl Patience {
    /// Nothing went wrong yet.
    pub(crate) fn new() -> Self {
        Self(PAUSES.0)
    }

    /// Says what went wrong and waits, unless told to stop.
    pub(crate) fn wait(&mut self, error: &Error, stop: &AtomicBool) {
        tracing::warn!(%error, again_in = ?self.0, "transient error, retrying");
        let mut left = self.0;
        while !left.is_zero() && !stop.load(Ordering::SeqCst) {
            thread::sleep(left.min(NAP));
            left = left.saturating_sub(NAP);
        }
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}

/// Tries until it succeeds or fails for good; `None` when told to stop before.
pub(crate) fn patiently<T>(
    stop: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut patience = Patience::new();
    while !stop.load(Ordering::SeqCst) {
        match attempt() {
            Err(error @ Error::Retry(_)) => patience.wait(&error, stop),
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
    fn what_passes_is_waited_for_and_what_does_not_is_told() {
        let stop = AtomicBool::new(false);
        let mut attempts = 0;
        let done = patiently(&stop, || {
            attempts += 1;
            if attempts < 3 { Err(Error::Retry("away".to_owned())) } else { Ok(attempts) }
        });
        assert_eq!(done.unwrap(), Some(3));
        let fatal = || Err::<(), _>(Error::Fatal("wrong password".to_owned()));
        assert_eq!(patiently(&stop, fatal), Err(Error::Fatal("wrong password".to_owned())));
        let mut attempts = 0;
        let stopped = patiently(&stop, || {
            attempts += 1;
            stop.store(attempts == 2, Ordering::SeqCst);
            Err::<(), _>(Error::Retry("away".to_owned()))
        });
        assert_eq!((stopped, attempts), (Ok(None), 2));
    }
}
