//! The plugin's command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Inspects and controls ClickstreamPipelines from the command line.
#[derive(Debug, Parser)]
#[command(name = "kubectl-weir", bin_name = "kubectl weir", version)]
pub struct Args {
    /// The pipeline's namespace. Without it: that of the kubeconfig's context.
    #[arg(long, short, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The kubeconfig. Without it: as kubectl finds it.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show conditions, processors, topics and progress.
    Status(Pipeline),
    /// Show the ranking of the newest sealed window.
    Top(Pipeline),
    /// Show the newest dead letters: why records were invalid or late, and their offsets in the events topic.
    DeadLetters(Pipeline),
    /// Report problems and their remedies; exits with 1 if there are any.
    Doctor(Pipeline),
    /// Write the resource, its objects, its pods' logs and its events into a tar file. Secrets are not read; values of environment
    /// variables, arguments, commands and others' annotations are left out.
    SupportBundle {
        /// The pipeline.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Where to write it. Without it: NAME-support.tar here.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Pause the operator's changes (annotation weir.dev/paused). Pods run on.
    Pause(Pipeline),
    /// Resume the operator's changes.
    Resume(Pipeline),
    /// Roll the pods, one after the other (annotation kubectl.kubernetes.io/restartedAt of their templates).
    Restart(Pipeline),
}

/// The pipeline.
#[derive(Debug, Clone, clap::Args)]
pub struct Pipeline {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub name: String,
}
