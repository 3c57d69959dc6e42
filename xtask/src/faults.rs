//! `cargo xtask faults`.

use std::process::Command;

use crate::{cargo, succeeds};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long faults go on
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Order and moments of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds as for users, then lets testbed/faults work; whether nothing was found.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    if !succeeds(&mut cargo(&["build", "--release", "--locked", "-p", "weir", "-p", "weir-faults"]))? {
        return Ok(false);
    }
    // What was built, not `cargo run`: for a package alone cargo would compile all anew.
    let built = crate::target().join("release");
    let mut faults = Command::new(built.join("weir-faults"));
    let (minutes, seed) = (options.minutes.to_string(), options.seed.to_string());
    faults.current_dir(crate::root()).args(["--minutes", &minutes, "--seed", &seed, "--weir"]);
    succeeds(faults.arg(built.join("weir")))
}
