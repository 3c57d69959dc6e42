//! `weir process`: both stages, each on a thread of its own, against Kafka.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{anyhow, bail};
use weir_analytics::Settings;
use weir_analytics::decisive::{DecisiveSettings, privacy_settings, settings};
use weir_events::{Decoder, Privacy};
use weir_log::{Committed, Error, Member, ResultsProgress};
use weir_manifest::{DeadLetterPayload, FIRST_GENERATION, Management, Pii, Pipeline};
use weir_processor::results::{Results, ResultsOptions};
use weir_processor::stage::Stage;
use weir_processor::windows::{Windows, WindowsOptions};
use weir_processor::worker::{TRANSACTION_BYTES, Worker};
use weir_telemetry::millis;

use crate::{
    backoff::{Backoff, retry_with_backoff},
    generation::{self, Recorded},
    metrics::{Metrics, StageMetrics},
    stopping::{self, register_part},
    summary::Summary,
    topics,
};

/// Maximum wait for records, and so between two checks of the stop flag.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// The same with `--until-end`, where the last steps wait for each other alone.
const POLL_TIMEOUT_UNTIL_END: Duration = Duration::from_millis(5);
/// Maximum bytes of the key's file.
const MAX_KEY_BYTES: u64 = 65_536;
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
        topics::watched(
            pipeline,
            brokers,
            stop,
            turn,
            |checked| metrics.show_topics(pipeline, checked),
            |signals| {
                let part = Part {
                    wait: POLL_TIMEOUT,
                    transaction_bytes: steps.transaction_bytes,
                    metrics: &metrics.windows,
                    not_running: Some(&metrics.results),
                    stop,
                    signals,
                };
                let cut = generation::take_over(pipeline, generations.clone(), &part, connect)?;
                let done = if pipeline.generation == FIRST_GENERATION || cut.is_some() {
                    stages(pipeline, cut, privacy.clone(), *steps, &metrics, stop, signals, connect)
                } else {
                    Ok(())
                };
                done.and_then(|()| signals.result(pipeline))
            },
        )
    })
}

/// What ends the processing beside the user, set by the watch over topics and generations.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Why nothing more may be committed.
    pub(crate) fault: OnceLock<String>,
    /// The generation that has begun: what is done is committed, and the process leaves.
    pub(crate) superseded: OnceLock<u32>,
}

impl Signals {
    fn result(&self, pipeline: &Pipeline) -> anyhow::Result<()> {
        let Some(newer) = self.superseded.get() else { return Ok(()) };
        bail!(
            "generation {newer} of the pipeline {} has begun, and this process has left the one before: start it again with the newest document",
            pipeline.metadata.name
        )
    }
}

/// What a part of the processing is run with.
pub(crate) struct Part<'a> {
    /// Maximum wait for records.
    pub(crate) wait: Duration,
    /// Bytes of outputs after which a transaction is committed.
    pub(crate) transaction_bytes: usize,
    /// Where it is shown.
    pub(crate) metrics: &'a StageMetrics,
    /// While a generation takes over: the other stage, which does not run yet. Nothing is ready until it does.
    pub(crate) not_running: Option<&'a StageMetrics>,
    /// The user's stop.
    pub(crate) stop: &'a AtomicBool,
    /// The watch's.
    pub(crate) signals: &'a Signals,
}

/// Runs both stages on the log of `connect`, which makes members by group and topic. `cut` is the end up to which generations before told
/// the windows.
#[allow(clippy::too_many_arguments, reason = "each is one thing that the two stages share")]
pub(crate) fn stages<M: Member>(
    pipeline: &Pipeline,
    cut: Option<i64>,
    privacy: Privacy,
    Steps { until_end, transaction_bytes }: Steps,
    metrics: &Metrics,
    stop: &AtomicBool,
    signals: &Signals,
    connect: impl Fn(&str, &str) -> Result<M, Error> + Sync,
) -> anyhow::Result<()> {
    let settings = settings(pipeline);
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
                    let done = end == END_OF_EMPTY_LOG
                        || end != UNKNOWN_END && emitted_all(worker.member(), settings, end);
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

impl Part<'_> {
    /// Whether it is to end, with what is done committed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.signals.superseded.get().is_some()
    }

    /// Shows that it is alive.
    pub(crate) fn heartbeat(&self) {
        self.metrics.heartbeat.turn();
        if let Some(not_running) = self.not_running {
            not_running.heartbeat.turn();
        }
    }

    /// Steps a worker until it is done or stopped; retries transient errors.
    ///
    /// # Errors
    /// Errors that need the user's action.
    pub(crate) fn drive<S: Stage, M: Member>(
        &self,
        name: &str,
        mut connect: impl FnMut() -> Result<M, Error>,
        stage: S,
        mut done: impl FnMut(&mut Worker<S, M>) -> bool,
    ) -> Result<(), Error> {
        let Self { wait, transaction_bytes, metrics, not_running, stop, signals } = *self;
        let _stop_on_panic = StopOnPanic(stop);
        let _part = register_part(name);
        let connect = || {
            self.heartbeat();
            connect()
        };
        let Some(member) = retry_with_backoff(stop, connect)? else { return Ok(()) };
        let heartbeats: Vec<_> = [Some(metrics), not_running]
            .into_iter()
            .flatten()
            .map(|stage| Arc::clone(&stage.heartbeat))
            .collect();
        let mut worker = Worker::new(stage, member)
            .with_heartbeat(move || heartbeats.iter().for_each(|heartbeat| heartbeat.turn()))
            .with_transaction_bytes(transaction_bytes);
        let mut backoff = Backoff::new();
        while !self.is_stopped() {
            if let Some(why) = signals.fault.get() {
                return Err(Error::fatal(why.clone()));
            }
            match worker.step(millis(), wait) {
                Ok(()) => {
                    backoff = Backoff::new();
                    if worker.is_assigned() && not_running.is_none() {
                        metrics.heartbeat.success();
                    }
                }
                Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                Err(error) => backoff.wait(&error, stop),
            }
            self.heartbeat();
            metrics.show(worker.counts());
            if done(&mut worker) {
                break;
            }
        }
        // The other stage may have seen the fault first, and stopped this one.
        if let Some(why) = signals.fault.get() {
            return Err(Error::fatal(why.clone()));
        }
        worker.leave()
    }

    /// As [`drive`](Self::drive), of one of the two stages. One is of no use without the other.
    fn drive_to_the_end<S: Stage, M: Member>(
        &self,
        name: &str,
        connect: impl FnMut() -> Result<M, Error>,
        stage: S,
        done: impl FnMut(&mut Worker<S, M>) -> bool,
    ) -> anyhow::Result<()> {
        let result = self.drive(name, connect, stage, done);
        match &result {
            Ok(()) => self.metrics.heartbeat.end(),
            Err(error) => {
                stopping::failed(&error.to_string());
                self.stop.store(true, Ordering::SeqCst);
            }
        }
        result.map_err(|error| anyhow!("{error}"))
    }
}

