//! `cargo xtask test`.

use std::io::{self, BufRead, BufReader};

use anyhow::Context;
use weir_broker::{EXISTING, Kafka};

use crate::cargo;
use crate::totals::Totals;

/// The outcome of the tests.
struct Outcome {
    succeeded: bool,
    /// The counts of every binary and, as the last line, their sum.
    report: String,
}

/// Runs the tests and prints their counts last. Whether all passed.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let outcome = all(arguments)?;
    print!("{}", outcome.report);
    Ok(outcome.succeeded)
}

/// Runs the tests, with one Kafka for all that do not need one of their own.
fn all(arguments: &[String]) -> anyhow::Result<Outcome> {
    let mut command = cargo(&["test", "--locked", "--no-fail-fast"]);
    if arguments.is_empty() {
        command.arg("--workspace");
    }
    let existing = std::env::var(EXISTING).is_ok_and(|bootstrap| !bootstrap.is_empty());
    let kafka = if existing { None } else { Some(Kafka::start(1)?) };
    if let Some(kafka) = &kafka {
        command.env(EXISTING, kafka.bootstrap());
    }
    // One pipe for both streams, so that cargo's line on a binary precedes that binary's own.
    let (reader, writer) = io::pipe()?;
    command.args(arguments).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("could not run cargo")?;
    drop(command); // it holds the pipe open
    let mut totals = Totals::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals.read(&line);
    }
    let succeeded = child.wait()?.success();
    Ok(Outcome { succeeded: succeeded && totals.sum().failed == 0, report: totals.report(succeeded) })
}
