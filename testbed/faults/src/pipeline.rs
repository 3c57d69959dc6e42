//! A pipeline under test, with its processors and traffic, from the first event to the check of every invariant.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use tempfile::TempDir;
use weir_audit::{Audit, Report};
use weir_broker::Kafka;
use weir_manifest::Pipeline;

use crate::{
    clock,
    disk::Disk,
    invariants::{Outcome, committed_offsets, transactions},
    processors::{Processors, Program},
    progress::{Committed, Progress},
    proxy::Proxy,
    traffic::{Traffic, TrafficOptions},
    witness::Witness,
};

/// Maximum time until results go on after a fault, and until everything is at rest in the end.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The size of a broker's disk that can be full.
const DISK_MIB: u32 = 384;

/// Brokers, and the proxies before them.
pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    pub(crate) proxy: Proxy,
    /// The addresses of the proxies.
    proxied: String,
    /// Where the brokers keep their logs, if these can be full. Dropped last.
    pub(crate) disks: Vec<Disk>,
}

/// How the suite runs, whichever the fault is.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    /// The program under test.
    pub(crate) weir: PathBuf,
    pub(crate) seed: u64,
    /// A share of the repetitions, as for CI.
    pub(crate) is_short: bool,
    /// Where the logs of processors stay.
    pub(crate) logs: Option<PathBuf>,
}

/// How a pipeline under test differs from others.
#[allow(clippy::struct_excessive_bools, reason = "each says whether one means is there")]
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) partitions: u32,
    pub(crate) processors: usize,
    /// Window and idle timeout in seconds.
    pub(crate) window: (u32, u32),
    pub(crate) traffic: TrafficOptions,
    /// Whether processors connect through the proxy.
    pub(crate) proxied: bool,
    /// Whether brokers keep their logs on disks that can be full.
    pub(crate) disks: bool,
    /// Whether processors have clocks that can be set.
    pub(crate) clocks: bool,
    /// Whether the memory of processors can be limited.
    pub(crate) limits: bool,
    /// For the processors.
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

impl Setup {
    pub(crate) const COMMON: Self = Self {
        partitions: 4,
        processors: 2,
        window: (20, 3),
        traffic: TrafficOptions::COMMON,
        proxied: false,
        disks: false,
        clocks: false,
        limits: false,
        environment: &[],
    };

    /// For how long results stay away: more events, and nothing faulty in them.
    pub(crate) const FAST: Self = Self {
        traffic: TrafficOptions { events_per_second: 5_000.0, late: 0.0, duplicates: 0.0, malformed: 0.0 },
        ..Self::COMMON
    };
}

pub(crate) struct TestPipeline<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) document: Arc<Pipeline>,
    pub(crate) processors: Processors,
    pub(crate) progress: Progress,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) random: Pcg64,
    pub(crate) outcome: Outcome,
    /// A share of the repetitions, as for CI.
    pub(crate) is_short: bool,
    sender: Option<JoinHandle<anyhow::Result<()>>>,
    witness: Option<Witness>,
    begun: Instant,
    _folder: TempDir,
}

impl Cluster {
    pub(crate) fn start(brokers: usize, has_disks: bool) -> anyhow::Result<Self> {
        let disks = if has_disks { brokers } else { 0 };
        let disks = (0..disks).map(|_| Disk::mount(DISK_MIB)).collect::<anyhow::Result<Vec<_>>>()?;
        let kafka = if has_disks {
            let folders: Vec<PathBuf> = disks.iter().map(|disk| disk.folder().to_owned()).collect();
            Kafka::start_proxied_in(&folders)?
        } else {
            Kafka::start_proxied(brokers)?
        };
        let proxy = Proxy::start(kafka.proxied()).context("start the proxies")?;
        let addresses = kafka.proxied().iter().map(|listener| format!("127.0.0.1:{}", listener.proxy));
        let proxied = addresses.collect::<Vec<_>>().join(",");
        Ok(Self { kafka, proxy, proxied, disks })
    }

