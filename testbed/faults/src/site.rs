//! A pipeline with its brokers, processors and traffic, from the first event to the audit.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use weir_audit::{Audit, Report};
use weir_broker::Kafka;
use weir_manifest::Pipeline;

use crate::{
    fault::Fault,
    processors::Processors,
    progress::Progress,
    traffic::{self, Traffic},
};

const PROCESSORS: usize = 2;
const EVENTS_PER_SECOND: f64 = 400.0;
/// Maximum time until results go on after a fault, and until everything is at rest in the end.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

const MANIFEST: &str = "\
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {name: faults}
spec:
  topics:
    events: {name: faults-events, partitions: 4, replicas: REPLICAS, retention: 1d}
    results: {name: faults-results, replicas: REPLICAS}
    topPages: {name: faults-top-pages}
  window: {size: 1m, slide: 5s, outOfOrderness: 5s, idleTimeout: 5s, sessionGap: 1m}
";

struct Site<'a> {
    kafka: &'a Kafka,
    pipeline: &'a Pipeline,
    traffic: &'a Traffic,
    processors: Processors,
    progress: Progress,
    random: Pcg64,
    begun: Instant,
}

pub(crate) fn run(weir: &Path, brokers: usize, duration: Duration, seed: u64) -> anyhow::Result<()> {
    let kafka = Kafka::start(brokers)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pipeline.yaml");
    let manifest = MANIFEST.replace("REPLICAS", &brokers.to_string());
    fs::write(&file, &manifest)?;
    let pipeline = Pipeline::from_yaml(&manifest)?;
    let applied = std::process::Command::new(weir)
        .args(["topics", "apply", "--brokers", kafka.bootstrap(), "--pipeline"])
        .arg(&file)
        .status()?;
    ensure!(applied.success(), "weir topics apply: {applied}");
    let traffic = Traffic::default();
    let mut site = Site {
        processors: Processors::start(weir, PROCESSORS, folder.path(), &file, kafka.bootstrap())?,
        progress: Progress::of(&pipeline, kafka.bootstrap())?,
        kafka: &kafka,
        pipeline: &pipeline,
        traffic: &traffic,
        random: Pcg64::seed_from_u64(seed),
        begun: Instant::now(),
    };
    thread::scope(|scope| {
        let sender = scope.spawn(|| traffic.run(&pipeline, kafka.bootstrap(), EVENTS_PER_SECOND, seed));
        let done = site.inject_faults(duration);
        traffic.stop();
        let sent = sender.join().map_err(|_| anyhow!("the traffic panicked"))?.context("traffic");
        done.and(sent)
    })?;
    let read = site.await_rest()?;
    let report = audit(&pipeline, kafka.bootstrap())?;
    ensure!(report.records as u64 == read, "{} records are there, {read} were read", report.records);
    let ended = std::mem::take(&mut site.processors.ended);
    site.processors.stop()?;
    ensure!(ended.is_empty(), "{} processor(s) ended by themselves:\n{}", ended.len(), ended.join("\n"));
    Ok(())
}

impl Site<'_> {
    fn inject_faults(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.await_progress("the first window")?;
        let mut faults = Vec::new();
        while self.begun.elapsed() < duration {
            let fault = match faults.pop() {
                Some(fault) => fault,
                None => {
                    faults = Fault::all(&mut self.random);
                    continue;
                }
            };
            self.inject(fault).with_context(|| fault.to_string())?;
            self.await_progress(&fault.to_string())?;
        }
        Ok(())
    }

    fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        let processor = self.random.random_range(0..self.processors.count());
        let broker = self.kafka.broker(self.random.random_range(0..self.kafka.brokers().len()));
        match fault {
            Fault::RollBrokers => {
                for broker in self.kafka.brokers() {
                    broker.stop()?;
                    broker.start()?;
                }
            }
            Fault::KillBroker { away } => {
                broker.kill()?;
                thread::sleep(Duration::from_secs(away));
                broker.start()?;
            }
            Fault::KillProcessor => self.processors.kill(processor)?,
            Fault::RestartProcessor => self.processors.restart(processor)?,
            Fault::Quiet { seconds } => {
                self.traffic.quiet(true);
                thread::sleep(Duration::from_secs(seconds));
                self.traffic.quiet(false);
            }
            Fault::OpenTransaction { seconds, commits } => {
                let open = Duration::from_secs(seconds);
                traffic::transaction(self.pipeline, self.kafka.bootstrap(), open, commits)?;
            }
            Fault::Oversized => traffic::oversized(self.pipeline, self.kafka.bootstrap())?,
        }
        Ok(())
    }

    /// Waits until new windows are sealed, and prints how long that took.
    fn await_progress(&mut self, after: &str) -> anyhow::Result<()> {
        let healed = Instant::now();
        let before = self.progress.get().and_then(|committed| committed.sealed());
        loop {
            self.processors.restart_ended()?;
            let sealed = self.progress.get().and_then(|committed| committed.sealed());
            if sealed > before {
                break;
            }
            ensure!(
                healed.elapsed() < RECOVERY_TIMEOUT,
                "no window was sealed for {RECOVERY_TIMEOUT:?} after: {after}"
            );
            thread::sleep(POLL_INTERVAL);
        }
        let at = self.begun.elapsed().as_secs();
        let ended = self.processors.ended.len();
        println!(
            "{:>3}:{:02}  {after}: goes on after {:.1} s; {} sent, {ended} processor(s) ended by themselves",
            at / 60,
            at % 60,
            healed.elapsed().as_secs_f64(),
            self.traffic.sent()
        );
        Ok(())
    }

    /// Waits until all sent records are read and sealed, and checks that all are accounted for. Returns their number.
    fn await_rest(&mut self) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let committed = loop {
            self.processors.restart_ended()?;
            let committed = self.progress.get();
            if let Some(committed) = committed.filter(|committed| committed.at_rest()) {
                break committed;
            }
            ensure!(
                begun.elapsed() < RECOVERY_TIMEOUT,
                "not at rest {RECOVERY_TIMEOUT:?} after the last event"
            );
            thread::sleep(POLL_INTERVAL);
        };
        println!("at rest after {:.1} s", begun.elapsed().as_secs_f64());
        for (number, partition) in committed.partitions.iter().enumerate() {
            let sum = partition.counted + partition.late + partition.dead + partition.duplicates;
            ensure!(
                partition.read == sum,
                "partition {number}: {} read, {sum} accounted for",
                partition.read
            );
        }
        let read = committed.sum(|partition| partition.read);
        println!(
            "{read} records read = {} counted ({} of them partly late) + {} late + {} dead + {} duplicates; {} misplaced",
            committed.sum(|partition| partition.counted),
            committed.sum(|partition| partition.partly_late),
            committed.sum(|partition| partition.late),
            committed.sum(|partition| partition.dead),
            committed.sum(|partition| partition.duplicates),
            committed.sum(|partition| partition.misplaced),
        );
        Ok(read)
    }
}

/// Compares all windows with the oracle, once stage 2 has written the last.
fn audit(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<Report> {
    let (audit, begun) = (Audit::connect(pipeline, brokers)?, Instant::now());
    loop {
        let report = audit.compare(false)?;
        if report.outstanding == 0 {
            println!("{report:#?}");
            return Ok(report);
        }
        ensure!(begun.elapsed() < RECOVERY_TIMEOUT, "{} windows were not written", report.outstanding);
        thread::sleep(POLL_INTERVAL);
    }
}
