//! [`PipelineState`]: everything that a gateway holds of one pipeline.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use weir_analytics::decisive::{settings, settings_in};
use weir_analytics::{Live, Settings};
use weir_events::{PageAnalytics, TopPages};
use weir_log::Generations;
use weir_manifest::{FIRST_GENERATION, Pipeline, Role};

use super::{
    dead_letters::{DeadLetter, DeadLetters},
    live::LiveValues,
    progress::{Progress, ProgressView},
    sample::{EventSample, SampledEvent},
    sources::{Source, Sources},
    windows::{Bounds, WindowStore},
};
use weir_telemetry::millis;

use crate::sync::lock;

/// One pipeline's results, live values and progress.
pub struct PipelineState {
    manifest: Pipeline,
    limits: StateLimits,
    windows: RwLock<WindowStore>,
    live: RwLock<LiveValues>,
    progress: RwLock<Progress>,
    sample: Mutex<EventSample>,
    dead_letters: Mutex<DeadLetters>,
    sources: Mutex<Sources>,
    /// Records that could not be decoded.
    undecodable: AtomicU64,
    /// Windows that became complete and are not rendered yet.
    completed: Mutex<Vec<i64>>,
    /// Notified after each change, for one task that waits for it.
    changed: Notify,
    /// How many times faster than the clock event time runs, where events are simulated.
    simulated: OnceLock<f64>,
    /// The number of the newest generation.
    generation: AtomicU32,
    /// What differs between the newest generation and the document that describes it here.
    outdated: Mutex<Option<String>>,
}

/// Limits of a pipeline's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// Of the sealed windows.
    pub windows: Bounds,
    /// How long ago a topic may have been read to its end. After that the gateway is not ready, and the topic's reader gets a new client.
    pub max_age: Duration,
}

impl Default for StateLimits {
    /// A day, 512 MiB, 30 seconds.
    fn default() -> Self {
        Self { windows: Bounds::default(), max_age: Duration::from_secs(30) }
    }
}

/// Decoded records that are applied together.
#[derive(Default)]
pub struct Records {
    /// Pages' numbers.
    pub rows: Vec<PageAnalytics>,
    /// Rankings.
    pub tops: Vec<TopPages>,
    /// Provisional values.
    pub lives: Vec<Live>,
    /// How many could not be decoded.
    pub undecodable: u64,
    /// The rankings' topic still has its first record, so the first window held is the pipeline's first.
    pub from_beginning: bool,
}

impl Records {
    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tops.is_empty() && self.lives.is_empty() && self.undecodable == 0
    }
}

impl PipelineState {
    /// An empty state. It is not ready before the topics `needed` are read.
    ///
    /// # Errors
    /// Never with the settings that the event sample has.
    pub fn new(
        manifest: Pipeline,
        limits: StateLimits,
        needed: &[&str],
    ) -> Result<Self, weir_events::PrivacyError> {
        let slide = manifest.spec.window.slide.as_millis();
        Ok(Self {
            manifest,
            limits,
            windows: RwLock::new(WindowStore::new(limits.windows, slide)),
            live: RwLock::default(),
            progress: RwLock::default(),
            sample: Mutex::new(EventSample::new()?),
            dead_letters: Mutex::default(),
            sources: Mutex::new(Sources::new(needed, limits.max_age)),
            undecodable: AtomicU64::new(0),
            completed: Mutex::default(),
            changed: Notify::new(),
            simulated: OnceLock::new(),
            generation: AtomicU32::new(FIRST_GENERATION),
            outdated: Mutex::default(),
        })
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.manifest.metadata.name
    }

    /// The document that describes it.
    pub fn manifest(&self) -> &Pipeline {
        &self.manifest
    }

    /// The number of the newest generation.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The pipeline in its newest generation: with the names of its internal topics and groups.
    pub(crate) fn in_generation(&self) -> Pipeline {
        self.manifest.in_generation(self.generation())
    }

    /// Sets what is recorded of the pipeline's generations. A new one has live values of its own.
    pub fn set_generations(&self, generations: &Generations) {
        let newest = generations.newest();
        let number = newest.map_or(FIRST_GENERATION, |newest| newest.number);
        let here = settings(&self.manifest);
        let other = newest.and_then(|newest| settings_in(&newest.settings).ok()).filter(|there| {
            // What shows in no answer of the gateway.
            let Settings { duplicate_slack, page_limit, definitions, .. } = here;
            Settings { duplicate_slack, page_limit, definitions, ..*there } != here
        });
        *lock(&self.outdated) = other.map(|there| {
            format!(
                "generation {number} of the pipeline has windows of {} s every {} s or another ranking than the document of this gateway: \
                 start it again with the newest one",
                there.size / 1_000,
                there.slide / 1_000
            )
        });
        if self.generation.swap(number, Ordering::Relaxed) != number {
            *self.live.write().unwrap_or_else(PoisonError::into_inner) = LiveValues::default();
            self.changed.notify_one();
        }
    }

    /// Drops the read state of a source that is no longer read.
    pub(crate) fn forget(&self, source: &str) {
        lock(&self.sources).forget(source);
    }

    /// Applies records. Their changes are readable when this returns.
    pub fn apply(&self, records: Records) {
        if records.is_empty() {
            return;
        }
        let Records { rows, tops, lives, undecodable, from_beginning } = records;
        self.undecodable.fetch_add(undecodable, Ordering::Relaxed);
        if !(rows.is_empty() && tops.is_empty()) {
            let mut windows = self.windows.write().unwrap_or_else(PoisonError::into_inner);
            windows.begins |= from_beginning;
            rows.iter().for_each(|row| windows.row(row));
            tops.iter().for_each(|top| windows.top(top));
            lock(&self.completed).extend(windows.flush());
        }
        if !lives.is_empty() {
            let at = millis();
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            lives.into_iter().for_each(|values| live.take(values, at));
        }
        self.changed.notify_one();
    }

