//! `weir serve`: the gateway, fed from Kafka.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context;
use weir_gateway::{Gateway, Limits};
use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Reader, ReaderOptions, Start},
    log::Error,
};

use crate::patience::patiently;

/// Longest wait for records, and so the longest that a live value waits to be told.
const WAIT: Duration = Duration::from_millis(50);

/// Serves the API and the dashboard until `stop`.
///
/// # Errors
/// The address is taken, or the topics cannot be read.
pub fn run(pipeline: &Pipeline, brokers: &str, listen: SocketAddr, stop: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!("the dashboard is at http://{}/", listener.local_addr()?);
    let gateway = Gateway::new(pipeline, Limits::default());
    thread::scope(|scope| {
        let feeder = gateway.clone();
        let fed = scope.spawn(move || {
            let fed = feed(&feeder, brokers, stop);
            stop.store(true, Ordering::SeqCst);
            fed
        });
        let served = gateway.serve(listener, stop);
        stop.store(true, Ordering::SeqCst);
        fed.join().unwrap_or_else(|_| Err(anyhow::anyhow!("reading the topics panicked")))?;
        Ok(served?)
    })
}

/// Gives the gateway what is in the topics, and what comes.
pub(crate) fn feed(gateway: &Gateway, brokers: &str, stop: &AtomicBool) -> anyhow::Result<()> {
    let options = ReaderOptions {
        bootstrap: brokers.to_owned(),
        client_id: "weir-serve".to_owned(),
        extra: Vec::new(),
    };
    let follow = || Reader::follow(&options, &gateway.topics(), Start::Beginning);
    let Some(mut reader) = patiently(stop, follow)? else { return Ok(()) };
    while !stop.load(Ordering::SeqCst) {
        let polled = reader.poll(10_000, WAIT, &mut |topic, record| {
            if let Some(value) = record.value {
                gateway.take(topic, value);
            }
        });
        match polled {
            Ok(0) => gateway.caught_up(),
            Ok(_) => gateway.tell(),
            Err(Error::Retry(why)) => tracing::warn!(reason = %why, "not now"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
