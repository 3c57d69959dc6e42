//! `cargo xtask ci`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{bench, browser, cargo, crds, deny, structure, succeeds, totals};

type Step = (&'static str, fn() -> anyhow::Result<bool>);

const STEPS: &[Step] = &[
    ("format", || succeeds(&mut cargo(&["fmt", "--all", "--check"]))),
    ("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        succeeds(&mut cargo(&arguments))
    }),
    ("dependencies", deny::run),
    ("generated files", || Ok(crds::run(true)? & bench::is_reported()?)),
    ("structure", structure::run),
    ("dashboard", browser::dashboard),
    ("instructions", bench::is_as_fast),
];

/// Runs every step, also after one failed, so that one run reports all failures; then the tests, so that their counts are the
/// last lines. Whether all succeeded.
pub(crate) fn run() -> anyhow::Result<bool> {
    let mut done = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let begin = Instant::now();
        let succeeded = step().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            false
        });
        done.push((*name, succeeded, begin.elapsed()));
    }
    println!("== test");
    let begin = Instant::now();
    let (succeeded, report) = tests()?;
    done.push(("test", succeeded, begin.elapsed()));

    println!();
    for &(name, succeeded, took) in &done {
        println!("{}", line(name, succeeded, took));
    }
    print!("{report}");
    Ok(done.iter().all(|(_, succeeded, _)| *succeeded))
}

/// Runs the tests by the command of the README, so that this is tested too; whether all passed, and the counts, which are its
/// last lines.
fn tests() -> anyhow::Result<(bool, String)> {
    let mut command = cargo(&["xtask", "test"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not run cargo xtask test")?;
    let output = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut report = Report::default();
    for line in output.split(b'\n') {
        if let Some(line) = report.hold_back(String::from_utf8_lossy(&line?).into_owned()) {
            println!("{line}");
        }
    }
    Ok((child.wait()?.success(), report.0))
}

/// The counts at the end of the tests' output.
#[derive(Default)]
struct Report(String);

impl Report {
    /// The line, if the counts have not begun.
    fn hold_back(&mut self, line: String) -> Option<String> {
        if self.0.is_empty() && line != totals::HEADER {
            return Some(line);
        }
        self.0.extend([&line, "\n"]);
        None
    }
}

fn line(name: &str, succeeded: bool, took: Duration) -> String {
    format!("{:<6} {:>6.1} s  {name}", if succeeded { "ok" } else { "FAILED" }, took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_held_back_until_the_end() {
        let counts = totals::Totals::default().report(true);
        let output = format!("running 1 test\ntest passed failed skipped ... ok\n{counts}");
        let mut report = Report::default();
        let shown: Vec<_> = output.lines().filter_map(|line| report.hold_back(line.to_owned())).collect();
        assert_eq!(shown, ["running 1 test", "test passed failed skipped ... ok", ""]);
        assert_eq!(format!("\n{}", report.0), counts);
    }
}
