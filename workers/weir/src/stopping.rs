//! Stops a command: the first signal requests a stop, a second one ends the process at once, and so does a stop that takes too long.
//!
//! Threads may be in calls that do not return and so never read a flag: the timeout must not depend on them.

use std::{
    io::Write,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;

/// Maximum time of a stop. A commit that is under way takes milliseconds, a static member's leaving up to 5 s, a request to an
/// unreachable broker 10 s; Kubernetes kills after 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
/// Interval at which the stop flag is polled.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The exit code that shells report for a program ended by ctrl-C.
const INTERRUPTED_EXIT_CODE: i32 = 130;

/// The running parts of the command, and the error of the first that failed.
static RUNNING_PARTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// A part that runs until this is dropped.
pub(crate) struct RunningPart(String);

/// Registers a running part, so that a part that does not stop can be named.
pub(crate) fn register_part(part: &str) -> RunningPart {
    lock(&RUNNING_PARTS).push(part.to_owned());
    RunningPart(part.to_owned())
}

impl Drop for RunningPart {
    fn drop(&mut self) {
        let mut parts = lock(&RUNNING_PARTS);
        if let Some(index) = parts.iter().position(|part| *part == self.0) {
            parts.remove(index);
        }
    }
}

/// Records the error of a part, for the message if another part does not stop.
pub(crate) fn failed(why: &str) {
    lock(&FAILURE).get_or_insert_with(|| why.to_owned());
}

/// The stop flag: set by SIGINT, SIGTERM and SIGHUP, or by the command itself. Ends the process on a second signal, and if it has not
/// stopped in time. `restore` is written to standard output before that: escape sequences that restore the terminal.
///
/// # Errors
/// Signals cannot be listened for.
pub(crate) fn on_signals(restore: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, signalled) = (Arc::clone(&stop), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if signalled.swap(true, Ordering::SeqCst) {
            end(INTERRUPTED_EXIT_CODE, restore, "ended by a second signal");
        }
        flag.store(true, Ordering::SeqCst);
    })
    .context("cannot listen for ctrl-C")?;
    let flag = Arc::clone(&stop);
    thread::Builder::new()
        .name("weir-stopping".to_owned())
        .spawn(move || {
            let why = overdue(&flag, STOP_TIMEOUT);
            end(1, restore, &why);
        })
        .context("cannot start a thread")?;
    Ok(stop)
}

/// Waits until the stop flag has been set for the time `within`; returns a message that names the parts that still run.
fn overdue(stop: &AtomicBool, within: Duration) -> String {
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(STOP_POLL_INTERVAL);
    }
    thread::sleep(within);
    let parts = lock(&RUNNING_PARTS).join(", ");
    let failure = lock(&FAILURE).clone().map(|why| format!("{why}; ")).unwrap_or_default();
    let parts = if parts.is_empty() { "the command".to_owned() } else { parts };
    format!("{failure}{parts} did not stop within {} s: ending the process anyway", within.as_secs_f32())
}

fn end(code: i32, restore: &str, why: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(restore.as_bytes()).and_then(|()| out.flush());
    eprintln!("weir: {why}");
    process::exit(code);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_does_not_stop_is_named() {
        let stop = AtomicBool::new(true);
        // Other tests of this process register the real parts.
        let _hangs = register_part("a part that hangs");
        drop(register_part("a part that stopped"));
        failed("no more room");
        let why = overdue(&stop, Duration::from_millis(1));
        // The first reason of a process is kept, which may be another test's.
        assert!(
            why.contains("; ") && why.contains("a part that hangs") && why.contains(" did not stop within"),
            "{why}"
        );
        assert!(!why.contains("a part that stopped"), "{why}");
    }
}
