//! Development tasks, as `cargo xtask COMMAND`: tests with the parts they need, everything that CI checks, a Kafka to try
//! things on, coverage.

mod api;
mod bench;
mod browser;
mod chart;
mod ci;
mod coverage;
mod crds;
mod deny;
mod e2e;
mod faults;
mod fuzz;
mod generated;
mod kafka;
mod olm;
mod sbom;
mod structure;
mod test;
mod tool;
mod totals;

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test and start what the tests need; the last line is the sum
    Test {
        /// For `cargo test`, such as `-p weir-processor` or a test's name; all tests when absent
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything that CI checks, the tests last
    Ci,
    /// A Kafka on the loopback address
    Kafka {
        #[command(subcommand)]
        action: kafka::Action,
    },
    /// Fuzz the gateway's API against its OpenAPI document (needs python3; installs schemathesis in the cache)
    Api,
    /// Run the benchmarks: `cargo xtask bench --help` lists them
    #[command(disable_help_flag = true)]
    Bench {
        /// For bench/
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Test the dashboard in a real browser (needs Chromium and npm)
    Browser,
    /// Generate the custom resource's definition from the types (crds/, and the chart's), the chart's README from its values, and the
    /// bundle for the Operator Lifecycle Manager (dist/olm) from the chart (needs Go; compiles helm once)
    Crds {
        /// Write nothing; fail when something would be written
        #[arg(long)]
        check: bool,
    },
    /// Generate that bundle alone, also with other values of the chart, as for a release
    Olm(olm::OlmOptions),
    /// Print the crates by floor; fail where something is imported upwards, or files of a crate import each other in a circle
    Structure,
    /// Write which crates each program is made of, as CycloneDX, into target/sbom (installs cargo-cyclonedx in the cache)
    Sbom,
    /// Check licences, versions and sources of all dependencies with cargo-deny (installs it in the cache)
    Deny,
    /// Install the product on a real cluster and test it there: scaling, another image, lost pods, against the oracle
    E2e(e2e::E2eOptions),
    /// Inject faults by name into pipelines on real brokers, and check every invariant (docs/reliability.md)
    Faults(faults::FaultsOptions),
    /// Fuzz the decoders for longer than the tests do; findings are added to testbed/fuzz/corpus
    Fuzz(fuzz::FuzzOptions),
    /// Run every test and print how many lines of each crate they reach
    Coverage,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test { arguments } => test::run(&arguments),
        Task::Ci => ci::run(),
        Task::Kafka { action } => kafka::run(&action),
        Task::Api => api::run(),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Browser => browser::run(),
        Task::Crds { check } => crds::run(check),
        Task::Olm(options) => olm::run(&options),
        Task::Structure => structure::run(),
        Task::Sbom => sbom::run(),
        Task::Deny => deny::run(),
        Task::E2e(options) => e2e::run(&options),
        Task::Faults(options) => faults::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Coverage => coverage::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that started this program, at the workspace's root.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// Runs a command with its output on this terminal; whether it succeeded.
fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let program = command.get_program().to_string_lossy().into_owned();
    Ok(command.status().with_context(|| format!("could not run {program}"))?.success())
}

/// The workspace's root.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
