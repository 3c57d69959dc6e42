//! `weir demo`: the whole product in one process, on a log in memory or on Kafka.

mod in_memory;
mod on_kafka;
mod opening;
mod simulation;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread::Scope,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use weir_gateway::{
    ClientLimits, Gateway, ingest,
    store::{PipelineState, StateLimits},
};
use weir_generator::{Burst, Faults, Generator};
use weir_manifest::Pipeline;

use self::simulation::Simulation;
use crate::{
    generate,
    serve::{serve, taken},
    threads::{Part, part},
};

/// How long a demo can run before fast event time overtakes the clock, milliseconds.
const LASTS: i64 = 24 * 3_600_000;
/// What is computed before a demo opens, milliseconds of event time: the dashboard's chart, and enough for trends to know
/// what is usual. Fewer where that were more events than some seconds are enough for.
const HISTORY: i64 = 2 * 3_600_000;
const MAX_HISTORY_EVENTS: f64 = 1_500_000.0;
/// What the shop advertises now and then, so that there is something to see among the trends: no page of the first.
const ADVERTISED: Burst = Burst { page: 25, every: 600_000, length: 120_000, share: 0.1 };
/// Where the dashboard listens if nothing is said, or on the next free port.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_080);

/// What can be said about a demo.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many times faster than the clock event time runs; 1 or more.
    pub speed: f64,
    /// Where the dashboard listens. `None`: on the loopback address, the first free port from 8080 on.
    pub listen: Option<SocketAddr>,
}

/// Simulates a shop, processes its clicks and shows what comes out, until `stop`: on `brokers`, or else in memory.
///
/// # Errors
/// Options that make no sense, or a part that failed.
pub fn run(
    pipeline: &Pipeline,
    brokers: Option<&str>,
    options: &Options,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let Options { speed, listen } = *options;
    if let Some(address) = listen {
        // Before the history is computed, not after.
        TcpListener::bind(address).with_context(|| taken(address))?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    // In memory nothing is there before it is shown.
    let needed = brokers.map_or(Vec::new(), |_| ingest::needed(pipeline).to_vec());
    let state = Arc::new(PipelineState::new(pipeline.clone(), StateLimits::default(), &needed)?);
    state.mark_simulated(speed);
    let demo = Demo {
        pipeline,
        gateway: Gateway::new(Arc::clone(&state), [], ClientLimits::default()),
        state,
        listen,
        speed,
        begun: Instant::now(),
        start: now - ((speed - 1.0) * LASTS as f64) as i64,
        address: OnceLock::new(),
        stop,
    };
    match brokers {
        None => in_memory::run(&demo),
        Some(brokers) => on_kafka::run(&demo, brokers),
    }
}

/// What the parts of a demo share.
struct Demo<'a> {
    pipeline: &'a Pipeline,
    gateway: Gateway,
    state: Arc<PipelineState>,
    listen: Option<SocketAddr>,
    speed: f64,
    begun: Instant,
    /// Event time that is `begun` on the clock.
    start: i64,
    /// Where the dashboard is, once it can be visited.
    address: OnceLock<String>,
    stop: &'a AtomicBool,
}

impl Demo<'_> {
    /// The shop, with what happened there before the start.
    fn simulation(&self, history: i64) -> anyhow::Result<Simulation> {
        let &Self { pipeline, begun, start, speed, .. } = self;
        let options = generate::options_of(pipeline, start - history);
        let pages = options.pages;
        // A shop of few pages advertises its last.
        let burst = Burst { page: ADVERTISED.page.min(pages.saturating_sub(1)), ..ADVERTISED };
        let faults = Faults { burst: Some(burst), ..Faults::default() };
        let generator = Generator::new(weir_generator::Options { faults, ..options })?;
        Ok(Simulation { generator, start, begun, speed })
    }

    /// How much event time is computed first, milliseconds.
    fn history(&self) -> i64 {
        let most = MAX_HISTORY_EVENTS / self.pipeline.spec.generator.events_per_second * 1_000.0;
        HISTORY.min(most as i64)
    }

    /// Serves the dashboard once told to.
    fn dashboard<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        open: Receiver<()>,
    ) -> anyhow::Result<Part<'scope>> {
        part(scope, "dashboard", self.stop, move || {
            if open.recv().is_err() {
                return Ok(());
            }
            let listening = weir_gateway::ServerOptions {
                listen: self.listen.unwrap_or(LISTEN),
                next_free: self.listen.is_none(),
                origins: Vec::new(),
            };
            serve(
                &self.gateway,
                &listening,
                || self.stop.load(Ordering::SeqCst),
                |address| {
                    let _ = self.address.set(address.to_owned());
                    Ok(())
                },
            )
        })
    }
}
