//! The operator's metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// How a reconciliation ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ending {
    /// `success` or `failure`.
    pub result: &'static str,
    /// The reason of a failure, as in conditions; empty on success.
    pub reason: &'static str,
}

/// Label: the kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Of {
    /// The kind.
    pub kind: &'static str,
}

/// Labels: one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Pipeline {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Reconciliations that ended.
    pub reconciles: Family<Ending, Counter>,
    /// Durations of reconciliations, in seconds.
    pub durations: Histogram,
    /// Managed pipelines, and their objects by kind.
    pub managed: Family<Of, Gauge>,
    /// Whether this process is the leader.
    pub leader: Gauge,
    /// Lag of pipelines that the autoscaler samples.
    pub lag: Family<Pipeline, Gauge>,
    /// Incoming events per second of pipelines that the autoscaler samples.
    pub arriving: Family<Pipeline, Gauge<f64, AtomicU64>>,
    /// Processed events per second of pipelines that the autoscaler samples.
    pub processed: Family<Pipeline, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    /// Registers the metrics under the prefix `weir_operator`.
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
            "Durations of reconciliations",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "managed_objects",
            "Managed pipelines and their objects, by kind",
            metrics.managed.clone(),
        );
        registry.register("is_leader", "Whether this process is the leader: 1 or 0", metrics.leader.clone());
        registry.register("pipeline_lag_events", "Events that are not processed yet", metrics.lag.clone());
        registry.register(
            "pipeline_arriving_events_per_second",
            "Incoming events per second",
            metrics.arriving.clone(),
        );
        registry.register(
            "pipeline_processed_events_per_second",
            "Processed events per second",
            metrics.processed.clone(),
        );
        (metrics, registry)
    }

    /// Drops the series of a deleted pipeline.
    pub(crate) fn forget(&self, pipeline: &Pipeline) {
        self.lag.remove(pipeline);
        self.arriving.remove(pipeline);
        self.processed.remove(pipeline);
    }
}
