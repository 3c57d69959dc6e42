//! `cargo xtask bench`.

use crate::{cargo, succeeds};

/// Options with which bench/ needs no other program.
const STANDALONE_OPTIONS: [&str; 4] = ["--report", "--instructions", "--curves", "--help"];

/// Builds in release mode, then runs bench/; whether it succeeded.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if !arguments.iter().any(|argument| STANDALONE_OPTIONS.contains(argument))
        && !succeeds(&mut cargo(&["build", "--release", "--locked", "-p", "weir", "-p", "weir-audit"]))?
    {
        return Ok(false);
    }
    bench(&arguments)
}

/// Whether docs/performance.md and its pictures match the stored measurements.
pub(crate) fn is_reported() -> anyhow::Result<bool> {
    bench(&["--report", "--check"])
}

/// Whether no fixed workload takes more instructions than was accepted.
pub(crate) fn is_as_fast() -> anyhow::Result<bool> {
    bench(&["--instructions"])
}

fn bench(arguments: &[&str]) -> anyhow::Result<bool> {
    let run = ["run", "--quiet", "--release", "--locked", "-p", "weir-bench", "--"];
    succeeds(cargo(&run).args(arguments))
}
