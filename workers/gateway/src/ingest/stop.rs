//! How readers are stopped.

use std::{io, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time,
};
use tokio_util::sync::CancellationToken;

/// A stop that threads can wait for. Readers are threads because librdkafka's calls block; a runtime without threads of its own waits
/// for them.
pub(super) struct Stop {
    token: CancellationToken,
    runtime: Runtime,
}

impl Stop {
    pub(super) fn new(token: CancellationToken) -> io::Result<Self> {
        Ok(Self { token, runtime: Builder::new_current_thread().enable_time().build()? })
    }

    pub(super) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for so long, or until the stop.
    pub(super) fn wait(&self, pause: Duration) {
        let stopped = async { time::timeout(pause, self.token.cancelled()).await };
        // Both are an end of the wait.
        let _ = self.runtime.block_on(stopped);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_stop_ends_the_waits_of_all_threads() {
        let (token, waiting) = (CancellationToken::new(), Barrier::new(3));
        let stop = Stop::new(token.clone()).unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    waiting.wait();
                    // Without the stop the test would not end.
                    stop.wait(Duration::from_secs(365 * 86_400));
                    assert!(stop.is_requested());
                });
            }
            waiting.wait();
            token.cancel();
        });
    }

    #[test]
    fn a_wait_ends_without_a_stop() {
        let stop = Stop::new(CancellationToken::new()).unwrap();
        stop.wait(Duration::from_millis(1));
        assert!(!stop.is_requested());
    }
}
