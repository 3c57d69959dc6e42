//! `weir serve`: the gateway.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{runtime, time};
use tokio_util::sync::CancellationToken;
use weir_gateway::{
    ClientLimits, Gateway, Panicked, Server, ServerOptions, ingest,
    store::{PipelineState, StateLimits, windows::Bounds},
};
use weir_manifest::Pipeline;

use crate::args::Serve;

/// Interval at which the stop flag is polled.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum wait for the readers to end.
const READERS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until `stop`.
///
/// # Errors
/// The address cannot be bound, or a part panicked. An unreachable Kafka is no error: the gateway reports it and retries.
pub fn run(pipeline: &Pipeline, brokers: &str, options: &Serve, stop: &AtomicBool) -> anyhow::Result<()> {
    let Serve { listen, allow_origin, max_clients, keep_hours, keep_mib } = options.clone();
    let windows = Bounds { age: i64::from(keep_hours) * 3_600_000, bytes: keep_mib as usize * (1 << 20) };
    let limits = StateLimits { windows, ..StateLimits::default() };
    let state = Arc::new(PipelineState::new(pipeline.clone(), limits, &ingest::needed(pipeline))?);
    let limits = ClientLimits { max_clients: max_clients as usize, ..ClientLimits::default() };
    let gateway = Gateway::new(Arc::clone(&state), [], limits);
    let listening = ServerOptions { listen, next_free: false, origins: allow_origin };
    let follow = {
        let brokers = brokers.to_owned();
        move |ending: &CancellationToken| ingest::follow(&state, &brokers, ending)
    };
    serve_while(follow, &gateway, &listening, stop)
}

/// Serves until `stop`, or until `follow` ends, which it does where a part of it panicked.
fn serve_while(
    follow: impl FnOnce(&CancellationToken) -> Result<(), Panicked> + Send + 'static,
    gateway: &Gateway,
    listening: &ServerOptions,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let ending = CancellationToken::new();
    let readers = {
        let ending = ending.clone();
        thread::spawn(move || follow(&ending))
    };
    // A gateway that no longer reads must not go on serving old values.
    let stopped = || stop.load(Ordering::SeqCst) || readers.is_finished();
    let served = serve(gateway, listening, stopped, |address| {
        let mut out = io::stdout();
        writeln!(out, "the dashboard is at {address}")?;
        out.flush()
    });
    ending.cancel();
    // Readers write nothing, so one that is blocked by an unreachable broker can be left behind.
    let deadline = Instant::now() + READERS_STOP_TIMEOUT;
    while !readers.is_finished() && Instant::now() < deadline {
        thread::sleep(STOP_POLL_INTERVAL);
    }
    let followed = match readers.is_finished() {
        false => Ok(()),
        true => readers.join().unwrap_or_else(|panic| Err(Panicked::new("the readers", &*panic))),
    };
    served.and(followed.map_err(Into::into))
}

/// Serves a gateway until `stop`; calls `announce` with the address once it listens.
pub(crate) fn serve(
    gateway: &Gateway,
    options: &ServerOptions,
    stop: impl Fn() -> bool,
    announce: impl FnOnce(&str) -> io::Result<()>,
) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the server's threads")?;
    let served = runtime.block_on(async {
        let server = Server::bind(gateway.clone(), options).with_context(|| cannot_listen(options.listen))?;
        announce(&format!("http://{}/", server.address()?))?;
        Ok(server.serve(stopped(stop)).await?)
    });
    // Handlers only read, so none is waited for.
    runtime.shutdown_background();
    served
}

/// The error message for an address that cannot be bound.
pub(crate) fn cannot_listen(address: SocketAddr) -> String {
    format!("cannot listen on {address}: choose another address or port with `--listen`")
}

async fn stopped(stop: impl Fn() -> bool) {
    while !stop() {
        time::sleep(STOP_POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The error of serving until `follow` ends.
    fn error_of(follow: impl FnOnce(&CancellationToken) -> Result<(), Panicked> + Send + 'static) -> String {
        let state = PipelineState::new(Pipeline::demo(), StateLimits::default(), &[]).unwrap();
        let gateway = Gateway::new(Arc::new(state), [], ClientLimits::default());
        let listening =
            ServerOptions { listen: ([127, 0, 0, 1], 0).into(), next_free: false, origins: Vec::new() };
        serve_while(follow, &gateway, &listening, &AtomicBool::new(false)).unwrap_err().to_string()
    }

    #[test]
    fn a_reader_that_panics_ends_the_process_with_an_error() {
        let message = error_of(|_| Err(Panicked::new("the reader of shop.results", &"planted")));
        assert!(message.starts_with("the reader of shop.results panicked: planted"), "{message}");
        let message = error_of(|_| panic!("planted"));
        assert!(message.starts_with("the readers panicked: planted"), "{message}");
    }
}
