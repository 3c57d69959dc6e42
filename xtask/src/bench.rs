//! `cargo xtask bench`.

use crate::{cargo, succeeds};

/// What is measured, and what measures.
const PACKAGES: [&str; 6] = ["-p", "weir", "-p", "weir-audit", "-p", "weir-bench"];

/// Builds as for users, then lets `bench/` measure; whether it succeeded.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<bool> {
    if !succeeds(cargo(&["build", "--release", "--locked"]).args(PACKAGES))? {
        return Ok(false);
    }
    let run = ["run", "--quiet", "--release", "--locked", "-p", "weir-bench", "--"];
    succeeds(cargo(&run).args(arguments))
}
