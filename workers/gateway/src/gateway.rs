//! [`Gateway`]: everything that answers share.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, watch};
use weir_analytics::Live;
use weir_manifest::{Pipeline, Role};

use crate::{
    ingest::Batch,
    store::{
        dead_letters::{DeadLetter, DeadLetters},
        live::{Now, Standing},
        sample::{Sample, SampledEvent},
        windows::{Bounds, Store},
    },
    sync::{lock, millis},
    wire::{picture::Picture, topic::Subscriptions},
};

/// One pipeline's results, kept and handed out. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) limits: Limits,
    /// Tells this process from those before and beside it.
    pub(crate) instance: String,
    store: RwLock<Store>,
    now: RwLock<Now>,
    sample: Mutex<Sample>,
    dead_letters: Mutex<DeadLetters>,
    /// By topic, or whatever else is read.
    sources: Mutex<BTreeMap<String, Reading>>,
    /// The topics without which it cannot answer.
    needed: Vec<String>,
    unreadable: AtomicU64,
    /// Windows that became complete and are not in a picture yet.
    completed: Mutex<Vec<i64>>,
    /// Wakes the publisher.
    pub(crate) changed: Notify,
    pub(crate) picture: watch::Sender<Arc<Picture>>,
    /// Set once this process goes away.
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) subscriptions: Mutex<Subscriptions>,
    /// One for every client that may be pushed to.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) clients: AtomicUsize,
    pub(crate) let_go: AtomicU64,
    /// How many times faster than the clock event time runs, where events are simulated.
    simulated: OnceLock<f64>,
}

/// How far reading a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It cannot be read now, because of this.
    Away(String),
    /// It was read to an end that was asked for since the last trouble.
    Following,
}

/// How reading a topic went.
#[derive(Debug, Default)]
struct Reading {
    /// When it was last [`Source::Following`]; none before that.
    reached: Option<Instant>,
    /// What went wrong since.
    failure: Option<String>,
}

impl Reading {
    /// What is wrong, in words that come after the topic's name; `None` inside where nothing is, but that it has not been read to its end yet.
    fn trouble(&self, max_age: Duration) -> Option<Option<String>> {
        match (self.reached, &self.failure) {
            (Some(reached), _) if reached.elapsed() < max_age => None,
            (None, None) => Some(None),
            (None, Some(why)) => Some(Some(format!("cannot be read: {why}"))),
            (Some(_), why) => Some(Some(format!(
                "was last read to its end more than {max_age:?} ago: {}",
                why.as_deref().unwrap_or("brokers answer, but nothing comes of it")
            ))),
        }
    }
}

/// Limits of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the sealed windows.
    pub bounds: Bounds,
    /// Clients that are pushed to at a time.
    pub clients: usize,
    /// How long a client of the WebSocket may take nothing before it is let go.
    pub patience: Duration,
    /// How long ago a topic may have been read to its end. After that the gateway is not ready, and the topic's reader gets a new client.
    pub max_age: Duration,
}

impl Default for Limits {
    /// A day, 512 MiB, 2,000 clients, 10 seconds, 30 seconds.
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            clients: 2_000,
            patience: Duration::from_secs(10),
            max_age: Duration::from_secs(30),
        }
    }
}

impl Gateway {
    /// A gateway that has seen nothing yet, and is not ready before the topics `needed` are read.
    ///
    /// # Errors
    /// Never with the settings that the event sample has.
    pub fn new(
        pipeline: Pipeline,
        limits: Limits,
        needed: &[&str],
    ) -> Result<Self, weir_events::PrivacyError> {
        let slide = pipeline.spec.window.slide.as_millis();
        let sources = needed.iter().map(|topic| ((*topic).to_owned(), Reading::default())).collect();
        Ok(Self {
            shared: Arc::new(Shared {
                pipeline,
                limits,
                instance: format!("{:016x}", RandomState::new().hash_one(0)),
                store: RwLock::new(Store::new(limits.bounds, slide)),
                now: RwLock::default(),
                sample: Mutex::new(Sample::new()?),
                dead_letters: Mutex::default(),
                sources: Mutex::new(sources),
                needed: needed.iter().map(|topic| (*topic).to_owned()).collect(),
                unreadable: AtomicU64::new(0),
                completed: Mutex::default(),
                changed: Notify::new(),
                picture: watch::Sender::default(),
                stopping: watch::Sender::default(),
                subscriptions: Mutex::default(),
                places: Arc::new(Semaphore::new(limits.clients)),
                clients: AtomicUsize::new(0),
                let_go: AtomicU64::new(0),
                simulated: OnceLock::new(),
            }),
        })
    }

    /// Takes records over. What they change is readable when this returns.
    pub fn apply(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let Batch { rows, tops, lives, unreadable, from_beginning } = batch;
        self.shared.unreadable.fetch_add(unreadable, Ordering::Relaxed);
        if !(rows.is_empty() && tops.is_empty()) {
            let mut store = self.shared.store.write().unwrap_or_else(PoisonError::into_inner);
            store.begins |= from_beginning;
            rows.iter().for_each(|row| store.row(row));
            tops.iter().for_each(|top| store.top(top));
            lock(&self.shared.completed).extend(store.settle());
        }
        if !lives.is_empty() {
            let at = millis();
            let mut now = self.shared.now.write().unwrap_or_else(PoisonError::into_inner);
            lives.into_iter().for_each(|live| now.take(live, at));
        }
        self.shared.changed.notify_one();
    }

    /// Offers the value of an event's record to the sample.
    pub fn offer(&self, value: &[u8]) {
        lock(&self.shared.sample).offer(value, millis());
    }

