//! Supervised threads: the first that panics ends the others.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use tokio_util::sync::CancellationToken;

use crate::sync::lock;

/// A part of the gateway panicked. What it keeps in memory may be half changed, so the process must end: another one reads
/// everything again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part} panicked: {message}; this is a bug. The process ends, because what it holds may be incomplete; start it again"
)]
pub struct Panicked {
    /// Which part.
    pub part: String,
    /// The panic's message.
    pub message: String,
}

impl Panicked {
    /// The panic of a part, from the payload of `catch_unwind` or of its thread's join.
    pub fn new(part: &str, panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self { part: part.to_owned(), message: text.unwrap_or_else(|| "without a message".to_owned()) }
    }
}

/// One thread's name and work.
pub(crate) type Part<'a> = (String, Box<dyn FnOnce() + Send + 'a>);

/// Runs each part on a thread of its own until all have ended. The first that panics cancels `stop`, which the others obey.
pub(crate) fn supervise(parts: Vec<Part<'_>>, stop: &CancellationToken) -> Result<(), Panicked> {
    let first = Mutex::new(None);
    thread::scope(|scope| {
        for (name, run) in parts {
            let first = &first;
            scope.spawn(move || {
                // After a panic, shared state is used for the shutdown alone.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                    lock(first).get_or_insert(Panicked::new(&name, &*panic));
                    stop.cancel();
                }
            });
        }
    });
    lock(&first).take().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_panic_stops_the_other_parts_and_is_reported() {
        let stop = CancellationToken::new();
        let waits: Part<'_> = (
            "the other reader".to_owned(),
            Box::new(|| {
                while !stop.is_cancelled() {
                    thread::yield_now();
                }
            }),
        );
        let panics: Part<'_> = ("the reader of shop.results".to_owned(), Box::new(|| panic!("planted")));
        let panicked = supervise(vec![waits, panics], &stop).unwrap_err();
        assert_eq!(panicked.message, "planted");
        assert!(panicked.to_string().starts_with("the reader of shop.results panicked: planted; "));
        assert_eq!(supervise(vec![("fine".to_owned(), Box::new(|| ()))], &stop), Ok(()));
    }
}