    /// Starts what a fault left down.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.proxy.set_link(crate::proxy::Link::Whole);
        for broker in self.kafka.brokers() {
            if broker.runs()? {
                broker.resume()?;
            }
            broker.start()?;
        }
        Ok(())
    }
}

impl<'a> TestPipeline<'a> {
    pub(crate) fn start(
        name: &str,
        cluster: &'a Cluster,
        setup: &Setup,
        options: &RunOptions,
    ) -> anyhow::Result<Self> {
        let RunOptions { weir, seed, is_short, logs } = options.clone();
        let folder = tempfile::tempdir()?;
        let logs = logs.map_or_else(|| folder.path().to_owned(), |logs| logs.join(name));
        fs::create_dir_all(&logs)?;
        let (file, bootstrap) = (folder.path().join("pipeline.yaml"), cluster.kafka.bootstrap());
        let document = manifest(name, setup, cluster.kafka.brokers().len());
        fs::write(&file, &document)?;
        let document = Arc::new(Pipeline::from_yaml(&document)?);
        let applied = Command::new(&weir)
            .args(["topics", "apply", "--brokers", bootstrap, "--pipeline"])
            .arg(&file)
            .output()?;
        ensure!(applied.status.success(), "weir topics apply: {}", String::from_utf8_lossy(&applied.stderr));
        let program = Program {
            weir,
            folder: logs,
            pipeline: file,
            brokers: if setup.proxied { cluster.proxied.clone() } else { bootstrap.to_owned() },
            environment: setup.environment.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            clock: setup.clocks.then(|| clock::compile(folder.path())).transpose()?,
            limits: setup.limits,
        };
        let traffic = Arc::new(Traffic::default());
        let sender = thread::spawn({
            let (traffic, document) = (Arc::clone(&traffic), Arc::clone(&document));
            let (brokers, traffic_options) = (bootstrap.to_owned(), setup.traffic);
            move || traffic.run(&document, &brokers, traffic_options, seed)
        });
        Ok(Self {
            processors: Processors::start(program, setup.processors)?,
            progress: Progress::of(&document, bootstrap)?,
            witness: Some(Witness::start(&document, &cluster.kafka)?),
            sender: Some(sender),
            random: Pcg64::seed_from_u64(seed),
            outcome: Outcome::default(),
            begun: Instant::now(),
            _folder: folder,
            cluster,
            document,
            traffic,
            is_short,
        })
    }

    pub(crate) fn brokers(&self) -> &str {
        self.cluster.kafka.bootstrap()
    }

    /// As many repetitions as `full`, or a quarter of them.
    pub(crate) fn repetitions(&self, full: u32) -> u32 {
        if self.is_short { full.div_ceil(4) } else { full }
    }

    /// Waits until new windows are sealed in all partitions.
    pub(crate) fn await_progress(&mut self, after: &str) -> anyhow::Result<()> {
        let healed = Instant::now();
        let before = self.progress.get().and_then(|committed| committed.sealed());
        self.wait_until(&format!("a window is sealed after: {after}"), |site| {
            site.processors.restart_ended()?;
            Ok(site.progress.get().and_then(|committed| committed.sealed()) > before)
        })?;
        let (at, ended) = (self.begun.elapsed().as_secs(), self.processors.ended.len());
        println!(
            "{:>3}:{:02}  {after}: goes on after {:.1} s; {} sent, {ended} processor(s) ended by themselves",
            at / 60,
            at % 60,
            healed.elapsed().as_secs_f64(),
            self.traffic.sent()
        );
        Ok(())
    }

    /// Waits for a condition.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !condition(self)? {
            ensure!(begun.elapsed() < RECOVERY_TIMEOUT, "not within {RECOVERY_TIMEOUT:?}: {what}");
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    pub(crate) fn stop_traffic(&mut self) -> anyhow::Result<()> {
        self.traffic.stop();
        let Some(sender) = self.sender.take() else { return Ok(()) };
        sender.join().map_err(|_| anyhow!("the traffic panicked"))?.context("traffic")
    }

