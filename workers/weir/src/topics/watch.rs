//! Checks a running pipeline's topics, and whether its generation is still the newest, every few seconds on a thread of its own, which
//! processing never waits for.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use weir_kafka::Connection;
use weir_kafka::admin::Admin;
use weir_log::{Error, identity::AFRESH};
use weir_manifest::Pipeline;

use super::check::{Checked, TopicsError, check, check_again};
use crate::{backoff::Backoff, generation::Recorded, part::Signals};

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time until a problem is checked again: a broker that has just restarted may report stale metadata.
const RECHECK_DELAY: Duration = Duration::from_secs(1);
/// Checks per check of the owners.
const CHECKS_PER_OWNERS_CHECK: u32 = 12;
/// How long a topic may be missing from brokers' responses: before the start, and later.
const MAX_MISSING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// Maximum sleep, so that the end is noticed.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` once the topics are in order. Its argument says when they no longer are, and when another generation has begun. `turn` is called during the wait for the start.
pub(crate) fn watched(
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
    turn: impl Fn(),
    started: impl FnOnce(&Checked),
    work: impl FnOnce(&Signals) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let admin = Admin::new(&Connection::new(brokers, "weir-admin"))?;
    let Some(checked) = first_check(&admin, pipeline, stop, turn)? else { return Ok(()) };
    if !checked.has_live {
        warn_without_live(pipeline);
    }
    started(&checked);
    let (signals, done) = (Arc::new(Signals::default()), Arc::new(AtomicBool::new(false)));
    let recorded = Recorded::new(pipeline, brokers)?;
    let _end = EndOnDrop(&done);
    // The thread is not joined: it may be in a request to an unreachable broker.
    thread::spawn({
        let (pipeline, signals, done) = (pipeline.clone(), Arc::clone(&signals), Arc::clone(&done));
        move || watch((&admin, &recorded), &pipeline, &checked, &signals, &done)
    });
    work(&signals)
}

/// Ends the watch when the work ends, also by a panic.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The first check, which waits for brokers, and briefly for topics; `None` after a stop.
fn first_check(
    admin: &Admin,
    pipeline: &Pipeline,
    stop: &AtomicBool,
    turn: impl Fn(),
) -> anyhow::Result<Option<Checked>> {
    let mut backoff = Backoff::new();
    let mut missing_since = None;
    while !stop.load(Ordering::SeqCst) {
        turn();
        let error = match check(admin, pipeline) {
            Ok(checked) => return Ok(Some(checked)),
            Err(error) => error,
        };
        match &error {
            TopicsError::Wrong(why) => return Err(anyhow!("{why}")),
            TopicsError::Missing(why) => {
                if missing_since.get_or_insert_with(Instant::now).elapsed() > MAX_MISSING.0 {
                    return Err(anyhow!(
                        "{why}: run `weir topics apply` first (under the operator see the pipeline's condition TopicsSynced)"
                    ));
                }
            }
            TopicsError::Unreachable(_) => missing_since = None,
        }
        backoff.wait(&Error::retry(error.why().to_owned()), stop);
    }
    Ok(None)
}

fn warn_without_live(pipeline: &Pipeline) {
    tracing::warn!(
        topic = pipeline.live_topic(),
        "there is no such topic: results go on, and no live values are published. `weir topics apply` makes it"
    );
}

fn watch(
    (admin, recorded): (&Admin, &Recorded),
    pipeline: &Pipeline,
    checked: &Checked,
    signals: &Signals,
    done: &AtomicBool,
) {
    let Signals { fault, superseded } = signals;
    let _fault_on_panic = FaultOnPanic(fault);
    let mut missing_since: Option<Instant> = None;
    let mut before: Option<String> = None;
    let mut had_live = checked.has_live;
    for round in (0..CHECKS_PER_OWNERS_CHECK).cycle() {
        let pause = if before.is_some() { RECHECK_DELAY } else { CHECK_INTERVAL };
        let begun = Instant::now();
        while begun.elapsed() < pause {
            if done.load(Ordering::SeqCst) {
                return;
            }
            thread::sleep(STOP_POLL_INTERVAL);
        }
        match recorded.read() {
            Ok(generations) => {
                if let Some(newest) =
                    generations.newest().filter(|newest| newest.number > pipeline.generation)
                {
                    let _ = superseded.set(newest.number);
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "cannot read the generations"),
        }
        match check_again(admin, pipeline, &checked.ids, round == 0 || before.is_some()) {
            Ok(has_live) => {
                (missing_since, before) = (None, None);
                if has_live && !had_live {
                    tracing::info!(topic = pipeline.live_topic(), "live values are published again");
                } else if had_live && !has_live {
                    warn_without_live(pipeline);
                }
                had_live = has_live;
            }
            Err(TopicsError::Unreachable(why)) => tracing::debug!(reason = why, "cannot check the topics"),
            Err(TopicsError::Missing(why)) => {
                tracing::warn!(reason = why, "a topic is missing");
                if missing_since.get_or_insert_with(Instant::now).elapsed() > MAX_MISSING.1 {
                    let _ = fault.set(format!("{why}: it was deleted while the pipeline ran, which cannot go on without it. Where it held events, blocks or state: {AFRESH}. Any other is made anew by `weir topics apply`; then start again. Under the operator the pipeline's condition TopicsSynced says what to do"));
                    return;
                }
            }
            Err(TopicsError::Wrong(why)) => {
                if before.as_ref() == Some(&why) {
                    let _ = fault.set(why);
                    return;
                }
                before = Some(why);
            }
        }
    }
}

/// Ends the process when the watch panics, because the topics are no longer checked.
struct FaultOnPanic<'a>(&'a OnceLock<String>);

impl Drop for FaultOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.set("the watch over the topics panicked".to_owned());
        }
    }
}
