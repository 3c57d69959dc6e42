//! The heartbeats and the metrics of a processing process.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use weir_manifest::Pipeline;
use weir_processor::{windows, worker};
use weir_telemetry::{Health, Heartbeat};

/// The metrics of both stages.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Stage 1.
    pub(crate) windows: StageMetrics,
    /// The outcomes of records in stage 1.
    pub(crate) outcomes: Outcomes,
    /// Stage 2.
    pub(crate) results: StageMetrics,
    /// Whether the events topic is stamped by its producers' clocks.
    producers_clock: Gauge,
}

/// The metrics of one stage.
#[derive(Debug, Default)]
pub(crate) struct StageMetrics {
    /// Whether its thread is alive and at work.
    pub(crate) heartbeat: Arc<Heartbeat>,
    records: Counter,
    outputs: Counter,
    commits: Counter,
    committing: Counter<f64, AtomicU64>,
    aborts: Counter,
}

/// Counts of records by outcome.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    counted: Counter,
    late: Counter,
    partly_late: Counter,
    duplicates: Counter,
    other_pages: Counter,
    misplaced: Counter,
    invalid: Counter,
    sealed: Counter,
    snapshots: Counter,
}

impl Metrics {
    /// All metrics, registered with the health endpoint.
    pub(crate) fn registered() -> (Health, Self) {
        let mut health = Health::new();
        let metrics = Self {
            windows: StageMetrics::registered(&mut health, "windows"),
            results: StageMetrics::registered(&mut health, "results"),
            outcomes: Outcomes::default(),
            producers_clock: Gauge::default(),
        };
        health.registry().register(
            "events_stamped_by_producers",
            "1 where the events topic has message.timestamp.type=CreateTime, so that a producer's wrong clock moves the watermark",
            metrics.producers_clock.clone(),
        );
        metrics.outcomes.register(health.registry());
        (health, metrics)
    }
}

impl Metrics {
    /// Publishes the result of the topics' check, and warns of settings that are allowed but risky.
    pub(crate) fn show_topics(&self, pipeline: &Pipeline, producers_clock: bool) {
        self.producers_clock.set(producers_clock.into());
        if producers_clock {
            tracing::warn!(
                topic = pipeline.events_topic(),
                "the events topic has message.timestamp.type=CreateTime: maxFuture compares events with the clocks of those who send \
                 them, and one that is fast moves the watermark, which makes everybody else's events late. Set \
                 message.timestamp.type=LogAppendTime on the topic"
            );
        }
    }
}

impl StageMetrics {
    fn registered(health: &mut Health, stage: &'static str) -> Self {
        let metrics = Self { heartbeat: health.heartbeat(stage, false), ..Self::default() };
        let registry = health.registry().sub_registry_with_label(("stage".into(), stage.into()));
        registry.register("records_read", "Records read, those read again included", metrics.records.clone());
        registry.register("records_written", "Records written and committed", metrics.outputs.clone());
        registry.register("commits", "Transactions committed", metrics.commits.clone());
        registry.register(
            "commit_seconds",
            "Time that committed transactions took",
            metrics.committing.clone(),
        );
        registry.register("aborts", "Transactions given up and done again", metrics.aborts.clone());
        metrics
    }

    /// Publishes the counts of the stage's worker.
    pub(crate) fn show(&self, counts: worker::Counts) {
        let counters = [
            (&self.records, counts.records),
            (&self.outputs, counts.outputs),
            (&self.commits, counts.commits),
            (&self.aborts, counts.aborts),
        ];
        counters.iter().for_each(|(counter, count)| counter.inner().store(*count, Ordering::Relaxed));
        self.committing.inner().store(counts.committing.as_secs_f64().to_bits(), Ordering::Relaxed);
    }
}

impl Outcomes {
    fn register(&self, registry: &mut Registry) {
        registry.register("events_counted", "Events counted", self.counted.clone());
        registry.register("events_late", "Events all of whose windows were sealed", self.late.clone());
        registry.register(
            "events_partly_late",
            "Events counted that missed some of their windows, because those were sealed",
            self.partly_late.clone(),
        );
        registry.register(
            "events_duplicate",
            "Events that had been counted before, by user_id and event_id",
            self.duplicates.clone(),
        );
        registry.register(
            "events_other_page",
            "Events counted under the page (other), because too many pages were live",
            self.other_pages.clone(),
        );
        registry.register(
            "events_misplaced",
            "Events of visitors who belong into another partition: each is counted once in every partition that it appears in",
            self.misplaced.clone(),
        );
        registry.register("events_invalid", "Records that are no valid event", self.invalid.clone());
        registry.register("windows_sealed", "Windows sealed, one per input partition", self.sealed.clone());
        registry.register("snapshots", "Snapshots of a partition's state", self.snapshots.clone());
    }

    /// Publishes the outcomes so far.
    pub(crate) fn show(&self, outcomes: &windows::Outcomes) {
        let counters = [
            (&self.counted, outcomes.counted),
            (&self.late, outcomes.late),
            (&self.partly_late, outcomes.partly_late),
            (&self.duplicates, outcomes.duplicates),
            (&self.other_pages, outcomes.other_pages),
            (&self.misplaced, outcomes.misplaced),
            (&self.invalid, outcomes.invalid),
            (&self.sealed, outcomes.sealed),
            (&self.snapshots, outcomes.snapshots),
        ];
        counters.iter().for_each(|(counter, count)| counter.inner().store(*count, Ordering::Relaxed));
    }
}
