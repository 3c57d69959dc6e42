//! `cargo xtask faults`.

use std::process::Command;

use crate::{cargo, succeeds};

/// The profile of what is built: not the released one, as failpoints are compiled in.
const PROFILE: &str = "faults";

#[derive(clap::Args)]
pub(crate) struct FaultsOptions {
    /// The faults, such as F1 F4; all when absent
    faults: Vec<String>,
    /// How long the mix (F25) goes on
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Order and moments of the faults; the mix goes on so long with each of several, as in 1,2,3
    #[arg(long, default_value = "1")]
    seed: String,
    /// Fewer faults, and a quarter of the repetitions, as for CI
    #[arg(long)]
    short: bool,
    /// Keep the logs of processors in this folder
    #[arg(long, value_name = "FOLDER")]
    logs: Option<std::path::PathBuf>,
    /// Write the table into docs/reliability.md
    #[arg(long)]
    write: bool,
}

/// Builds with failpoints, then runs testbed/faults; whether every invariant held.
pub(crate) fn run(options: &FaultsOptions) -> anyhow::Result<bool> {
    let FaultsOptions { faults, minutes, seed, short, logs, write } = options;
    let build = [
        "build",
        "--profile",
        PROFILE,
        "--locked",
        "-p",
        "weir",
        "-p",
        "weir-faults",
        "--features",
        "weir/failpoints",
    ];
    if !succeeds(&mut cargo(&build))? {
        return Ok(false);
    }
    // The built program, not `cargo run`, which would recompile everything for this package alone.
    let built = weir_broker::target().join(PROFILE);
    let mut suite = Command::new(built.join("weir-faults"));
    suite.current_dir(crate::root()).args(faults);
    suite.args(["--minutes", &minutes.to_string(), "--seed", seed, "--weir"]).arg(built.join("weir"));
    suite.args(short.then_some("--short"));
    suite.args(logs.iter().flat_map(|logs| ["--logs".as_ref(), logs.as_os_str()]));
    suite.args(write.then_some("--page=docs/reliability.md"));
    succeeds(&mut suite)
}