/// Stops the other stage when this one panics.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
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

/// The document's decisive settings.
pub(crate) fn decisive_settings(pipeline: &Pipeline, privacy: &Privacy) -> DecisiveSettings {
    let max_future = pipeline.spec.window.max_future.as_millis();
    let inputs = pipeline.spec.topics.events.partitions;
    DecisiveSettings::new(&settings(pipeline), max_future, privacy, inputs)
}

fn windows_options(
    pipeline: &Pipeline,
    settings: Settings,
    until_end: bool,
    cut: Option<i64>,
) -> WindowsOptions {
    WindowsOptions {
        settings,
        max_future: pipeline.spec.window.max_future.as_millis(),
        idle_timeout: pipeline.spec.window.idle_timeout.as_millis(),
        // A topic that is not managed here may have another timestamp type.
        stamped_by_broker: pipeline.spec.topics.events.management == Management::Managed,
        until_end,
        snapshot_every: pipeline.snapshot_interval().as_millis(),
        inputs: pipeline.spec.topics.events.partitions,
        events: pipeline.events_topic().to_owned(),
        blocks: pipeline.blocks_topic(),
        state: pipeline.state_topic(),
        live: Some(pipeline.live_topic()),
        dead_letters: pipeline.dead_letters_topic(),
        keep_payload: pipeline.dead_letter_payload() == DeadLetterPayload::Keep,
        cut,
    }
}

/// The options of stage 2, also of a generation that ends.
pub(crate) fn results_options(
    pipeline: &Pipeline,
    settings: Settings,
    cut: Option<i64>,
    ended_by: Option<u32>,
) -> ResultsOptions {
    ResultsOptions {
        settings,
        inputs: pipeline.spec.topics.events.partitions,
        windows: pipeline.windows_group(),
        events: pipeline.events_topic().to_owned(),
        blocks: pipeline.blocks_topic(),
        results: pipeline.results_topic().to_owned(),
        result_partitions: pipeline.spec.topics.results.partitions,
        top_pages: pipeline.top_pages_topic().to_owned(),
        cut,
        ended_by,
    }
}

/// The privacy stage as in the manifest, with the key from the file, or else from `WEIR_PII_KEY`.
///
/// # Errors
/// There is no key where one is needed, or none that is long enough.
pub(crate) fn privacy(pipeline: &Pipeline, key_file: Option<&Path>) -> anyhow::Result<Privacy> {
    let pii = &pipeline.spec.pii;
    let key = if pii.hashes() { pii_key(key_file)? } else { None };
    Privacy::new(privacy_settings(pii), key.as_deref()).map_err(|error| {
        anyhow!("spec.pii: {error} (the key is read from the file --pii-key-file, or from WEIR_PII_KEY)")
    })
}

/// Whether a key is given.
pub(crate) fn has_key(file: Option<&Path>) -> bool {
    file.is_some() || key_variable().is_some()
}

fn key_variable() -> Option<OsString> {
    std::env::var_os("WEIR_PII_KEY").filter(|key| !key.is_empty())
}

/// Every byte is part of the key, also a newline at the end of the file, as in a Secret's entry.
fn pii_key(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let (key, source) = match (file, key_variable()) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            bail!("--pii-key-file and WEIR_PII_KEY: found both, expected one: which is the key?")
        }
        (Some(file), None) => {
            let source = format!("--pii-key-file {}", file.display());
            let key = key_in(file).map_err(|error| anyhow!("{source}: cannot be read: {error}"))?;
            (key, source)
        }
        (None, Some(key)) => (key.into_encoded_bytes(), "WEIR_PII_KEY".to_owned()),
    };
    Pii::check_key(&key).map_err(|wrong| anyhow!("{source}: {wrong}"))?;
    Ok(Some(key))
}

/// The content of a file, or of a link's target: Kubernetes mounts Secrets as links.
fn key_in(file: &Path) -> io::Result<Vec<u8>> {
    // Checked before opening: to open a pipe would block until it has a writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("found no regular file, expected one with the key"));
    }
    let mut key = Vec::new();
    File::open(file)?.take(MAX_KEY_BYTES + 1).read_to_end(&mut key)?;
    if key.len() as u64 > MAX_KEY_BYTES {
        return Err(io::Error::other(format!(
            "found more than {MAX_KEY_BYTES} bytes, expected a key, best 32 random ones"
        )));
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
