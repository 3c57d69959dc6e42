//! The gateway's own metrics for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{extract::State, http::StatusCode};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use weir_telemetry::{OpenMetrics, millis, openmetrics};

use crate::{Gateway, store::windows::StoreStats};

type Seconds = Gauge<f64, AtomicU64>;

/// The values at the time of the request. An unknown value has no line.
pub async fn metrics(State(gateway): State<Gateway>) -> Result<OpenMetrics, StatusCode> {
    let state = &gateway.shared.default.state;
    let mut registry = Registry::with_prefix("weir_gateway");
    let gauge = |registry: &mut Registry, name: &str, help: &str, value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let is_ready = state.unready().is_none();
    gauge(&mut registry, "ready", "Whether /readyz reports ready", is_ready.into());
    if let Some(age) = state.window_age(millis()) {
        let seconds = Seconds::default();
        seconds.set(age as f64 / 1_000.0);
        let help = "How long ago the newest complete window ended";
        registry.register("newest_window_age_seconds", help, seconds);
    }
    let ages = Family::<[(&str, String); 1], Seconds>::default();
    for (topic, age) in state.read_ages() {
        ages.get_or_create(&[("source", topic)]).set(age.as_secs_f64());
    }
    registry.register("read_age_seconds", "How long ago it was last read to its end", ages);
    let clients = gateway.shared.clients.load(Ordering::Relaxed);
    gauge(&mut registry, "clients", "Clients that are pushed to", clients as i64);
    let StoreStats { windows, bytes, .. } = state.windows().stats();
    gauge(&mut registry, "windows", "Sealed windows held", windows as i64);
    gauge(&mut registry, "window_bytes", "Bytes of the windows held, without the pages' URLs", bytes as i64);
    openmetrics(&registry)
}
