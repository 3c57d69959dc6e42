//! Latencies at a steady pace, and the resources of each process.

use std::{net::TcpListener, thread, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    process::{self, Process},
    test_bed::{Load, TestBed},
};

/// Until windows seal, and joining and connecting is done.
const WARM_UP: Duration = Duration::from_secs(45);

/// What is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) machine: Machine,
    pub(crate) kafka: String,
    pub(crate) paces: Vec<Pace>,
}

/// One pace. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    pub(crate) events_per_second: u32,
    pub(crate) seconds: u64,
    /// From the producer's `send` to the broker's acknowledgement, the time that a batch is filled included.
    pub(crate) produce: Times,
    /// From the broker's storing of the event that seals a window in the last partition to a reader of its committed result.
    pub(crate) seal_to_result: Times,
    /// From the producer of an event to a subscriber of the gateway.
    pub(crate) event_to_live: Times,
    /// Lag: events stored and not yet committed as processed.
    pub(crate) lag_p95: f64,
    pub(crate) lag_most: f64,
    pub(crate) processes: Vec<Share>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p95: Option<f64>,
    pub(crate) p99: f64,
    /// How many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<f64>,
}

/// What a process needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) name: String,
    /// Of one core, per cent.
    pub(crate) cpu_percent: f64,
    /// The most it held, MiB.
    pub(crate) peak_rss_mib: f64,
}

/// Both paces, one after the other, for so long each.
pub(crate) fn measure(seconds: u64) -> anyhow::Result<Latency> {
    let machine = Machine::detect();
    let paces = [1_000, 5_000].into_iter().map(|pace| at(pace, seconds)).collect::<anyhow::Result<_>>()?;
    Ok(Latency { machine, kafka: weir_broker::version().to_owned(), paces })
}

fn at(pace: u32, seconds: u64) -> anyhow::Result<Pace> {
    let bed = TestBed::new()?;
    let load = Load { name: format!("paced-{pace}"), users: 1_000, pages: 100, events: 0 };
    let pipeline = bed.pipeline(&load.name, &load, f64::from(pace))?;
    // Free a moment ago; nobody else takes it in the meantime, or `serve` says so.
    let gateway = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let start = |arguments: &[&str]| Process::start(bed.weir(&pipeline).args(arguments));
    let mut running = vec![
        ("weir process", start(&["process", "--instance", "a"])?),
        ("weir serve", start(&["serve", "--listen", &gateway])?),
        ("weir generate", start(&["generate", "--rate", &pace.to_string()])?),
    ];
    thread::sleep(WARM_UP);

    let (broker, before) = (bed.broker_cpu()?, used(&mut running));
    let time = seconds.to_string();
    let watch = Process::start(bed.audit(&pipeline).args(["--watch", "--seconds", &time]))?;
    let probe = Process::start(bed.audit(&pipeline).args(["--probe", &gateway, "--seconds", &time]))?;
    thread::sleep(Duration::from_secs(seconds));
    let share = |cpu: f64| cpu / seconds as f64 * 100.0;
    let mut processes = Vec::new();
    for ((name, process), before) in running.iter_mut().zip(before) {
        let usage = process.usage();
        let (name, cpu_percent) = ((*name).to_owned(), share(usage.cpu - before));
        processes.push(Share { name, cpu_percent, peak_rss_mib: usage.peak });
    }
    let cpu_percent = share(bed.broker_cpu()? - broker);
    let peak_rss_mib = process::peak(bed.broker()).context("the broker is gone")?;
    processes.push(Share { name: "Kafka".to_owned(), cpu_percent, peak_rss_mib });
    let ((_, watched), (_, probed)) = (watch.finish()?, probe.finish()?);
    let mut generated = String::new();
    while let Some((_, process)) = running.pop() {
        generated += &process.stop()?.1;
    }

    let (results, lags) = watched.split_once("\nevents stored").context("weir-audit says nothing of lag")?;
    let (_, acknowledged) =
        generated.rsplit_once("acknowledged").context("weir generate says nothing of times")?;
    let acknowledged = acknowledged.lines().next().unwrap_or_default();
    eprintln!("{pace} events/s\n  {watched}  {probed}  acknowledged{acknowledged}");
    Ok(Pace {
        events_per_second: pace,
        seconds,
        produce: times(acknowledged)?,
        seal_to_result: times(results)?,
        event_to_live: times(&probed)?,
        lag_p95: after(lags, "p95 ")?,
        lag_most: after(lags, "most ")?,
        processes,
    })
}

fn used(running: &mut [(&str, Process)]) -> Vec<f64> {
    running.iter_mut().map(|(_, process)| process.usage().cpu).collect()
}

fn times(text: &str) -> anyhow::Result<Times> {
    let (p50, p99) = (after(text, "p50 ")?, after(text, "p99 ")?);
    Ok(Times { p50, p95: after(text, "p95 ").ok(), p99, count: after(text, " of ").ok() })
}

/// The number that follows a word.
fn after(text: &str, word: &str) -> anyhow::Result<f64> {
    let rest = text.split_once(word).map_or("", |(_, rest)| rest);
    let number = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    number.parse().with_context(|| format!("no number after {word:?} in {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_parsed_from_output() {
        let output = "to its committed result: p50 50 ms, p95 76.5 ms, p99 136 ms of 31";
        assert_eq!(
            times(output).unwrap(),
            Times { p50: 50.0, p95: Some(76.5), p99: 136.0, count: Some(31.0) }
        );
        assert!(times("p50 - ms").is_err());
    }
}
