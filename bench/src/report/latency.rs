//! The latency section.

use std::fmt::Write;

use super::{machine, thousands};
use crate::latency::{Latency, Times};

/// The section's text.
pub(super) fn text(found: &Latency) -> String {
    let mut text = String::from("| | |");
    let paces = &found.paces;
    for pace in paces {
        let _ = write!(text, " {} events/s |", thousands(u64::from(pace.events_per_second)));
    }
    text += "\n|---|---|";
    text += &"--:|".repeat(paces.len());
    text += "\n";
    let mut row = |what: &str, which: &str, values: Vec<String>| {
        let _ = writeln!(text, "| {what} | {which} | {} |", values.join(" | "));
    };
    type Of = fn(&crate::latency::Pace) -> Times;
    let timed: [(&str, Of); 3] = [
        ("sent to acknowledged", |pace| pace.produce),
        ("sealed to committed result", |pace| pace.seal_to_result),
        ("event to live value", |pace| pace.event_to_live),
    ];
    let ms = |value: f64| format!("{value:.0} ms");
    for (what, of) in timed {
        row(what, "p50", paces.iter().map(|pace| ms(of(pace).p50)).collect());
        if paces.iter().all(|pace| of(pace).p95.is_some()) {
            row("", "p95", paces.iter().filter_map(|pace| of(pace).p95).map(ms).collect());
        }
        row("", "p99", paces.iter().map(|pace| ms(of(pace).p99)).collect());
    }
    row(
        "stored, not yet committed",
        "p95",
        paces.iter().map(|pace| format!("{:.0} events", pace.lag_p95)).collect(),
    );
    row("", "most", paces.iter().map(|pace| format!("{:.0} events", pace.lag_most)).collect());
    let names = paces.first().into_iter().flat_map(|pace| &pace.processes).map(|process| &process.name);
    for (i, name) in names.enumerate() {
        let of = |pace: &crate::latency::Pace| {
            let share = pace.processes.get(i);
            share.map_or(String::new(), |share| {
                format!("{:.1} %, {:.0} MiB", share.cpu_percent, share.peak_rss_mib)
            })
        };
        row(name, "of a core, most memory", paces.iter().map(of).collect());
    }
    let seconds = paces.first().map_or(0, |pace| pace.seconds);
    let _ =
        writeln!(text, "\nEach pace for {seconds} s. {}, Kafka {}.", machine(&found.machine), found.kafka);
    text
}
