//! The `weir` command: runs a pipeline's parts and displays its results. A pipeline is defined by its manifest.

use std::fs;

use anyhow::Context;
use weir_manifest::Pipeline;

pub mod args;
mod backoff;
pub mod console;
pub mod demo;
pub mod generate;
mod generation;
mod key;
mod metrics;
mod part;
pub mod process;
pub mod serve;
mod stages;
mod stopping;
mod summary;
mod takeover;
mod threads;
pub mod top;
pub mod topics;

/// Runs a command to its end.
///
/// # Errors
/// Errors that need the user's action, with messages for the user.
pub fn run(args: args::Args) -> anyhow::Result<()> {
    let args::Args { pipeline, brokers, log_format, command } = args;
    // Lines at level `info` would spoil a display that is redrawn; warnings are still logged.
    let quiet = matches!(command, args::Command::Demo { .. } | args::Command::Top { .. });
    weir_telemetry::log_to_stderr(log_format, if quiet { "warn" } else { "info" })
        .map_err(anyhow::Error::msg)?;
    let pipeline = match pipeline {
        None => Pipeline::demo(),
        Some(file) => {
            let text = fs::read_to_string(&file).with_context(|| {
                format!(
                    "--pipeline: cannot read {}, expected a file such as examples/development.yaml",
                    file.display()
                )
            })?;
            Pipeline::from_yaml(&text)
                .with_context(|| format!("--pipeline: {} is not a pipeline", file.display()))?
        }
    };
    pipeline.supported()?;
    for warning in pipeline.warnings() {
        tracing::warn!("{warning}");
    }
    let stop = stopping::on_signals(if quiet { console::RESTORE } else { "" })?;
    let given = brokers.clone();
    let brokers = || {
        brokers
        .or_else(|| {
            let servers = &pipeline.spec.kafka.bootstrap_servers;
            (!servers.is_empty()).then(|| servers.join(","))
        })
        .context("no Kafka brokers: give --brokers HOST:PORT,..., set WEIR_BROKERS, or spec.kafka.bootstrapServers")
    };
    match command {
        args::Command::Demo { speed, listen } => {
            demo::run(&pipeline, given.as_deref(), &demo::DemoOptions { speed, listen }, &stop)
        }
        args::Command::Topics(args::Topics::Apply(options)) => {
            topics::apply(&pipeline, &brokers()?, &options, &stop)
        }
        args::Command::Generate(options) => generate::run(&pipeline, &brokers()?, &options, &stop),
        args::Command::Process { until_end, instance, health, pii_key_file, transaction_bytes } => {
            let steps = process::Steps { until_end, transaction_bytes };
            let options = process::ProcessOptions { steps, instance, health, pii_key_file };
            process::run(&pipeline, &brokers()?, &options, &stop)
        }
        args::Command::Serve(options) => serve::run(&pipeline, &brokers()?, &options, &stop),
        args::Command::Top { from_beginning } => top::run(&pipeline, &brokers()?, from_beginning, &stop),
    }
}
