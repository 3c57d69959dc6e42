//! How a command comes to its end: a signal asks it to stop, a second one ends it at once, and one that does not stop in time is ended.
//!
//! Threads may be inside calls that do not return, so that no flag is ever read: a bound on the way out must not depend on them.

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

/// How long a command that was told to stop may take. A commit that is under way takes milliseconds, a static member's leaving up to 5 s,
/// asking a broker that is away 10 s; Kubernetes kills after 30 s.
const STOPS_WITHIN: Duration = Duration::from_secs(12);
/// Time between two looks at the stop flag.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// What a shell says of a program that was ended by ctrl-C.
const INTERRUPTED: i32 = 130;

/// The parts of the command that are at work, and what was said of the first that failed.
static AT_WORK: Mutex<Vec<String>> = Mutex::new(Vec::new());
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

/// A part that is at work until this is dropped.
pub(crate) struct AtWork(String);

/// Names a part of the command, so that it can be said who does not stop.
pub(crate) fn at_work(part: &str) -> AtWork {
    lock(&AT_WORK).push(part.to_owned());
    AtWork(part.to_owned())
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut parts = lock(&AT_WORK);
        if let Some(index) = parts.iter().position(|part| *part == self.0) {
            parts.remove(index);
        }
    }
}

/// Remembers why a part ended, for the case that another does not.
pub(crate) fn failed(why: &str) {
    lock(&FAILURE).get_or_insert_with(|| why.to_owned());
}

/// The flag that tells a command to stop: set by SIGINT, SIGTERM and SIGHUP, or by the command itself. Ends the process on a second signal, and
/// where it has not ended by itself in time. `restore` is written to standard output before that: what a terminal needs to be itself again.
///
/// # Errors
/// Signals cannot be listened for.
pub(crate) fn on_signals(restore: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, signalled) = (Arc::clone(&stop), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if signalled.swap(true, Ordering::SeqCst) {
            end(INTERRUPTED, restore, "ended by a second signal");
        }
        flag.store(true, Ordering::SeqCst);
    })
    .context("cannot listen for ctrl-C")?;
    let flag = Arc::clone(&stop);
    thread::Builder::new()
        .name("weir-stopping".to_owned())
        .spawn(move || {
            let why = overdue(&flag, STOPS_WITHIN);
            end(1, restore, &why);
        })
        .context("cannot start a thread")?;
    Ok(stop)
}

/// Waits until the command was told to stop and has not for so long, and says who has not.
fn overdue(stop: &AtomicBool, within: Duration) -> String {
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(CHECK_EVERY);
    }
    thread::sleep(within);
    let parts = lock(&AT_WORK).join(", ");
    let failure = lock(&FAILURE).clone().map(|why| format!("{why}; ")).unwrap_or_default();
    let parts = if parts.is_empty() { "the command".to_owned() } else { parts };
    format!("{failure}{parts} did not stop within {} s: ended without", within.as_secs_f32())
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
    fn who_does_not_stop_is_named() {
        let stop = AtomicBool::new(true);
        let _hangs = at_work("stage 2");
        drop(at_work("stage 1"));
        failed("no more room");
        let why = overdue(&stop, Duration::from_millis(1));
        // The first reason of a process is kept, which may be another test's.
        assert!(why.contains("; stage 2 did not stop within"), "{why}");
        assert!(!why.contains("stage 1"), "{why}");
    }
}
