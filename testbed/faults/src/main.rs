//! Runs a pipeline on real brokers while brokers and processors are restarted and killed, the site falls silent, transactions
//! stay open or are aborted, records are too large and keys are wrong; then waits until it is idle and audits it.
//!
//! Asserts: no processor ends by itself (or its reason is printed, and the run fails), results go on after every fault,
//! every window equals the oracle's, and each record is counted, late or dead: the invariants I1, I2, I4 and I7.

mod fault;
mod processors;
mod progress;
mod site;
mod traffic;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;

/// Faults on real brokers, from a seed; then the audit.
#[derive(Parser)]
#[command(name = "weir-faults")]
struct Args {
    /// How long faults go on: two thirds of it on three brokers, one third on a single one.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Order and moments of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program under test.
    #[arg(long, value_name = "FILE")]
    weir: PathBuf,
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
    let third = Duration::from_secs(args.minutes * 20);
    println!("seed {}, {} minutes", args.seed, args.minutes);
    let mut failed = Vec::new();
    for (brokers, duration) in [(3, 2 * third), (1, third)] {
        println!("\n{brokers} broker(s), {} s of faults", duration.as_secs());
        if let Err(error) = site::run(&args.weir, brokers, duration, args.seed) {
            eprintln!("FAILED with {brokers} broker(s): {error:#}");
            failed.push(brokers);
        }
    }
    anyhow::ensure!(failed.is_empty(), "failed with {failed:?} broker(s), seed {}", args.seed);
    println!("\nno difference in {:.1} minutes, seed {}", begun.elapsed().as_secs_f64() / 60.0, args.seed);
    Ok(())
}
