//! `weir process`: both stages, each on a thread of its own, against Kafka.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use weir_analytics::Settings;
use weir_events::{Decoder, Privacy};
use weir_log::{Committed, Error, Member, ResultsProgress};
use weir_manifest::{FIRST_GENERATION, Pipeline};
use weir_processor::results::Results;
use weir_processor::windows::Windows;
use weir_processor::worker::TRANSACTION_BYTES;
use weir_telemetry::millis;

use crate::{
    backoff::retry_with_backoff,
    generation::{self, Recorded},
    key::{decisive_settings, privacy},
    metrics::Metrics,
    part::{Part, Signals},
    stages::{results_options, windows_options},
    summary::Summary,
    takeover, topics,
};

/// Maximum wait for records, and so between two checks of the stop flag.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// The same with `--until-end`, where the last steps wait for each other alone.
const POLL_TIMEOUT_UNTIL_END: Duration = Duration::from_millis(5);
/// The end that both threads share: not known yet, and that of a log without an event.
const UNKNOWN_END: i64 = i64::MIN;
const END_OF_EMPTY_LOG: i64 = i64::MIN + 1;

/// Options of `weir process`.
#[derive(Debug, Clone, Default)]
pub struct ProcessOptions {
    /// Where the stages end, and how much they commit at a time.
    pub steps: Steps,
    /// A name that stays over restarts.
    pub instance: Option<String>,
    /// Where health and metrics are served.
    pub health: Option<SocketAddr>,
    /// The file with the key that `spec.pii` hashes with.
    pub pii_key_file: Option<PathBuf>,
}

/// Where the stages end, and how much they commit at a time.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Whether they end once everything that was in the log is in the results.
    pub until_end: bool,
    /// Bytes of outputs after which a transaction is committed.
    pub transaction_bytes: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Self { until_end: false, transaction_bytes: TRANSACTION_BYTES }
    }
}

/// Runs both stages until `stop`, or to the end.
///
/// # Errors
/// Errors that need the user's action.
pub fn run(
    pipeline: &Pipeline,
    brokers: &str,
    options: &ProcessOptions,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let ProcessOptions { steps, instance, health, pii_key_file } = options;
    // Before waiting for brokers: without the key nothing can start.
    let privacy = privacy(pipeline, pii_key_file.as_deref())?;
    let decisive = decisive_settings(pipeline, &privacy);
    // With a stable name a restart aborts its predecessor's open transactions at once.
    let name = instance.clone().unwrap_or_else(|| format!("{}-{}", std::process::id(), millis()));
    let (watched, metrics) = Metrics::registered();
    let recording = pipeline.generations_topic();
    let connect = |group: &str, topic: &str| {
        // All processes record generations under one transactional id: of two that do so at once, one fails.
        let of_its_own = group != recording;
        let transactional_id = if of_its_own { format!("{group}.{name}") } else { group.to_owned() };
        let mut options = weir_kafka::MemberOptions::new(brokers, group, topic, &transactional_id);
        options.instance = instance.clone().filter(|_| of_its_own);
        weir_kafka::Member::connect(options)
    };
    watched.beside(*health, || {
        let turn = || {
            metrics.windows.heartbeat.turn();
            metrics.results.heartbeat.turn();
        };
        let recorded = Recorded::new(pipeline, brokers)?;
        let read = || {
            turn();
            recorded.read()
        };
        let Some(generations) = retry_with_backoff(stop, read)? else { return Ok(()) };
        let pipeline = &generation::current(pipeline, &decisive, &generations)?;
        let settings = generation::settings(pipeline, &generations)?;
        topics::watched(
            pipeline,
            brokers,
            stop,
            turn,
            |checked| metrics.show_topics(pipeline, checked.producers_clock),
            |signals| {
                let part = Part {
                    wait: POLL_TIMEOUT,
                    transaction_bytes: steps.transaction_bytes,
                    metrics: &metrics.windows,
                    not_running: Some(&metrics.results),
                    stop,
                    signals,
                };
                let cut = takeover::take_over(pipeline, generations.clone(), &part, connect)?;
                let done = if pipeline.generation == FIRST_GENERATION || cut.is_some() {
                    stages(pipeline, settings, cut, privacy.clone(), *steps, &metrics, stop, signals, connect)
                } else {
                    Ok(())
                };
                done.and_then(|()| signals.result(pipeline))
            },
        )
    })
}

