//! The throughput section.

use std::fmt::Write;

use super::{machine, median, spread, thousands};
use crate::{
    plot::{Bar, bars},
    throughput::{Run, Subject, Table, Throughput},
};

/// What was measured on one load, as a table.
pub(crate) fn table(table: &Table) -> String {
    let load = &table.load;
    let mut text = format!(
        "{} events of {} visitors on {} pages, {}:\n\n\
         | | CPU per event | times the drain's | events/s | of the drain's | peak memory | broker's CPU per event |\n|---|--:|--:|--:|--:|--:|--:|\n",
        thousands(load.events),
        thousands(u64::from(load.users)),
        thousands(u64::from(load.pages)),
        match rounds(table) {
            1 => "once".to_owned(),
            rounds => format!("median of {rounds} rounds (least - most); without a range: one round"),
        }
    );
    for subject in subjects(table) {
        let each = |value: fn(&Run) -> f64| per_event(table, subject, value);
        let speed: Vec<f64> = runs(table, subject).map(|run| load.events as f64 / clock(run)).collect();
        let _ = writeln!(
            text,
            "| {} | {} µs | {} | {} | {} | {:.0} MiB | {:.2} µs |",
            subject.name(),
            spread(&each(cpu), 2),
            spread(&beside_drain(table, subject, cpu), 1),
            thousands((median(&speed) / 1e3).round() as u64 * 1_000),
            percent(median(&beside_drain(table, subject, |run| 1.0 / clock(run)))),
            runs(table, subject).map(|run| run.peak_rss_mib).fold(0.0, f64::max),
            median(&each(|run| run.broker_cpu_s)),
        );
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The section's text.
pub(super) fn text(found: &Throughput) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "![CPU time per event](pictures/throughput.svg)\n");
    for one in &found.tables {
        let _ = writeln!(text, "{}", table(one));
    }
    for one in &found.tables {
        for peer in [Subject::FlinkSlices, Subject::FlinkWindows] {
            let ratios = beside(one, peer, Subject::Weir, cpu);
            if !ratios.is_empty() {
                let (load, peer) = (&one.load, peer.name());
                let _ = writeln!(
                    text,
                    "- {} visitors, {} pages: {peer} needs {} times the CPU of weir per event.",
                    thousands(u64::from(load.users)),
                    thousands(u64::from(load.pages)),
                    spread(&ratios, 1)
                );
            }
        }
    }
    let _ = writeln!(text, "\n{}, Kafka {}, Flink {}.", machine(&found.machine), found.kafka, found.flink);
    text
}

pub(super) fn picture(found: &Throughput) -> String {
    let mut all = Vec::new();
    for table in &found.tables {
        let load = &table.load;
        all.push(Bar::Title(format!(
            "{} visitors, {} pages, {} events",
            thousands(u64::from(load.users)),
            thousands(u64::from(load.pages)),
            thousands(load.events)
        )));
        for subject in subjects(table) {
            let value = median(&per_event(table, subject, cpu));
            all.push(Bar::Value { label: subject.name().to_owned(), value, own: subject == Subject::Weir });
        }
    }
    bars("CPU time per event, µs (each line is ten times the one before)", &all)
}

/// CPU seconds of a run. Flink's start after its first event: the JVM's start is not a cost of an event.
fn cpu(run: &Run) -> f64 {
    run.after_start.map_or(run.cpu_s, |after| after.cpu_s)
}

fn clock(run: &Run) -> f64 {
    run.after_start.map_or(run.wall_s, |after| after.wall_s)
}

fn subjects(table: &Table) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = table.runs.iter().map(|run| run.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

fn rounds(table: &Table) -> u32 {
    table.runs.iter().map(|run| run.round).max().unwrap_or(0)
}

fn runs(table: &Table, subject: Subject) -> impl Iterator<Item = &Run> {
    table.runs.iter().filter(move |run| run.subject == subject)
}

/// A value of each run, in millionths per event.
fn per_event(table: &Table, subject: Subject, value: fn(&Run) -> f64) -> Vec<f64> {
    runs(table, subject).map(|run| value(run) * 1e6 / table.load.events as f64).collect()
}

fn beside_drain(table: &Table, subject: Subject, value: fn(&Run) -> f64) -> Vec<f64> {
    beside(table, subject, Subject::Drain, value)
}

/// One subject's values as multiples of another's, by round, in which both had the same background load.
fn beside(table: &Table, subject: Subject, other: Subject, value: fn(&Run) -> f64) -> Vec<f64> {
    let other = |round| runs(table, other).find(|run| run.round == round);
    runs(table, subject).filter_map(|run| Some(value(run) / value(other(run.round)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let run = |subject, round, cpu_s| Run {
            subject,
            round,
            wall_s: cpu_s,
            cpu_s,
            peak_rss_mib: 1.0,
            broker_cpu_s: 0.0,
            others_cpu_s: 0.0,
            after_start: None,
        };
        let load = crate::test_bed::Load { name: "x".into(), users: 1, pages: 1, events: 1_000_000 };
        let runs = vec![
            run(Subject::Drain, 1, 1.0),
            run(Subject::Weir, 1, 3.0),
            run(Subject::Drain, 2, 2.0),
            run(Subject::Weir, 2, 4.0),
        ];
        let table = Table { load, fill_cpu_s: 0.0, fill_wall_s: 0.0, runs };
        assert_eq!(beside_drain(&table, Subject::Weir, cpu), [3.0, 2.0]);
        assert_eq!(per_event(&table, Subject::Weir, cpu), [3.0, 4.0]);
    }
}
