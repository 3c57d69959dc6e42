//! What was stored, as the documentation shows it.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    machine::Machine,
    plot::{Bar, bars},
    throughput::{Run, Subject, Table, Throughput},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PAGE: &str = "docs/performance.md";

/// Keeps what was found: for the documentation, or (`quick`) where nothing is kept for long.
pub(crate) fn store<T: Serialize>(found: &T, name: &str, quick: bool) -> anyhow::Result<()> {
    let folder = Path::new(ROOT).join(if quick { "target/bench" } else { "bench/results" });
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_string_pretty(found)? + "\n")
        .with_context(|| format!("{}", file.display()))?;
    Ok(())
}

/// Writes the documentation's tables and pictures from what is stored. With `check`: whether they are as they would be written.
pub(crate) fn write(check: bool) -> anyhow::Result<bool> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    let page = Path::new(ROOT).join(PAGE);
    let mut text = fs::read_to_string(&page)?;
    if let Some(found) = stored::<Throughput>("throughput")? {
        text = put(&text, "throughput", &throughput(&found))?;
        files.push((picture("throughput"), throughput_picture(&found)));
    }
    files.push((page, text));
    let mut same = true;
    for (file, text) in files {
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        same = false;
        let name = file.strip_prefix(ROOT).unwrap_or(&file).display();
        if check {
            println!("{name} is not what bench/results says: run `cargo xtask bench --report`");
        } else {
            fs::write(&file, text)?;
            println!("wrote {name}");
        }
    }
    Ok(same || !check)
}

/// What was measured on one load, as a table.
pub(crate) fn table(table: &Table) -> String {
    let load = &table.load;
    let mut text = format!(
        "{} events of {} visitors on {} pages, {}:\n\n\
         | | CPU per event | of the drain's | events/s | of the drain's | peak memory | broker's CPU per event |\n|---|--:|--:|--:|--:|--:|--:|\n",
        thousands(load.events),
        thousands(u64::from(load.users)),
        thousands(u64::from(load.pages)),
        match rounds(table) {
            1 => "once".to_owned(),
            rounds => format!("median of {rounds} rounds (least to most)"),
        }
    );
    for subject in subjects(table) {
        let each = |value: fn(&Run) -> f64| per_event(table, subject, value);
        let speed = |run: &Run| 1.0 / clock(run);
        let _ = writeln!(
            text,
            "| {} | {} µs | {} | {} | {} | {:.0} MiB | {:.2} µs |",
            subject.name(),
            spread(&each(cpu), 2),
            spread(&beside_drain(table, subject, cpu), 1),
            thousands(
                (median(&each(speed).iter().map(|each| each * 1e12).collect::<Vec<_>>()) / 1e3).round()
                    as u64
                    * 1_000
            ),
            percent(median(&beside_drain(table, subject, speed))),
            runs(table, subject).map(|run| run.peak_rss_mib).fold(0.0, f64::max),
            median(&each(|run| run.broker_cpu_s)),
        );
    }
    text
}

/// A ratio below 1 as a share, above as a multiple, would be hard to compare: always a share.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn throughput(found: &Throughput) -> String {
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

/// Where it was measured, in a sentence without its end.
fn machine(machine: &Machine) -> String {
    let Machine { date, processor, cores, memory_gib, system, rustc, java, commit, load_average } = machine;
    format!(
        "Measured {date} at {commit} on {cores} cores ({processor}), {memory_gib} GiB, {system}, load average {load_average} before the \
         start; {rustc}, {java}"
    )
}

fn throughput_picture(found: &Throughput) -> String {
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

/// A JVM's start is no cost of an event: what is told of Flink begins with its first event.
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

/// What one subject needed as a multiple of what another did, by round: what the machine was busy with then, both felt.
fn beside(table: &Table, subject: Subject, other: Subject, value: fn(&Run) -> f64) -> Vec<f64> {
    let other = |round| runs(table, other).find(|run| run.round == round);
    runs(table, subject).filter_map(|run| Some(value(run) / value(other(run.round)?))).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The median and, where there are several, the least and the greatest.
fn spread(values: &[f64], digits: usize) -> String {
    let (least, most) = values
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(*value), most.max(*value)));
    let median = median(values);
    if values.len() < 2 {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({least:.digits$} - {most:.digits$})")
}

/// A number with commas between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn stored<T: DeserializeOwned>(name: &str) -> anyhow::Result<Option<T>> {
    let file = Path::new(ROOT).join(format!("bench/results/{name}.json"));
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    serde_json::from_str(&text).with_context(|| format!("{}", file.display())).map(Some)
}

fn picture(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("docs/pictures/{name}.svg"))
}

/// The page with another text between the markers of this name.
fn put(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), "<!-- /measured -->");
    let (before, rest) = page.split_once(&begin).with_context(|| format!("{PAGE} has no line {begin}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{PAGE} has no {end} after {begin}"))?;
    ensure!(!text.contains("<!--"), "a marker in what was measured");
    Ok(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "# A\n<!-- measured: x -->\nold\n<!-- /measured -->\nrest\n<!-- measured: y -->\n<!-- /measured -->\n";
        let put = put(page, "x", "new\n\n").unwrap();
        assert_eq!(put, page.replace("old", "new"));
        assert!(super::put(page, "z", "").is_err());
    }

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
        let load = crate::bed::Load { name: "x".into(), users: 1, pages: 1, events: 1_000_000 };
        let runs = vec![
            run(Subject::Drain, 1, 1.0),
            run(Subject::Weir, 1, 3.0),
            run(Subject::Drain, 2, 2.0),
            run(Subject::Weir, 2, 4.0),
        ];
        let table = Table { load, fill_cpu_s: 0.0, fill_wall_s: 0.0, runs };
        assert_eq!(beside_drain(&table, Subject::Weir, cpu), [3.0, 2.0]);
        assert_eq!(per_event(&table, Subject::Weir, cpu), [3.0, 4.0]);
        assert_eq!(spread(&[3.0, 1.0, 2.0], 1), "2.0 (1.0 - 3.0)");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([7, 1_000, 12_345_678].map(thousands), ["7", "1,000", "12,345,678"]);
    }
}
