//! Measures the processor, the bare Kafka client and Flink, and writes the results to the documentation: `cargo xtask bench`.
//!
//! Every result is verified before its time counts. CPU time per event is measured besides wall-clock time, because the machine is
//! rarely otherwise idle.

mod curves;
mod engine;
mod flink;
mod instructions;
mod latency;
mod machine;
mod plot;
mod process;
mod report;
mod test_bed;
mod throughput;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measure, and write down what was found")]
struct Args {
    /// A million events and one round, to try it out; stored in target/bench, not for the documentation.
    #[arg(long)]
    quick: bool,
    /// How many events each subject gets.
    #[arg(long, default_value_t = 6_000_000, default_value_if("quick", "true", "1000000"))]
    events: u64,
    /// How often each subject gets them.
    #[arg(long, default_value_t = 3, default_value_if("quick", "true", "1"))]
    rounds: u32,
    /// In how many rounds Flink takes part, which needs most of the time; with 0 neither Maven nor a JDK is needed.
    #[arg(long, default_value_t = 1)]
    flink_rounds: u32,
    /// With --latency: how long each pace is kept.
    #[arg(long, default_value_t = 180, default_value_if("quick", "true", "30"))]
    seconds: u64,
    /// Instead: what the engine's cost, memory and recovery grow with.
    #[arg(long)]
    curves: bool,
    /// Instead: how long things take at 1,000 and 5,000 events/s.
    #[arg(long)]
    latency: bool,
    /// Instead: count the instructions of a fixed piece of work and hold them against what was accepted.
    #[arg(long)]
    instructions: bool,
    /// With --instructions: accept what is counted.
    #[arg(long, requires = "instructions")]
    accept: bool,
    /// Measure nothing: write the tables and pictures of docs/ from bench/results.
    #[arg(long)]
    report: bool,
    /// With --report: write nothing, fail when something would be written.
    #[arg(long, requires = "report")]
    check: bool,
    /// One thing to do, in a process of its own.
    #[arg(long, hide = true)]
    child: Option<Child>,
    #[arg(long, hide = true)]
    shape: Option<String>,
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Child {
    Point,
    Restore,
    Work,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let Args {
        quick,
        events,
        rounds,
        flink_rounds,
        seconds,
        curves,
        latency,
        instructions,
        accept,
        report,
        check,
        child,
        shape,
        folder,
    } = args;
    if let Some(child) = child {
        return run_child(*child, shape.as_deref(), folder).map(|()| true);
    }
    if *instructions {
        return instructions::check(*accept);
    }
    if *latency {
        report::store(&latency::measure(*seconds)?, "latency", *quick)?;
    } else if *curves {
        report::store(&curves::measure(*quick)?, "curves", *quick)?;
    } else if !report {
        let found = throughput::measure(*events, *rounds, *flink_rounds)?;
        for table in &found.tables {
            println!("\n{}", report::table(table));
        }
        report::store(&found, "throughput", *quick)?;
    }
    Ok(*quick || report::write(*check)?)
}

fn run_child(child: Child, shape: Option<&str>, folder: &Path) -> anyhow::Result<()> {
    let shape = || anyhow::Ok(serde_json::from_str(shape.context("--shape is missing")?)?);
    let told = match child {
        Child::Work => return instructions::work(),
        Child::Point => serde_json::to_string(&curves::measure_point(&shape()?, folder)?)?,
        Child::Restore => serde_json::to_string(&curves::measure_restore(&shape()?, folder)?)?,
    };
    println!("{told}");
    Ok(())
}
