//! `weir serve`: the gateway.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{runtime, time};
use weir_gateway::{Gateway, Limits, Options, Server, follow, store::Bounds};
use weir_spec::Pipeline;

use crate::args::Serve;

/// Time between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(50);

/// Serves until `stop`.
///
/// # Errors
/// The address cannot be had. Kafka being away is no error: the gateway says so and waits.
pub fn run(pipeline: &Pipeline, brokers: &str, options: &Serve, stop: &AtomicBool) -> anyhow::Result<()> {
    let Serve { listen, allow_origin, max_clients, keep_hours, keep_mib } = options.clone();
    let bounds = Bounds { age: i64::from(keep_hours) * 3_600_000, bytes: keep_mib as usize * (1 << 20) };
    let limits = Limits { bounds, clients: max_clients as usize, ..Limits::default() };
    let gateway = Gateway::new(pipeline.clone(), limits, &follow::needed(pipeline))?;
    let listening = Options { listen, next_free: false, origins: allow_origin };
    thread::scope(|scope| {
        scope.spawn(|| follow::follow(&gateway, pipeline, brokers, stop));
        let served = serve(&gateway, &listening, stop, |address| println!("the dashboard is at {address}"));
        // Without anybody to answer there is no use in reading.
        stop.store(true, Ordering::SeqCst);
        served
    })
}

/// Serves a gateway until `stop`; `said` hears where, once it listens.
pub(crate) fn serve(
    gateway: &Gateway,
    options: &Options,
    stop: &AtomicBool,
    said: impl FnOnce(&str),
) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the server's threads")?;
    runtime.block_on(async {
        let server = Server::bind(gateway.clone(), options).with_context(|| {
            format!("cannot listen on {}: `--listen` says another address or port", options.listen)
        })?;
        said(&format!("http://{}/", server.address()?));
        server.serve(stopped(stop)).await;
        Ok(())
    })
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        time::sleep(LOOK).await;
    }
}
