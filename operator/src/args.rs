//! The operator's command line.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use weir_arguments::{listen_address, number};
pub use weir_telemetry::LogFormat;

/// Keeps the Kafka topics and the pods of each ClickstreamPipeline in sync with its resource.
#[derive(Debug, Parser)]
#[command(name = "weir-operator", version)]
pub struct Args {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile the pipelines of a cluster, or of one namespace.
    Run(Run),
    /// Release the finalizers of pipelines whose operator is gone for good, so that they can be deleted. Their topics stay.
    Release(Release),
    /// Print the custom resource's definition.
    Crd,
}

/// Options of `release`.
#[derive(Debug, Clone, clap::Args)]
pub struct Release {
    /// The namespace whose pipelines the operator reconciled, or `all`.
    #[arg(long, env = "WEIR_NAMESPACE", default_value = "all", value_name = "NAMESPACE")]
    pub namespace: String,
    /// How log lines on stderr are written. WEIR_LOG filters them (info, debug, weir_operator=debug, ...).
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// Options of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct Run {
    /// The namespace whose pipelines to reconcile, or `all`.
    #[arg(long, env = "WEIR_NAMESPACE", default_value = "all", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Reconcile only pipelines with these labels, such as team=web or class in (a,b): with selectors of their own, operators in different
    /// namespaces share a cluster.
    #[arg(long, env = "WEIR_SELECTOR", value_name = "LABELS")]
    pub selector: Option<String>,
    /// The image of the pipelines' pods.
    #[arg(long, env = "WEIR_IMAGE", default_value = concat!("weir:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// Labels of a pipeline's resource that its objects and pods inherit: names, or prefixes of names as in `team/*`.
    #[arg(long, env = "WEIR_INHERIT_LABELS", value_name = "NAME,...", value_delimiter = ',')]
    pub inherit_labels: Vec<String>,
    /// Annotations of a pipeline's resource that its objects inherit.
    #[arg(long, env = "WEIR_INHERIT_ANNOTATIONS", value_name = "NAME,...", value_delimiter = ',')]
    pub inherit_annotations: Vec<String>,
    /// Allow `podTemplate` to set what reaches beyond a pod: service accounts, the node's files, network and devices.
    #[arg(long, env = "WEIR_ALLOW_PRIVILEGED_PODS")]
    pub allow_privileged_pods: bool,
    /// Seconds without progress after which a pipeline's workload counts as failed; until then it counts as progressing.
    #[arg(long, env = "WEIR_PROGRESS_DEADLINE", default_value_t = 300, value_name = "SECONDS", allow_negative_numbers = true, value_parser = number("seconds", 1..=86_400_u32))]
    pub progress_deadline: u32,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "WEIR_HEALTH", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub health: SocketAddr,
    /// How log lines on stderr are written. WEIR_LOG filters them (info, debug, weir_operator=debug, ...).
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}
