//! Runs pipelines on real brokers, does to each what one fault is, lets it heal, and checks the invariants of docs/reliability.md:
//!
//! - I1 committed results equal the oracle's, I2 none is there twice, I3 a transaction's outputs and offsets are visible together or not
//!   at all, I4 each record is counted, late, dead or a duplicate, I5 committed offsets never go back, I6 committed readers see the
//!   same, I7 progress resumes, I8 no transaction hangs, I9 no process ends by itself.
//!
//! `cargo xtask faults F1 F4` runs these faults; without names the whole suite.

mod cases;
mod clock;
mod disk;
mod invariants;
mod memory;
mod pipeline;
mod processors;
mod progress;
mod proxy;
mod table;
mod traffic;
mod witness;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;

use cases::{CASES, Case, Run};
use invariants::Outcome;
use pipeline::{Cluster, RunOptions, TestPipeline};
use table::Row;

/// Faults on real brokers, by name and from a seed; then every invariant.
#[derive(Parser, Clone)]
#[command(name = "weir-faults")]
struct Args {
    /// The faults, such as F1 F4; all when absent.
    faults: Vec<String>,
    /// How long the mix (F25) goes on: two thirds of it on three brokers, one third on a single one.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Order and moments of the faults; the mix goes on so long with each of several, other faults take the first.
    #[arg(long = "seed", default_value = "1", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Fewer faults, and a quarter of the repetitions.
    #[arg(long)]
    short: bool,
    /// The program under test, with the feature `failpoints`.
    #[arg(long, value_name = "FILE")]
    weir: PathBuf,
    /// Where the logs of processors stay, in a folder per fault; they are deleted when absent.
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// Where the table is written: between two marks of this page.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    let chosen = chosen(&args.faults, args.short)?;
    let mut cluster: Option<Cluster> = None;
    let mut rows = Vec::new();
    for case in chosen {
        println!("\n{}: {}, {}", case.name, case.title, listed(&args.seeds));
        let began = Instant::now();
        let outcome = run_case(case, &mut cluster, args).unwrap_or_else(|error| {
            let mut outcome = Outcome::default();
            outcome.violated("I7", &error);
            // What it left behind is not the next one's.
            cluster = None;
            outcome
        });
        for (invariant, why) in outcome.violations() {
            eprintln!("{} FAILED, {invariant}: {why}", case.name);
        }
        rows.push(Row { case, outcome, took: began.elapsed() });
        println!("{}", table::render(&rows[rows.len() - 1..]));
    }
    println!("\n{}", table::render(&rows));
    if let Some(page) = &args.page {
        table::write(page, &rows).with_context(|| format!("write {}", page.display()))?;
    }
    let failed: Vec<&str> =
        rows.iter().filter(|row| !row.outcome.violations().is_empty()).map(|row| row.case.name).collect();
    ensure!(failed.is_empty(), "failed: {}, {}", failed.join(" "), listed(&args.seeds));
    println!(
        "every invariant held in {:.1} minutes, {}",
        begun.elapsed().as_secs_f64() / 60.0,
        listed(&args.seeds)
    );
    Ok(())
}

fn run_case(case: &Case, cluster: &mut Option<Cluster>, args: &Args) -> anyhow::Result<Outcome> {
    let Args { weir, seeds, short: is_short, logs, .. } = args.clone();
    let seed = seeds.first().copied().unwrap_or(1);
    let options = RunOptions { weir, seed, is_short, logs };
    if let Run::Mix = case.run {
        *cluster = None;
        return cases::run_mix(case, &options, &args.seeds, args.minutes);
    }
    // One cluster for many faults, each with topics of its own.
    let suits = |cluster: &Cluster| {
        cluster.kafka.brokers().len() == case.brokers && cluster.disks.is_empty() != case.setup.disks
    };
    let started = match cluster.take().filter(suits) {
        Some(started) => started,
        None => Cluster::start(case.brokers, case.setup.disks)?,
    };
    let cluster = cluster.insert(started);
    cluster.heal()?;
    let pipeline = TestPipeline::start(&case.name.to_lowercase(), cluster, &case.setup, &options)?;
    cases::run(case, pipeline)
}

fn chosen(names: &[String], is_short: bool) -> anyhow::Result<Vec<&'static Case>> {
    for name in names {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        ensure!(
            known.iter().any(|known| known.eq_ignore_ascii_case(name)),
            "there is no fault {name}, expected some of {}",
            known.join(" ")
        );
    }
    let is_named = |case: &&Case| names.iter().any(|name| case.name.eq_ignore_ascii_case(name));
    let is_chosen = |case: &&Case| if names.is_empty() { !is_short || case.is_short } else { is_named(case) };
    Ok(CASES.iter().filter(is_chosen).collect())
}

/// Seeds, such as `seed 1, 2`.
fn listed(seeds: &[u64]) -> String {
    format!("seed {}", seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
}

/// Seconds with one decimal.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
