//! `cargo xtask ci`.

use std::time::{Duration, Instant};

use crate::test::Outcome;
use crate::{bench, browser, cargo, crds, succeeds, test};

type Step = (&'static str, fn() -> anyhow::Result<bool>);

const STEPS: &[Step] = &[
    ("format", || succeeds(&mut cargo(&["fmt", "--all", "--check"]))),
    ("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        succeeds(&mut cargo(&arguments))
    }),
    ("generated files", || Ok(crds::run(true)? & bench::is_reported()?)),
    ("dashboard", browser::dashboard),
    ("instructions", bench::is_as_fast),
];

/// Runs every step, also after one failed, so that one run tells everything; then the tests, so that their counts are the
/// last lines. Whether all succeeded.
pub(crate) fn run() -> anyhow::Result<bool> {
    let mut done = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let begin = Instant::now();
        done.push((*name, step()?, begin.elapsed()));
    }
    println!("== test");
    let begin = Instant::now();
    let tests: Outcome = test::all(&[])?;
    done.push(("test", tests.succeeded, begin.elapsed()));

    println!();
    for &(name, succeeded, took) in &done {
        println!("{}", line(name, succeeded, took));
    }
    print!("{}", tests.report);
    Ok(done.iter().all(|(_, succeeded, _)| *succeeded))
}

fn line(name: &str, succeeded: bool, took: Duration) -> String {
    format!("{:<6} {:>6.1} s  {name}", if succeeded { "ok" } else { "FAILED" }, took.as_secs_f64())
}
