//! `cargo xtask faults`.

use std::process::Command;

use crate::{cargo, succeeds};

#[derive(clap::Args)]
pub(crate) struct FaultsOptions {
    /// How long faults go on
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Order and moments of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds in release mode, then runs testbed/faults; whether it found no difference.
pub(crate) fn run(options: &FaultsOptions) -> anyhow::Result<bool> {
    if !succeeds(&mut cargo(&["build", "--release", "--locked", "-p", "weir", "-p", "weir-faults"]))? {
        return Ok(false);
    }
    // The built program, not `cargo run`, which would recompile everything for this package alone.
    let built = weir_broker::target().join("release");
    let mut faults = Command::new(built.join("weir-faults"));
    let (minutes, seed) = (options.minutes.to_string(), options.seed.to_string());
    faults.current_dir(crate::root()).args(["--minutes", &minutes, "--seed", &seed, "--weir"]);
    succeeds(faults.arg(built.join("weir")))
}
