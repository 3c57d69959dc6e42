//! What a process says of itself over HTTP: whether it lives, whether it is ready, and its figures for Prometheus.
//!
//! Alive means that its threads still take turns, whatever those turns bring: a broker that is away or a rebalance is no reason
//! to restart anything. Ready means that it does its work, or did until a moment ago.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, routing::get};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{process::millis, threads::RaiseOnDrop};

/// A thread without a turn for so long hangs, milliseconds. Longer than any call to Kafka may take.
const HANGS: i64 = 120_000;
/// Work that failed for so long makes a process unready, milliseconds.
const FAILS: i64 = 30_000;
/// Time between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(50);

/// The metrics of life of one thread.
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

    fn hangs(&self, now: i64) -> bool {
        !self.patient
            && !self.ended.load(Ordering::Relaxed)
            && now - self.turn.load(Ordering::Relaxed) > HANGS
    }

    fn is_ready(&self, now: i64) -> bool {
        self.ended.load(Ordering::Relaxed) || now - self.success.load(Ordering::Relaxed) <= FAILS
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

    /// A thread whose metrics of life count. A `patient` one may wait without end, as a producer does for a broker that is away.
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

    /// Runs `work` while `/healthz`, `/readyz` and `/metrics` are served at `listen`, if that is wanted.
    ///
    /// # Errors
    /// The address is taken; or as `work` says.
    pub fn beside(
        self,
        listen: Option<SocketAddr>,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(address) = listen else { return work() };
        let listener =
            TcpListener::bind(address).with_context(|| format!("--health: cannot listen on {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "health and metrics");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let server = scope.spawn(|| self.serve(listener, &done));
            let worked = {
                // Also where the work panics: a process that only answers that it lives would never be restarted.
                let _done = RaiseOnDrop(&done);
                work()
            };
            let served = server.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the health server panicked")));
            worked.and(served)
        })
    }

    fn serve(self, listener: TcpListener, done: &AtomicBool) -> anyhow::Result<()> {
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::select! {
                served = async { axum::serve(listener, routes).await } => served?,
                () = async { while !done.load(Ordering::SeqCst) { tokio::time::sleep(LOOK).await } } => {}
            }
            Ok(())
        })
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

async fn metrics(
    State(health): State<Arc<Health>>,
) -> Result<([(axum::http::HeaderName, &'static str); 1], String), StatusCode> {
    let mut text = String::new();
    encode(&mut text, &health.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests;
