//! What can be said on the command line.

use clap::{Parser, Subcommand};

/// Keeps the Kafka topics and the pods of each ClickstreamPipeline as the resource says.
#[derive(Debug, Parser)]
#[command(name = "weir-operator", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the custom resource's definition.
    Crd,
}