    /// Offers the value of an event's record to the sample.
    pub fn offer(&self, value: &[u8]) {
        lock(&self.sample).offer(value, millis());
    }

    /// Adds the dead letters read until now, oldest first.
    pub fn add_dead_letters(&self, letters: impl IntoIterator<Item = DeadLetter>) {
        lock(&self.dead_letters).add(letters, millis());
    }

    /// Drops the dead letters: their topic was recreated.
    pub(crate) fn clear_dead_letters(&self) {
        lock(&self.dead_letters).clear();
    }

    /// Sets the read state of a topic.
    pub fn report(&self, topic: &str, source: Source) {
        lock(&self.sources).report(topic, source);
    }

    /// Drops what was read of a topic that was recreated.
    pub(crate) fn restart(&self, role: Role, topic: &str) {
        lock(&self.sources).restart(topic);
        self.windows.write().unwrap_or_else(PoisonError::into_inner).forget(role);
        self.changed.notify_one();
    }

    /// Sets the end up to which results were lost with a topic that was recreated.
    pub fn set_lost_up_to(&self, end: Option<i64>) {
        self.progress.write().unwrap_or_else(PoisonError::into_inner).lost_up_to = end;
    }

    /// Sets the progress of each input partition, in the order of partitions; those without a commit are missing.
    pub fn set_progress(&self, partitions: Vec<ProgressView>) {
        self.progress.write().unwrap_or_else(PoisonError::into_inner).partitions = partitions;
        self.changed.notify_one();
    }

    /// Marks the events as simulated, with event time `speed` times as fast as the clock. The first mark stays.
    pub fn mark_simulated(&self, speed: f64) {
        let _ = self.simulated.set(speed);
    }

    /// How many times faster than the clock event time runs; `None` where events are not simulated by this process.
    pub fn simulated(&self) -> Option<f64> {
        self.simulated.get().copied()
    }

    /// Why the gateway is not ready; `None` while each needed topic was recently read to an end offset requested since its last error.
    pub fn unready(&self) -> Option<String> {
        lock(&self.sources).unready()
    }

    /// Errors of the sources that readiness does not require.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.sources).warnings().into_iter().chain(lock(&self.outdated).clone()).collect()
    }

    /// How long ago a topic may have been read to its end: [`StateLimits::max_age`].
    pub(crate) fn max_age(&self) -> Duration {
        self.limits.max_age
    }

    /// The name of the committed offsets in warnings.
    pub(crate) fn committed_source(&self) -> String {
        let name = self.name();
        format!("what the processors of {name} committed")
    }

    /// Each source, as metrics name it, and how long ago it was last read to its end.
    pub(crate) fn read_ages(&self) -> Vec<(String, Duration)> {
        let committed = self.committed_source();
        let label = |source| if source == committed { "committed-offsets" } else { source };
        lock(&self.sources).ages().map(|(source, age)| (label(source).to_owned(), age)).collect()
    }

    /// The sealed windows, for reading. Hold the lock briefly: records wait meanwhile.
    pub fn windows(&self) -> RwLockReadGuard<'_, WindowStore> {
        self.windows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long before `at` the newest complete window ended, milliseconds.
    pub(crate) fn window_age(&self, at: i64) -> Option<i64> {
        let windows = self.windows();
        windows.latest().filter(|window| window.complete()).map(|window| at - window.end())
    }

    /// The open window's values, all partitions merged; `None` before any were received. Merges without holding the lock.
    pub(crate) fn live(&self) -> Option<Live> {
        let partitions = self.live.read().unwrap_or_else(PoisonError::into_inner).partitions();
        Live::merge(partitions.iter().map(|values| &**values))
    }

    /// When provisional values were last received, by this process's clock.
    pub(crate) fn live_received_at(&self) -> Option<i64> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).received_at()
    }

    /// The pipeline's progress, for reading. Hold the lock briefly.
    pub(crate) fn progress(&self) -> RwLockReadGuard<'_, Progress> {
        self.progress.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Start of the slice of the pipeline's first event, where that is known: of the first window that was ever sealed, or, before any
    /// was, of the open window.
    pub(crate) fn began(&self, open: Option<&Live>) -> Option<i64> {
        let windows = self.windows();
        match windows.stats().windows {
            0 if self.unready().is_none() => open.and_then(|open| open.earliest),
            _ => windows.began(),
        }
    }

    /// The newest sampled events after a number, oldest first.
    pub fn events(&self, after: u64, limit: usize) -> Vec<SampledEvent> {
        lock(&self.sample).recent(after, limit)
    }

    /// The newest dead letters, oldest first; and when their topic was last read to its end.
    pub fn dead_letters(&self, limit: usize) -> (Vec<DeadLetter>, Option<i64>) {
        lock(&self.dead_letters).recent(limit)
    }

    /// Records that could not be decoded or held.
    pub fn unreadable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed) + self.windows().stats().refused
    }

    /// The ends of the windows that became complete since this was last called.
    pub(crate) fn take_completed(&self) -> Vec<i64> {
        std::mem::take(&mut lock(&self.completed))
    }

    /// Wakes the task that waits for changes.
    pub(crate) fn notify(&self) {
        self.changed.notify_one();
    }

    /// Returns after the next change, or at once after a change that no task waited for.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
