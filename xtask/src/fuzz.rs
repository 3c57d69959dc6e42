//! `cargo xtask fuzz`.

use crate::{cargo, succeeds};

#[derive(clap::Args)]
pub(crate) struct FuzzOptions {
    /// A part of the targets' names, such as `avro` or `snapshot`; all targets when absent
    #[arg(default_value = "")]
    target: String,
    /// How long each target is run; the targets of a crate run at the same time
    #[arg(long, default_value_t = 5)]
    minutes: u64,
}

/// The crates with targets: tests whose names begin with `fuzz_`.
const CRATES: [&str; 6] =
    ["weir-events", "weir-log", "weir-analytics", "weir-processor", "weir-manifest", "weir-gateway"];

/// Runs the targets with mutations of their own. Whether none found anything; a finding is added to testbed/fuzz/corpus.
pub(crate) fn run(options: &FuzzOptions) -> anyhow::Result<bool> {
    let mut tests = cargo(&["test", "--locked", "--no-fail-fast", "--lib", "--test", "fuzz"]);
    tests.args(CRATES.iter().flat_map(|name| ["-p", name]));
    tests.args(["--", "--nocapture", &format!("fuzz_{}", options.target.replace('-', "_"))]);
    succeeds(tests.env("WEIR_FUZZ_SECONDS", (options.minutes * 60).to_string()))
}
