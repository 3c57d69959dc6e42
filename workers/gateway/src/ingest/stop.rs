//! Stops the readers.

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

    /// Waits for `pause`, or until the stop.
    pub(super) fn wait(&self, pause: Duration) {
        let stopped = async { time::timeout(pause, self.token.cancelled()).await };
        // Timeout and stop both end the wait.
        let _ = self.runtime.block_on(stopped);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn a_stop_ends_the_waits_of_all_threads() {
        let token = CancellationToken::new();
        let stop = Arc::new(Stop::new(token.clone()).unwrap());
        let (ended, endings) = mpsc::channel();
        for _ in 0..2 {
            let (stop, ended) = (Arc::clone(&stop), ended.clone());
            thread::spawn(move || {
                stop.wait(60 * DEADLINE);
                ended.send(stop.is_requested())
            });
        }
        token.cancel();
        for _ in 0..2 {
            assert_eq!(endings.recv_timeout(DEADLINE), Ok(true));
        }
    }

    #[test]
    fn a_wait_ends_without_a_stop() {
        let stop = Stop::new(CancellationToken::new()).unwrap();
        stop.wait(Duration::from_millis(1));
        assert!(!stop.is_requested());
    }
}
