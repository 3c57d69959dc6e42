//! `/healthz`, `/readyz` and `/metrics`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use weir_telemetry::{OpenMetrics, openmetrics};

/// State of the health endpoints. `/healthz` answers as long as the process runs: fatal errors end it.
#[derive(Debug)]
pub struct Health {
    /// Whether the API server has answered, so that the process may become leader.
    pub ready: AtomicBool,
    /// Its metrics.
    pub registry: Registry,
}

impl Health {
    /// Not ready yet.
    pub fn new(registry: Registry) -> Self {
        Self { ready: AtomicBool::new(false), registry }
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Result<OpenMetrics, StatusCode> {
    openmetrics(&health.registry)
}
