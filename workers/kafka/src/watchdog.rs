//! Runs calls that may never return, with a time limit.
//!
//! Some of librdkafka's transactional calls ignore their timeout (librdkafka #5456, #5511). So they run on a thread of their own, and a
//! call that exceeds its limit is abandoned with everything it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

type Call = Box<dyn FnOnce() + Send>;

/// A thread for calls that may never return: one at a time.
pub(super) struct Watchdog {
    name: String,
    /// `None` before the first call, and after an abandoned one.
    thread: Option<Sender<Call>>,
}

/// A call that did not return in time and was abandoned: what it holds is never freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hung {
    pub(super) limit: Duration,
}

impl Watchdog {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), thread: None }
    }

    /// Runs a call and returns its result. Propagates its panic.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hung> {
        let (answer, answered) = mpsc::sync_channel(1);
        let call: Call = Box::new(move || {
            // The receiver is gone if the call was abandoned.
            let _ = answer.send(call());
        });
        if let Err(mpsc::SendError(call)) = self.thread().send(call) {
            // The last call panicked.
            self.thread = None;
            let _ = self.thread().send(call);
        }
        match answered.recv_timeout(limit) {
            Ok(returned) => Ok(returned),
            Err(RecvTimeoutError::Timeout) => {
                // The thread ends if the call returns after all.
                self.thread = None;
                Err(Hung { limit })
            }
            Err(RecvTimeoutError::Disconnected) => panic!("{} panicked", self.name),
        }
    }

    fn thread(&mut self) -> &Sender<Call> {
        self.thread.get_or_insert_with(|| {
            let (calls, called) = mpsc::channel::<Call>();
            let thread = thread::Builder::new().name(self.name.clone());
            // Without a thread the channel is closed, and the call fails as if its thread had panicked.
            if let Err(error) = thread.spawn(move || called.into_iter().for_each(|call| call())) {
                tracing::error!(%error, "cannot start a thread");
            }
            calls
        })
    }
}

/// Maximum number of closing clients of one reader: each keeps threads and sockets.
pub(super) const MAX_UNCLOSED: u32 = 5;

/// Time limit for closing a client before it is abandoned.
const CLOSE: Duration = Duration::from_secs(10);

/// The closing clients of one reader. One that closes after it was abandoned no longer counts.
#[derive(Debug, Default)]
pub(super) struct Unclosed(Arc<AtomicU32>);

impl Unclosed {
    pub(super) fn too_many(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= MAX_UNCLOSED
    }

    /// Closes a client; returns after [`CLOSE`] at the latest.
    pub(super) fn close<T: Send + 'static>(&self, what: &str, client: T) {
        self.close_within(what, CLOSE, client);
    }

    fn close_within<T: Send + 'static>(&self, what: &str, limit: Duration, client: T) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let count = Arc::clone(&self.0);
        close_within(what, limit, client, move |client| {
            drop(client);
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Closes a client, which may block forever, and waits at most `limit`. Returns whether it closed.
pub(super) fn close_within<T: Send + 'static>(
    what: &str,
    limit: Duration,
    value: T,
    close: impl FnOnce(T) + Send + 'static,
) -> bool {
    let closed = Watchdog::new("weir-close").run(limit, move || close(value)).is_ok();
    if !closed {
        tracing::warn!("{what} did not close within {limit:?}: abandoned");
    }
    closed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_hanging_call_is_abandoned_and_the_next_one_runs() {
        let mut watchdog = Watchdog::new("test");
        assert_eq!(watchdog.run(Duration::from_secs(60), || 1), Ok(1));
        let limit = Duration::from_millis(20);
        let hung = watchdog.run(limit, || {
            loop {
                thread::park();
            }
        });
        assert_eq!(hung, Err::<(), _>(Hung { limit }));
        assert_eq!(watchdog.run(Duration::from_secs(60), || 2), Ok(2));
    }

    #[test]
    fn a_client_that_does_not_close_is_abandoned() {
        struct Stuck;
        impl Drop for Stuck {
            fn drop(&mut self) {
                loop {
                    thread::park();
                }
            }
        }
        assert!(!close_within("something stuck", Duration::from_millis(20), Stuck, drop));
    }

    #[test]
    fn a_client_that_closes_late_no_longer_counts() {
        struct Late(mpsc::Receiver<()>);
        impl Drop for Late {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let unclosed = Unclosed::default();
        let closing: Vec<mpsc::Sender<()>> = (0..MAX_UNCLOSED)
            .map(|_| {
                assert!(!unclosed.too_many());
                let (close, closed) = mpsc::channel();
                unclosed.close_within("a late one", Duration::from_millis(1), Late(closed));
                close
            })
            .collect();
        assert!(unclosed.too_many());
        drop(closing);
        while unclosed.0.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        unclosed.close("one that closes", ());
        assert!(!unclosed.too_many());
    }
}