/// Runs both stages on the log of `connect`, which makes members by group and topic. `cut` is the end up to which generations before told
/// the windows.
#[allow(clippy::too_many_arguments, reason = "each is one thing that the two stages share")]
pub(crate) fn stages<M: Member>(
    pipeline: &Pipeline,
    settings: Settings,
    cut: Option<i64>,
    privacy: Privacy,
    Steps { until_end, transaction_bytes }: Steps,
    metrics: &Metrics,
    stop: &AtomicBool,
    signals: &Signals,
    connect: impl Fn(&str, &str) -> Result<M, Error> + Sync,
) -> anyhow::Result<()> {
    let end = AtomicI64::new(UNKNOWN_END);
    let summary = Mutex::new(Summary::default());
    let summarize = |change: &dyn Fn(&mut Summary)| {
        change(&mut summary.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let wait = if until_end { POLL_TIMEOUT_UNTIL_END } else { POLL_TIMEOUT };
    let part = |metrics| Part { wait, transaction_bytes, metrics, not_running: None, stop, signals };
    let done = thread::scope(|scope| {
        let first = scope.spawn(|| {
            let options = windows_options(pipeline, settings, until_end, cut);
            let stage = Windows::new(options, Decoder::new(), privacy);
            part(&metrics.windows).drive_to_the_end(
                "stage 1 (windows)",
                || connect(&pipeline.windows_group(), pipeline.events_topic()),
                stage,
                |worker| {
                    metrics.outcomes.show(worker.stage().committed_outcomes());
                    summarize(&|summary| summary.outcomes.clone_from(worker.stage().committed_outcomes()));
                    if let Some(last) = worker.stage().end_of_log() {
                        end.store(last.last_window_end().unwrap_or(END_OF_EMPTY_LOG), Ordering::SeqCst);
                    }
                    // Stage 2 decides when everything is done.
                    false
                },
            )
        });
        let second = scope.spawn(|| {
            let stage = Results::new(results_options(pipeline, settings, cut, None));
            let done = part(&metrics.results).drive_to_the_end(
                "stage 2 (results)",
                || connect(&pipeline.results_group(), &pipeline.blocks_topic()),
                stage,
                |worker| {
                    let end = end.load(Ordering::SeqCst);
                    let tells_nothing = worker.stage().nothing_told_up_to() >= Some(end);
                    let done = end == END_OF_EMPTY_LOG
                        || end != UNKNOWN_END
                            && (tells_nothing || emitted_all(worker.member(), settings, end));
                    let windows = worker.stage().committed_windows();
                    summarize(&|summary| (summary.windows, summary.reached_the_end) = (windows, done));
                    done
                },
            );
            stop.store(true, Ordering::SeqCst);
            done
        });
        let first = first.join().map_err(|_| anyhow!("stage 1 panicked"))?;
        let second = second.join().map_err(|_| anyhow!("stage 2 panicked"))?;
        first.and(second)
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.reached_the_end &= done.is_ok();
    if until_end {
        println!("{summary}");
    }
    done
}

/// Whether every lane has emitted its last window that ends at or before `end`.
fn emitted_all<M: Member>(member: &mut M, settings: Settings, end: i64) -> bool {
    let Ok(lanes) = member.committed() else { return false };
    let emitted = |committed: &Option<Committed>| {
        let committed = committed.as_ref()?;
        serde_json::from_str::<ResultsProgress>(&committed.metadata).ok()?.emitted
    };
    (0..i64::from(settings.lanes)).all(|back| {
        let last = end - back * settings.slide;
        lanes.get(settings.lane(last) as usize).and_then(emitted).is_some_and(|emitted| emitted >= last)
    })
}

#[cfg(test)]
mod tests;
