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
    serve::{cannot_listen, serve},
    threads::{Part, part},
};

/// How long a demo can run before fast event time overtakes the clock, milliseconds.
const MAX_DURATION_MS: i64 = 24 * 3_600_000;
/// Event time computed before a demo opens, milliseconds: enough for the dashboard's chart and for trends. Less where that were
/// more events than can be computed in some seconds.
const HISTORY_MS: i64 = 2 * 3_600_000;
const MAX_HISTORY_EVENTS: f64 = 1_500_000.0;
/// A burst of views of one page now and then, so that a page trends: not one of the most viewed.
const TREND_BURST: Burst = Burst { page: 25, every: 600_000, length: 120_000, share: 0.1 };
/// The dashboard's default address; if that port is in use, the next free one is used.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_080);

/// Options of `weir demo`.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoOptions {
    /// How many times faster than the clock event time runs; 1 or more.
    pub speed: f64,
    /// The dashboard's address. `None`: loopback, on the first free port from 8080 on.
    pub listen: Option<SocketAddr>,
}

/// Simulates a shop, processes its clicks and shows the results, until `stop`: on `brokers`, or else in memory.
///
/// # Errors
/// Invalid options, or a part that failed.
pub fn run(
    pipeline: &Pipeline,
    brokers: Option<&str>,
    options: &DemoOptions,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let DemoOptions { speed, listen } = *options;
    if let Some(address) = listen {
        // Checked before the history is computed.
        TcpListener::bind(address).with_context(|| cannot_listen(address))?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    // In memory there is no topic to catch up with.
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
        start: now - ((speed - 1.0) * MAX_DURATION_MS as f64) as i64,
        address: OnceLock::new(),
        stop,
    };
    match brokers {
        None => in_memory::run(&demo),
        Some(brokers) => on_kafka::run(&demo, brokers),
    }
}

/// The state that a demo's parts share.
struct Demo<'a> {
    pipeline: &'a Pipeline,
    gateway: Gateway,
    state: Arc<PipelineState>,
    listen: Option<SocketAddr>,
    speed: f64,
    begun: Instant,
    /// Event time that is `begun` on the clock.
    start: i64,
    /// The dashboard's address, once it serves.
    address: OnceLock<String>,
    stop: &'a AtomicBool,
}

impl Demo<'_> {
    /// The shop, with its history before the start.
    fn simulation(&self, history: i64) -> anyhow::Result<Simulation> {
        let &Self { pipeline, begun, start, speed, .. } = self;
        let options = generate::options_of(pipeline, start - history);
        let pages = options.pages;
        // In a shop of few pages the last page has the burst.
        let burst = Burst { page: TREND_BURST.page.min(pages.saturating_sub(1)), ..TREND_BURST };
        let faults = Faults { burst: Some(burst), ..Faults::default() };
        let generator = Generator::new(weir_generator::GeneratorOptions { faults, ..options })?;
        Ok(Simulation { generator, start, begun, speed })
    }

    /// How much event time is computed first, milliseconds.
    fn history(&self) -> i64 {
        let max = MAX_HISTORY_EVENTS / self.pipeline.spec.generator.events_per_second * 1_000.0;
        HISTORY_MS.min(max as i64)
    }

    /// Serves the dashboard once `open` receives.
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
                listen: self.listen.unwrap_or(DEFAULT_LISTEN),
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
