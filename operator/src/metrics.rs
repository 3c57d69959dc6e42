//! The operator's figures.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// How a reconciliation ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ending {
    /// `success` or `failure`.
    pub result: &'static str,
    /// Why it failed, as conditions have it; empty where it did not.
    pub reason: &'static str,
}

/// Objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// The kind.
    pub kind: &'static str,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Pipeline {
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Reconciliations that ended.
    pub reconciles: Family<Ending, Counter>,
    /// How long they took, in seconds.
    pub durations: Histogram,
    /// What is kept as it should be: pipelines, and their objects by kind.
    pub managed: Family<Of, Gauge>,
    /// Whether this process is the one that acts.
    pub leader: Gauge,
    /// Events that wait, where the autoscaler looks.
    pub lag: Family<Pipeline, Gauge>,
    /// Events a second that come, where the autoscaler looks.
    pub arriving: Family<Pipeline, Gauge<f64, AtomicU64>>,
    /// Events a second that are processed, where the autoscaler looks.
    pub processed: Family<Pipeline, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    /// Figures under the prefix `weir_operator`.
    pub fn new() -> (Self, Registry) {
        let metrics = Self {
            reconciles: Family::default(),
            durations: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            managed: Family::default(),
            leader: Gauge::default(),
            lag: Family::default(),
            arriving: Family::default(),
            processed: Family::default(),
        };
        let mut registry = Registry::with_prefix("weir_operator");
        registry.register(
            "reconciles",
            "Reconciliations by result and reason of failure",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciliations take",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "managed_objects",
            "Pipelines, and the objects that are kept for them, by kind",
            metrics.managed.clone(),
        );
        registry.register(
            "is_leader",
            "Whether this process is the one that acts: 1 or 0",
            metrics.leader.clone(),
        );
        registry.register("pipeline_lag_events", "Events that wait to be processed", metrics.lag.clone());
        registry.register(
            "pipeline_arriving_events_per_second",
            "Events that come, a second",
            metrics.arriving.clone(),
        );
        registry.register(
            "pipeline_processed_events_per_second",
            "Events that are processed, a second",
            metrics.processed.clone(),
        );
        (metrics, registry)
    }

    /// Of a pipeline that is gone there is nothing more to say.
    pub(crate) fn forget(&self, pipeline: &Pipeline) {
        self.lag.remove(pipeline);
        self.arriving.remove(pipeline);
        self.processed.remove(pipeline);
    }
}
