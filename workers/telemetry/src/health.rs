//! What a process says of itself over HTTP: whether it lives, whether it is ready, and its figures for Prometheus.
//!
//! Alive means that its threads still take turns, whatever those turns bring: a broker that is away or a rebalance is no reason
//! to restart anything. Ready means that it does its work, or did until a moment ago.

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

/// Maximum time between two turns of a thread that lives, milliseconds. Longer than any call to Kafka may take.
const LIVENESS_TIMEOUT_MS: i64 = 120_000;
/// Maximum time since work last succeeded while a process is ready, milliseconds.
const READINESS_TIMEOUT_MS: i64 = 30_000;
/// Interval at which the stop flag is polled.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Why health is not served.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address cannot be had.
    #[error("--health: cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server failed.
    #[error("health is not served")]
    Serve(#[source] io::Error),
    /// The server panicked.
    #[error("the health server panicked")]
    Panicked,
}

/// Raises a flag when it is dropped, so also where a thread panics.
struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The signs of life of one thread.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// When it last took a turn, milliseconds since the epoch; 0: not yet.
    turn: AtomicI64,
    /// When its work last succeeded; 0: not yet.
    success: AtomicI64,
    /// It came to its end in good order.
    ended: AtomicBool,
    /// It may wait for as long as it must.
    patient: bool,
}

impl Heartbeat {
    /// A turn was taken.
    pub fn turn(&self) {
        self.turn.store(millis(), Ordering::Relaxed);
    }

    /// A turn was taken, and it did what it is for.
    pub fn success(&self) {
        let now = millis();
        self.turn.store(now, Ordering::Relaxed);
        self.success.store(now, Ordering::Relaxed);
    }

    /// No more turns will come, and need not.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// As before its first turn, so that the next one is seen.
    pub fn reset(&self) {
        self.turn.store(0, Ordering::Relaxed);
    }

    /// Whether no turn was taken for too long.
    pub fn hangs(&self, now: i64) -> bool {
        !self.patient
            && !self.ended.load(Ordering::Relaxed)
            && now - self.turn.load(Ordering::Relaxed) > LIVENESS_TIMEOUT_MS
    }

    /// Whether its work succeeded a short while ago.
    pub fn is_ready(&self, now: i64) -> bool {
        self.ended.load(Ordering::Relaxed)
            || now - self.success.load(Ordering::Relaxed) <= READINESS_TIMEOUT_MS
    }
}

/// What a process says of itself.
#[derive(Debug, Default)]
pub struct Health {
    heartbeats: Vec<(&'static str, Arc<Heartbeat>)>,
    registry: Registry,
}

impl Health {
    /// Figures under the common prefix `weir`.
    pub fn new() -> Self {
        Self { heartbeats: Vec::new(), registry: Registry::with_prefix("weir") }
    }

    /// A thread whose signs of life count. A `patient` one may wait without end, as a producer does for a broker that is away.
    pub fn heartbeat(&mut self, name: &'static str, patient: bool) -> Arc<Heartbeat> {
        let heartbeat = Arc::new(Heartbeat { patient, ..Heartbeat::default() });
        heartbeat.turn();
        self.heartbeats.push((name, Arc::clone(&heartbeat)));
        heartbeat
    }

    /// Where figures are registered.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The threads' heartbeats, in the order in which they were asked for.
    pub fn heartbeats(&self) -> impl Iterator<Item = &Heartbeat> {
        self.heartbeats.iter().map(|(_, heartbeat)| &**heartbeat)
    }

    /// Runs `work` while `/healthz`, `/readyz` and `/metrics` are served at `listen`, if that is wanted.
    ///
    /// # Errors
    /// The address is taken; or as `work` says.
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
                // Also where the work panics: a process that only answers that it lives would never be restarted.
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

/// A registry's metrics, as Prometheus reads them.
///
/// # Errors
/// 500 where they cannot be written down.
pub fn openmetrics(registry: &Registry) -> Result<OpenMetrics, StatusCode> {
    let mut text = String::new();
    encode(&mut text, registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests;
