//! The topics of a pipeline that runs, looked at every few seconds beside the processing: it never waits for this.

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

use super::check::{Checked, Trouble, check, check_again};
use crate::backoff::Backoff;

/// Time between two looks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time until something that is wrong is looked at once more, so that no broker is believed that has just come back.
const RECHECK_DELAY: Duration = Duration::from_secs(1);
/// Looks between two at the owners.
const OWNERS: u32 = 12;
/// How long a topic may be missing from the answers of brokers: before the start, and later.
const MISSING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// Longest sleep, so that the end is heard.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Does `work` once the topics are as they should be, and hands it the place where the reason appears if they are no longer: then
/// nothing more may be committed. `turn` is called while the start is waited for.
pub(crate) fn watched(
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
    turn: impl Fn(),
    started: impl FnOnce(&Checked),
    work: impl FnOnce(&OnceLock<String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let admin = Admin::new(&Connection::new(brokers, "weir-admin"))?;
    let Some(checked) = first(&admin, pipeline, stop, turn)? else { return Ok(()) };
    if !checked.has_live {
        warn_without_live(pipeline);
    }
    started(&checked);
    let (fault, done) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
    let _end = End(&done);
    // Not waited for: it may be in the middle of a question to a broker that is away.
    thread::spawn({
        let (pipeline, fault, done) = (pipeline.clone(), Arc::clone(&fault), Arc::clone(&done));
        move || watch(&admin, &pipeline, &checked, &fault, &done)
    });
    work(&fault)
}

/// Tells the watch that the work has ended, however it did.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The first look, which waits for brokers, and for a moment for topics; none when told to stop before.
fn first(
    admin: &Admin,
    pipeline: &Pipeline,
    stop: &AtomicBool,
    turn: impl Fn(),
) -> anyhow::Result<Option<Checked>> {
    let mut backoff = Backoff::new();
    let mut missing_since = None;
    while !stop.load(Ordering::SeqCst) {
        turn();
        let trouble = match check(admin, pipeline) {
            Ok(checked) => return Ok(Some(checked)),
            Err(trouble) => trouble,
        };
        match &trouble {
            Trouble::Wrong(why) => return Err(anyhow!("{why}")),
            Trouble::Missing(why) => {
                if missing_since.get_or_insert_with(Instant::now).elapsed() > MISSING.0 {
                    return Err(anyhow!(
                        "{why}: run `weir topics apply` first (under the operator the pipeline's condition TopicsSynced says why not)"
                    ));
                }
            }
            Trouble::Away(_) => missing_since = None,
        }
        backoff.wait(&Error::retry(trouble.why().to_owned()), stop);
    }
    Ok(None)
}

fn warn_without_live(pipeline: &Pipeline) {
    tracing::warn!(
        topic = pipeline.live_topic(),
        "there is no such topic: results go on, and no live values are published. `weir topics apply` makes it"
    );
}

fn watch(admin: &Admin, pipeline: &Pipeline, checked: &Checked, fault: &OnceLock<String>, done: &AtomicBool) {
    let _alarm = Alarm(fault);
    let mut missing_since: Option<Instant> = None;
    let mut before: Option<String> = None;
    let mut had_live = checked.has_live;
    for look in (0..OWNERS).cycle() {
        let pause = if before.is_some() { RECHECK_DELAY } else { CHECK_INTERVAL };
        let begun = Instant::now();
        while begun.elapsed() < pause {
            if done.load(Ordering::SeqCst) {
                return;
            }
            thread::sleep(STOP_POLL_INTERVAL);
        }
        match check_again(admin, pipeline, &checked.ids, look == 0 || before.is_some()) {
            Ok(has_live) => {
                (missing_since, before) = (None, None);
                if has_live && !had_live {
                    tracing::info!(topic = pipeline.live_topic(), "live values are published again");
                } else if had_live && !has_live {
                    warn_without_live(pipeline);
                }
                had_live = has_live;
            }
            Err(Trouble::Away(why)) => tracing::debug!(reason = why, "the topics were not looked at"),
            Err(Trouble::Missing(why)) => {
                tracing::warn!(reason = why, "a topic is not there");
                if missing_since.get_or_insert_with(Instant::now).elapsed() > MISSING.1 {
                    let _ = fault.set(format!("{why}: it was deleted while the pipeline ran, which cannot go on without it. Where it held events, blocks or state: {AFRESH}. Any other is made anew by `weir topics apply`; then start again. Under the operator the pipeline's condition TopicsSynced says what to do"));
                    return;
                }
            }
            Err(Trouble::Wrong(why)) => {
                if before.as_ref() == Some(&why) {
                    let _ = fault.set(why);
                    return;
                }
                before = Some(why);
            }
        }
    }
}

/// A watch that panicked watches no more: that ends the process, too.
struct Alarm<'a>(&'a OnceLock<String>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.set("the watch over the topics panicked".to_owned());
        }
    }
}
