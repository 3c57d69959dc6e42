//! F25: faults in random order, for a time.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rand::{RngExt, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::Case;
use crate::{
    invariants::Outcome,
    pipeline::{Cluster, RunOptions, TestPipeline},
    traffic,
};

/// A fault that is injected and healed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Every broker is stopped in an orderly way and started again, one after the other.
    RollBrokers,
    /// A broker is killed and started again after so many seconds.
    KillBroker { away: u64 },
    /// A processor is killed and started again.
    KillProcessor,
    /// A processor is stopped by SIGTERM and started again.
    RestartProcessor,
    /// No events are sent.
    Quiet { seconds: u64 },
    /// A transaction with events stays open, then commits or aborts.
    OpenTransaction { seconds: u64, commits: bool },
    /// A record larger than what brokers take uncompressed.
    Oversized,
}

impl Fault {
    /// One of each, in random order.
    fn all(random: &mut Pcg64) -> Vec<Self> {
        let mut all = vec![
            Self::RollBrokers,
            Self::KillBroker { away: random.random_range(1..=15) },
            Self::KillProcessor,
            Self::RestartProcessor,
            // Longer than the idle timeout, and longer than a window.
            Self::Quiet { seconds: random.random_range(10..=20) },
            Self::Quiet { seconds: random.random_range(60..=80) },
            Self::OpenTransaction { seconds: random.random_range(15..=40), commits: true },
            Self::OpenTransaction { seconds: random.random_range(15..=40), commits: false },
            Self::Oversized,
        ];
        all.shuffle(random);
        all
    }
}

/// With each seed two thirds of the time on three brokers, one third on a single one.
pub(crate) fn run(case: &Case, options: &RunOptions, seeds: &[u64], minutes: u64) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for &seed in seeds {
        for (brokers, third) in [(case.brokers, 2), (1, 1)] {
            let duration = third * Duration::from_secs(20 * minutes);
            println!("seed {seed}: {brokers} broker(s), {} s of faults", duration.as_secs());
            let (name, options) = (format!("f25-{seed}-{brokers}"), RunOptions { seed, ..options.clone() });
            let cluster = Cluster::start(brokers, false)?;
            let mut pipeline = TestPipeline::start(&name, &cluster, &case.setup, &options)?;
            pipeline.await_progress("the first window")?;
            inject_for(&mut pipeline, duration)?;
            let of_seed = pipeline.check()?;
            println!("seed {seed}: {}", of_seed.invariants());
            outcome.add(of_seed);
        }
    }
    outcome.note = format!("{minutes} min each, {}", crate::listed(seeds));
    Ok(outcome)
}

/// F26: silence longer than the idle timeout, and longer than a window.
pub(super) fn quiet(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let window = pipeline.document.spec.window.size.as_millis() as u64 / 1_000;
    one_by_one(pipeline, &[Fault::Quiet { seconds: window / 2 }, Fault::Quiet { seconds: 2 * window }])
}

/// F27: producers' transactions, committed and aborted.
pub(super) fn open_transactions(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let open = |commits| Fault::OpenTransaction { seconds: 40, commits };
    one_by_one(pipeline, &[open(true), open(false)])
}

/// F28.
pub(super) fn oversized(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    one_by_one(pipeline, &[Fault::Oversized; 3])
}

/// F29.
pub(super) fn rolled(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    one_by_one(pipeline, &[Fault::RollBrokers; 4])
}

/// R1.
pub(super) fn processor_restarted(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    one_by_one(pipeline, &[Fault::RestartProcessor; 6])
}

/// R2.
pub(super) fn processor_killed(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    one_by_one(pipeline, &[Fault::KillProcessor; 6])
}

/// R3.
pub(super) fn broker_killed(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    one_by_one(pipeline, &[Fault::KillBroker { away: 20 }; 3])
}

fn one_by_one(pipeline: &mut TestPipeline<'_>, faults: &[Fault]) -> anyhow::Result<()> {
    for fault in faults {
        fault.inject(pipeline)?;
        pipeline.await_progress(&fault.to_string())?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

fn inject_for(pipeline: &mut TestPipeline<'_>, duration: Duration) -> anyhow::Result<()> {
    let (begun, mut faults) = (Instant::now(), Vec::new());
    while begun.elapsed() < duration {
        let fault: Fault = match faults.pop() {
            Some(fault) => fault,
            None => {
                faults = Fault::all(&mut pipeline.random);
                continue;
            }
        };
        fault.inject(pipeline).with_context(|| fault.to_string())?;
        pipeline.await_progress(&fault.to_string())?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

impl Fault {
    pub(super) fn inject(self, pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
        let processor = pipeline.random.random_range(0..pipeline.processors.count());
        let kafka = &pipeline.cluster.kafka;
        let broker = kafka.broker(pipeline.random.random_range(0..kafka.brokers().len()));
        match self {
            Self::RollBrokers => {
                for broker in kafka.brokers() {
                    broker.stop()?;
                    broker.start()?;
                }
            }
            Self::KillBroker { away } => {
                broker.kill()?;
                thread::sleep(Duration::from_secs(away));
                broker.start()?;
            }
            Self::KillProcessor => pipeline.processors.kill(processor)?,
            Self::RestartProcessor => pipeline.processors.restart(processor)?,
            Self::Quiet { seconds } => {
                pipeline.traffic.quiet(true);
                thread::sleep(Duration::from_secs(seconds));
                pipeline.traffic.quiet(false);
            }
            Self::OpenTransaction { seconds, commits } => {
                let open = Duration::from_secs(seconds);
                traffic::transaction(&pipeline.document, pipeline.brokers(), open, commits)?;
            }
            Self::Oversized => traffic::oversized(&pipeline.document, pipeline.brokers())?,
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollBrokers => write!(f, "every broker restarted, one after the other"),
            Self::KillBroker { away } => write!(f, "a broker killed, away for {away} s"),
            Self::KillProcessor => write!(f, "a processor killed"),
            Self::RestartProcessor => write!(f, "a processor restarted"),
            Self::Quiet { seconds } => write!(f, "no events for {seconds} s"),
            Self::OpenTransaction { seconds, commits: true } => {
                write!(f, "a transaction open for {seconds} s, committed")
            }
            Self::OpenTransaction { seconds, commits: false } => {
                write!(f, "a transaction open for {seconds} s, aborted")
            }
            Self::Oversized => write!(f, "an event of 3 MB, compressed"),
        }
    }
}