    /// Ends a pipeline that has stopped and is not to go on: what it has written is still checked.
    pub(crate) fn give_up(mut self) -> anyhow::Result<Outcome> {
        self.stop_traffic()?;
        self.processors.stop()?;
        if let Some(witness) = self.witness.take() {
            witness.give_up();
        }
        Ok(self.end())
    }

    /// Waits until everything is read, and checks every invariant.
    pub(crate) fn check(mut self) -> anyhow::Result<Outcome> {
        self.stop_traffic()?;
        match self.await_rest() {
            Err(error) => self.outcome.violated("I7", &error),
            Ok(committed) => {
                self.outcome.held("I7");
                self.check_at_rest(&committed)?;
            }
        }
        self.processors.stop()?;
        Ok(self.end())
    }

    fn end(mut self) -> Outcome {
        let ended = std::mem::take(&mut self.processors.ended);
        if !ended.is_empty() {
            self.outcome.violated("I9", &anyhow!("{} processor(s):\n{}", ended.len(), ended.join("\n")));
        }
        self.outcome.restarts += self.processors.restarts;
        self.outcome.refused += self.processors.count_in_logs("transaction aborted, resuming") as u32;
        self.outcome.clone()
    }

    fn check_at_rest(&mut self, committed: &Committed) -> anyhow::Result<()> {
        let (document, brokers) = (Arc::clone(&self.document), self.brokers().to_owned());
        let audited = audit(&document, &brokers);
        if let Ok(report) = &audited {
            self.outcome.windows += report.windows as u64;
            self.outcome.records += report.records as u64;
        }
        let records = audited.as_ref().ok().map(|report| report.records as u64);
        // It fails for a result that is there twice, or is none, before anything is compared.
        self.outcome.check("I2", Audit::connect(&document, &brokers)?.results().map(drop));
        self.outcome.check("I4", committed.accounted(records));
        self.outcome.check("I1", audited.map(drop));
        self.outcome.check("I3", transactions(&document, &brokers, committed));
        self.outcome.check("I5", committed_offsets(&document, &brokers));
        if let Some(witness) = self.witness.take() {
            let found = witness.finish()?;
            self.outcome.check("I6", found.alike);
            self.outcome.check("I8", found.stalled);
            let slide = Duration::from_millis(document.spec.window.slide.as_millis() as u64);
            self.outcome.longest_gap = Some(found.longest_gap.saturating_sub(slide));
        }
        Ok(())
    }

    /// Waits until all sent records are read and sealed.
    fn await_rest(&mut self) -> anyhow::Result<Committed> {
        let mut at_rest = None;
        self.wait_until("everything is read and sealed", |site| {
            site.processors.restart_ended()?;
            at_rest = site.progress.get().filter(Committed::at_rest);
            Ok(at_rest.is_some())
        })?;
        at_rest.context("not at rest")
    }
}

/// Compares all windows with the oracle, once stage 2 has written the last.
fn audit(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<Report> {
    let (audit, begun) = (Audit::connect(pipeline, brokers)?, Instant::now());
    loop {
        let report = audit.compare(false)?;
        if report.outstanding == 0 {
            return Ok(report);
        }
        ensure!(begun.elapsed() < RECOVERY_TIMEOUT, "{} windows were not written", report.outstanding);
        thread::sleep(POLL_INTERVAL);
    }
}

fn manifest(name: &str, setup: &Setup, replicas: usize) -> String {
    let Setup { partitions, window: (size, idle), .. } = setup;
    format!(
        "\
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {{name: {name}}}
spec:
  topics:
    events: {{name: {name}-events, partitions: {partitions}, replicas: {replicas}, retention: 1d}}
    results: {{name: {name}-results, replicas: {replicas}}}
    topPages: {{name: {name}-top-pages}}
  window: {{size: {size}s, slide: {slide}s, outOfOrderness: 2s, idleTimeout: {idle}s, sessionGap: {size}s}}
",
        slide = size / 10,
    )
}
