//! `cargo xtask faults`.

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
    let weir = crate::target().join("release/weir");
    let run = ["run", "--quiet", "--release", "--locked", "-p", "weir-faults", "--"];
    let (minutes, seed) = (options.minutes.to_string(), options.seed.to_string());
    succeeds(cargo(&run).args(["--minutes", &minutes, "--seed", &seed, "--weir"]).arg(weir))
}
