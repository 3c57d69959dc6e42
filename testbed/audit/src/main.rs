//! `weir-audit`: compares a pipeline's results with the oracle, from outside.

use std::{ops::Range, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use weir_arguments::{bootstrap_servers, number};
use weir_audit::{Audit, Pause};
use weir_manifest::Pipeline;

/// Reads a pipeline's topics and compares every window and every field with a brute-force computation over its events.
#[derive(Parser)]
struct Args {
    /// The pipeline's manifest. Without it: a pipeline named `shop` with all defaults.
    #[arg(long, env = "WEIR_PIPELINE", value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Kafka brokers. Without it: the manifest's.
    #[arg(long, env = "WEIR_BROKERS", value_name = "HOST:PORT,...", value_parser = bootstrap_servers)]
    brokers: Option<String>,
    /// The log was processed with --until-end: every window must be there.
    #[arg(long)]
    ended: bool,
    /// Also print the longest time between two windows in this span, in milliseconds since the epoch.
    #[arg(long, value_name = "FROM-TO", value_parser = span)]
    during: Vec<Range<i64>>,
    /// Do not compare: measure the latency of results and the lag of a running pipeline.
    #[arg(long)]
    watch: bool,
    /// Do not compare: send marked events and measure their latency to a subscriber of the gateway.
    #[arg(long, value_name = "HOST:PORT", value_parser = bootstrap_servers)]
    probe: Option<String>,
    /// Do not compare: read the events topic and do nothing with it, as the upper limit of processing.
    #[arg(long)]
    drain: bool,
    /// With --drain: decode and validate each event too.
    #[arg(long, requires = "drain")]
    decode: bool,
    /// Do not compare with the oracle: hash the results, to compare them with those of another run over the same events.
    #[arg(long)]
    digest: bool,
    /// Do not compare with the oracle: compare another engine's rows, JSON in this topic, with this pipeline's.
    #[arg(long, value_name = "TOPIC")]
    peer: Option<String>,
    /// How long to measure, seconds.
    #[arg(long, default_value_t = 60, allow_negative_numbers = true, value_parser = number("seconds", 1..=86_400_u64))]
    seconds: u64,
}

fn span(text: &str) -> Result<Range<i64>, String> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .ok_or_else(|| "expected two numbers of milliseconds, such as 1795251070000-1795251080000".to_owned())
}

fn main() -> ExitCode {
    match run(&weir_arguments::parse::<Args>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-audit: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends one slide apart as ranges.
fn ranges(ends: &[i64], slide: i64) -> String {
    let runs = ends.chunk_by(|a, b| b - a == slide).map(|run| match run {
        [end] => end.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(", ")
}

fn run(args: &Args) -> anyhow::Result<()> {
    let pipeline = match &args.pipeline {
        None => Pipeline::demo(),
        Some(file) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Pipeline::from_yaml(&text).with_context(|| format!("{} is not a pipeline", file.display()))?
        }
    };
    let servers = &pipeline.spec.kafka.bootstrap_servers;
    let brokers = args.brokers.clone().or_else(|| (!servers.is_empty()).then(|| servers.join(","))).context(
        "no Kafka brokers: give --brokers HOST:PORT,..., set WEIR_BROKERS, or spec.kafka.bootstrapServers",
    )?;
    let audit = Audit::connect(&pipeline, &brokers)?;
    if args.watch {
        let latency = audit.latency(&brokers, Duration::from_secs(args.seconds))?;
        println!("from the event that sealed a window to its committed result: {}", latency.delays);
        let lags = &latency.lags;
        let of =
            |share: f64| lags.get(((lags.len().max(1) - 1) as f64 * share).round() as usize).unwrap_or(&0);
        println!(
            "events stored and not yet committed: p50 {}, p95 {}, max {} of {} samples",
            of(0.5),
            of(0.95),
            of(1.0),
            lags.len()
        );
        return Ok(());
    }
    if args.drain && args.decode {
        let (records, valid) = audit.decode()?;
        println!("{records} records read, {valid} of them valid events");
        return Ok(());
    }
    if args.drain {
        println!("{} records read and nothing done with them", audit.drain()?);
        return Ok(());
    }
    if args.digest {
        println!("digest {}", audit.results()?.digest());
        return Ok(());
    }
    if let Some(topic) = &args.peer {
        println!("{} rows of {topic} equal this pipeline's", audit.peer(&brokers, topic)?);
        return Ok(());
    }
    if let Some(gateway) = &args.probe {
        let delays = audit.probe(&brokers, gateway, Duration::from_secs(args.seconds))?;
        println!("from the producer of an event to a subscriber of live values: {delays}");
        return Ok(());
    }
    let report = audit.compare(args.ended)?;
    if report.partly_late > 0 {
        println!(
            "{} events are partly late; {} windows are not whole, by their ends in milliseconds: {}",
            report.partly_late,
            report.not_whole.len(),
            ranges(&report.not_whole, pipeline.spec.window.slide.as_millis())
        );
    }
    if report.other_pages > 0 {
        println!("{} events count under (other): their pages are beyond limits.pages", report.other_pages);
    }
    if report.duplicates > 0 {
        println!(
            "{} events are duplicates: they were counted before and have been sent again",
            report.duplicates
        );
    }
    if report.misplaced > 0 {
        println!(
            "{} events are of visitors who belong into another partition: unique users count them once in each",
            report.misplaced
        );
    }
    if report.ended && !args.ended {
        println!("the log was declared to end (--until-end): its last windows are sealed ahead of the clock");
    }
    if report.not_compared > 0 {
        println!(
            "{} windows are not compared: the topics of the generations that told them have been deleted since these ended",
            report.not_compared
        );
    }
    println!(
        "{} records: {} invalid, {} late. {} windows with {} rows equal the oracle in every field, {} are outstanding. digest {}",
        report.records,
        report.invalid,
        report.late,
        report.windows,
        report.rows,
        report.outstanding,
        report.digest
    );
    // The windows of `--until-end` are written whenever that runs, so their gap means nothing.
    if let Some(pause) = Pause::longest_within(&report.pauses, &(i64::MIN..i64::MAX)).filter(|_| !args.ended)
    {
        println!(
            "windows came at most {} ms apart, before the one that ends at {}",
            pause.millis, pause.before
        );
    }
    for span in &args.during {
        match Pause::longest_within(&report.pauses, span) {
            None => println!("no two windows came from {} to {}", span.start, span.end),
            Some(pause) => println!(
                "windows came at most {} ms apart from {} to {}, before the one that ends at {}",
                pause.millis, span.start, span.end, pause.before
            ),
        }
    }
    Ok(())
}
