//! Liveness, readiness and Prometheus metrics of a process over HTTP.
//!
//! Alive means that its threads still take turns, even unsuccessful ones: an unavailable broker or a rebalance is no reason for a
//! restart. Ready means that its work succeeds, or did until recently.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::millis;

/// Maximum time between two turns of a live thread, milliseconds. Longer than any call to Kafka may take.
const LIVENESS_TIMEOUT_MS: i64 = 120_000;
/// Maximum time since work last succeeded while a process is ready, milliseconds.
const READINESS_TIMEOUT_MS: i64 = 30_000;
/// Interval at which the stop flag is polled.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Errors of the health server.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address cannot be bound.
    #[error("--health: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The server failed.
    #[error("health is not served")]
    Serve(#[source] io::Error),
    /// The server panicked.
    #[error("the health server panicked")]
    Panicked,
}

/// Sets a flag when dropped, also if a thread panics.
struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The heartbeat of one thread.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// When it last took a turn, milliseconds since the epoch; 0: not yet.
    turn: AtomicI64,
    /// When its work last succeeded; 0: not yet.
    success: AtomicI64,
    /// Whether it ended normally.
    ended: AtomicBool,
    /// Whether it may wait without limit.
    patient: bool,
}

impl Heartbeat {
    /// Records a turn.
    pub fn turn(&self) {
        self.turn.store(millis(), Ordering::Relaxed);
    }

    /// Records a successful turn.
    pub fn success(&self) {
        let now = millis();
        self.turn.store(now, Ordering::Relaxed);
        self.success.store(now, Ordering::Relaxed);
    }

    /// Records the normal end: no more turns follow.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Resets to the state before the first turn.
    pub fn reset(&self) {
        self.turn.store(0, Ordering::Relaxed);
    }

    /// Whether the last turn is too long ago.
    pub fn hangs(&self, now: i64) -> bool {
        !self.patient
            && !self.ended.load(Ordering::Relaxed)
            && now - self.turn.load(Ordering::Relaxed) > LIVENESS_TIMEOUT_MS
    }

    /// Whether its work succeeded recently.
    pub fn is_ready(&self, now: i64) -> bool {
        self.ended.load(Ordering::Relaxed)
            || now - self.success.load(Ordering::Relaxed) <= READINESS_TIMEOUT_MS
    }
}

/// Health and metrics of a process.
#[derive(Debug, Default)]
pub struct Health {
    heartbeats: Vec<(&'static str, Arc<Heartbeat>)>,
    registry: Registry,
}

impl Health {
    /// A registry with the common prefix `weir`.
    pub fn new() -> Self {
        Self { heartbeats: Vec::new(), registry: Registry::with_prefix("weir") }
    }

    /// Registers a thread. A `patient` one may wait without limit, as a producer does for an unavailable broker.
    pub fn heartbeat(&mut self, name: &'static str, patient: bool) -> Arc<Heartbeat> {
        let heartbeat = Arc::new(Heartbeat { patient, ..Heartbeat::default() });
        heartbeat.turn();
        self.heartbeats.push((name, Arc::clone(&heartbeat)));
        heartbeat
    }

    /// The metrics registry.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The threads' heartbeats, in the order of registration.
    pub fn heartbeats(&self) -> impl Iterator<Item = &Heartbeat> {
        self.heartbeats.iter().map(|(_, heartbeat)| &**heartbeat)
    }

    /// Runs `work`, and serves `/healthz`, `/readyz` and `/metrics` at `listen`, if given.
    ///
    /// # Errors
    /// The address is taken; or the errors of `work`.
    pub fn beside<E: From<HealthError>>(
        self,
        listen: Option<SocketAddr>,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(address) = listen else { return work() };
        let listener =
            TcpListener::bind(address).map_err(|source| HealthError::Listen { address, source })?;
        let bound = listener.local_addr().map_err(HealthError::Serve)?;
        tracing::info!(address = %bound, "health and metrics");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let server = scope.spawn(|| self.serve(listener, &done));
            let worked = {
                // Also if the work panics: a process that only serves its liveness would never be restarted.
                let _done = RaiseOnDrop(&done);
                work()
            };
            let served = server.join().unwrap_or(Err(HealthError::Panicked));
            worked.and(served.map_err(E::from))
        })
    }

    fn serve(self, listener: TcpListener, done: &AtomicBool) -> Result<(), HealthError> {
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| {
            runtime.block_on(async {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    served = async { axum::serve(listener, routes).await } => served?,
                    () = async { while !done.load(Ordering::SeqCst) { tokio::time::sleep(STOP_POLL_INTERVAL).await } } => {}
                }
                Ok(())
            })
        });
        served.map_err(HealthError::Serve)
    }

    fn all(&self, holds: impl Fn(&Heartbeat) -> bool, blame: &str) -> (StatusCode, String) {
        let blamed: Vec<_> = self
            .heartbeats
            .iter()
            .filter(|(_, heartbeat)| !holds(heartbeat))
            .map(|(name, _)| *name)
            .collect();
        if blamed.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        (StatusCode::SERVICE_UNAVAILABLE, format!("{blame}: {}\n", blamed.join(", ")))
    }
}

async fn healthz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    let now = millis();
    health.all(|heartbeat| !heartbeat.hangs(now), "hangs")
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    let now = millis();
    health.all(|heartbeat| heartbeat.is_ready(now), "not at work")
}

async fn metrics(State(health): State<Arc<Health>>) -> Result<OpenMetrics, StatusCode> {
    openmetrics(&health.registry)
}

/// An answer with metrics.
pub type OpenMetrics = ([(HeaderName, &'static str); 1], String);

/// A registry's metrics in Prometheus' text format.
///
/// # Errors
/// 500 if they cannot be encoded.
pub fn openmetrics(registry: &Registry) -> Result<OpenMetrics, StatusCode> {
    let mut text = String::new();
    encode(&mut text, registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests;