    /// Adds the dead letters that came until now, oldest first.
    pub fn add_dead_letters(&self, letters: impl IntoIterator<Item = DeadLetter>) {
        lock(&self.shared.dead_letters).add(letters, millis());
    }

    /// Drops what was read of a topic of dead letters that another one has taken the place of.
    pub(crate) fn forget_dead_letters(&self) {
        lock(&self.shared.dead_letters).clear();
    }

    /// Says how far reading a topic is.
    pub fn source(&self, topic: &str, source: Source) {
        let mut sources = lock(&self.shared.sources);
        let reading = sources.entry(topic.to_owned()).or_default();
        match source {
            Source::Away(why) => reading.failure = Some(why),
            Source::Following => *reading = Reading { reached: Some(Instant::now()), failure: None },
        }
    }

    /// Drops what was read of a topic that another one has taken the place of.
    pub(crate) fn forget(&self, role: Role, topic: &str) {
        lock(&self.shared.sources).insert(topic.to_owned(), Reading::default());
        self.shared.store.write().unwrap_or_else(PoisonError::into_inner).forget(role);
        self.shared.changed.notify_one();
    }

    /// How long ago a topic may have been read to its end: [`Limits::max_age`].
    pub(crate) fn max_age(&self) -> Duration {
        self.shared.limits.max_age
    }

    /// Why this gateway cannot answer yet, or any more; `None` while each topic that it needs was read, not long ago, to an end that was asked
    /// for since the last trouble.
    pub fn unready(&self) -> Option<String> {
        let sources = lock(&self.shared.sources);
        let mut needed = sources.iter().filter(|(topic, _)| self.shared.needed.contains(topic));
        needed.find_map(|(topic, reading)| {
            let trouble = reading.trouble(self.max_age())?;
            Some(format!("{topic} {}", trouble.as_deref().unwrap_or("is being read from its beginning")))
        })
    }

    /// What it does without: what cannot be read and is not needed to answer.
    pub fn warnings(&self) -> Vec<String> {
        let sources = lock(&self.shared.sources);
        let optional = sources.iter().filter(|(topic, _)| !self.shared.needed.contains(topic));
        optional
            .filter_map(|(topic, reading)| Some(format!("{topic} {}", reading.trouble(self.max_age())??)))
            .collect()
    }

    /// What beside topics is read, as warnings name it.
    pub(crate) fn committed_source(&self) -> String {
        let name = &self.shared.pipeline.metadata.name;
        format!("what the groups {name}.windows and {name}.results committed")
    }

    /// What is read, as metrics name it, and how long ago it was last read to its end.
    pub(crate) fn read_ages(&self) -> Vec<(String, Duration)> {
        let sources = lock(&self.shared.sources);
        let committed = self.committed_source();
        let label = |source: &str| {
            let label = if source == committed { "committed-offsets" } else { source };
            label.to_owned()
        };
        let ages =
            sources.iter().filter_map(|(source, reading)| Some((label(source), reading.reached?.elapsed())));
        ages.collect()
    }

    /// How long before `at` the newest complete window ended, milliseconds.
    pub(crate) fn window_age(&self, at: i64) -> Option<i64> {
        let store = self.store();
        store.latest().filter(|window| window.complete()).map(|window| at - window.end())
    }

    /// The sealed windows, for reading. Held for a moment only: records wait meanwhile.
    pub fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.shared.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the end up to which results went with a topic that was made anew.
    pub fn lost(&self, up_to: Option<i64>) {
        self.shared.now.write().unwrap_or_else(PoisonError::into_inner).lost(up_to);
    }

    /// Takes where the pipeline stands in each input partition.
    pub fn stand(&self, standings: Vec<Standing>) {
        self.shared.now.write().unwrap_or_else(PoisonError::into_inner).stand(standings);
        self.shared.changed.notify_one();
    }

    /// What is so right now, for reading. Held for a moment only.
    pub fn now(&self) -> RwLockReadGuard<'_, Now> {
        self.shared.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Start of the slice of the pipeline's first event, where that is known: of the first window that was ever sealed, or, before any
    /// was, of what the open window shows.
    pub(crate) fn began(&self, open: Option<&Live>) -> Option<i64> {
        let store = self.store();
        match store.held().0 {
            0 if self.unready().is_none() => open.and_then(|open| open.earliest),
            _ => store.began(),
        }
    }

    /// The newest sampled events after a number, oldest first.
    pub fn events(&self, after: u64, limit: usize) -> Vec<SampledEvent> {
        lock(&self.shared.sample).recent(after, limit)
    }

    /// The newest dead letters, oldest first; and when their topic was last read to its end.
    pub fn dead_letters(&self, limit: usize) -> (Vec<DeadLetter>, Option<i64>) {
        lock(&self.shared.dead_letters).recent(limit)
    }

    /// Marks what is shown as simulated, with event time that runs so many times faster than the clock. The first mark stays.
    pub fn mark_simulated(&self, speed: f64) {
        let _ = self.shared.simulated.set(speed);
    }

    /// How many times faster than the clock event time runs; `None` where events are not simulated by this process.
    pub fn simulated(&self) -> Option<f64> {
        self.shared.simulated.get().copied()
    }

    /// Records that could not be read or held.
    pub fn unreadable(&self) -> u64 {
        self.shared.unreadable.load(Ordering::Relaxed) + self.store().held().3
    }

    /// Done once this process goes away.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.shared.stopping.subscribe();
        // It cannot be dropped while this gateway lives.
        let _ = stopping.wait_for(|stopping| *stopping).await.is_ok();
    }

    pub(crate) fn take_completed(&self) -> Vec<i64> {
        std::mem::take(&mut lock(&self.shared.completed))
    }
}
