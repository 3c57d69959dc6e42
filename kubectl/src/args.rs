//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Looks after ClickstreamPipelines from the command line.
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
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show conditions, processors, topics, and how far processing is.
    Status(Pipeline),
    /// Show the ranking of the newest sealed window.
    Top(Pipeline),
    /// Show why the newest records that are no valid event, or came too late, are not counted, and where they are.
    DeadLetters(Pipeline),
    /// Say what is wrong and what to do; exits with 1 if anything is.
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
    /// Let the operator change nothing (annotation weir.dev/paused). Pods run on.
    Pause(Pipeline),
    /// Let the operator work again.
    Resume(Pipeline),
    /// Roll the pods, one after the other (annotation kubectl.kubernetes.io/restartedAt of their templates).
    Restart(Pipeline),
}

/// Which pipeline.
#[derive(Debug, Clone, clap::Args)]
pub struct Pipeline {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub name: String,
}
