//! Parts of a process, each on a thread of its own: the end of one stops the others.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Scope, ScopedJoinHandle},
};

use anyhow::{Context, anyhow};

/// Sets a flag when it is dropped, so also when a thread panics.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A part that runs.
pub(crate) struct Part<'scope> {
    name: &'static str,
    thread: ScopedJoinHandle<'scope, anyhow::Result<()>>,
}

/// Runs a part of the process. When it ends, by itself, with an error or by a panic, `stop` is set.
///
/// # Errors
/// No thread can be started; `stop` is set then too.
pub(crate) fn part<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    stop: &'scope AtomicBool,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'scope,
) -> anyhow::Result<Part<'scope>> {
    let set = SetOnDrop(stop);
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, move || {
            let _set = set;
            work()
        })
        .with_context(|| format!("cannot start the thread of the {name}"))?;
    Ok(Part { name, thread })
}

impl Part<'_> {
    /// Waits for its end.
    ///
    /// # Errors
    /// The part's error, or its panic.
    pub(crate) fn join(self) -> anyhow::Result<()> {
        let Self { name, thread } = self;
        thread.join().unwrap_or_else(|_| {
            Err(anyhow!("the {name} panicked (its message is above): this is a defect, please report it"))
        })
    }
}

/// Waits for all parts; returns the first error in their order.
pub(crate) fn join_all<'scope>(parts: impl IntoIterator<Item = Part<'scope>>) -> anyhow::Result<()> {
    parts.into_iter().map(Part::join).fold(Ok(()), anyhow::Result::and)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_part_that_panics_or_fails_ends_the_others() {
        for (panics, expected) in [(true, "the clock panicked"), (false, "out of order")] {
            let stop = AtomicBool::new(false);
            let ended = thread::scope(|scope| {
                let waits = part(scope, "bystander", &stop, || {
                    while !stop.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Ok(())
                });
                let fails = part(scope, "clock", &stop, || {
                    assert!(!panics, "as this test wants");
                    Err(anyhow!("out of order"))
                });
                join_all([waits.unwrap(), fails.unwrap()])
            });
            assert!(ended.unwrap_err().to_string().starts_with(expected));
        }
    }
}
