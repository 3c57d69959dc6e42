//! What can be said on the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

/// Real-time clickstream analytics over Kafka: exact per-page numbers for sliding event-time windows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub struct Args {
    /// The pipeline's manifest (a ClickstreamPipeline in YAML). Without it: a pipeline named `shop` with all defaults.
    #[arg(long, global = true, env = "WEIR_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Kafka brokers. Without it: the manifest's spec.kafka.bootstrapServers.
    #[arg(long, global = true, env = "WEIR_BROKERS", value_name = "HOST:PORT,...")]
    pub brokers: Option<String>,
    /// How log lines on stderr are written. WEIR_LOG filters them (info, debug, weir_stream=debug, ...).
    #[arg(long, global = true, env = "WEIR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: a simulated shop, the processing and the console in one process, without Kafka unless --brokers says
    /// where one is.
    Demo {
        /// How many times faster than the clock event time runs. Above 1 it begins in the past and lasts a day.
        #[arg(long, default_value_t = 1.0, value_name = "TIMES")]
        speed: f64,
        /// Where the dashboard listens. Without it: on 127.0.0.1, port 8080 or the next that is free.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
    },
    /// The pipeline's Kafka topics.
    #[command(subcommand)]
    Topics(Topics),
    /// Simulate visitors and send their clicks to the events topic.
    Generate(Generate),
    /// Turn events into results. Any number of these processes share a pipeline's partitions.
    Process {
        /// Read to the end of the log, seal what remains, exit.
        #[arg(long)]
        until_end: bool,
        /// A name that stays over restarts, one per process: a restarted process then gets its partitions back, and what its
        /// predecessor left open is ended at once.
        #[arg(long, env = "WEIR_INSTANCE", value_name = "NAME")]
        instance: Option<String>,
        /// Where health and metrics are served: /healthz, /readyz, /metrics. Without it: nowhere.
        #[arg(long, env = "WEIR_HEALTH", value_name = "ADDRESS:PORT")]
        health: Option<SocketAddr>,
    },
    /// Show each sealed window, the most viewed pages and those that trend; in a terminal also what the open window shows.
    Top {
        /// Begin with the first window that is still in the topics.
        #[arg(long)]
        from_beginning: bool,
    },
    /// Serve results and live values over HTTP: the dashboard, REST under /api/v1, a WebSocket, server-sent events. Any number
    /// of these can run.
    Serve(Serve),
}

/// Commands on topics.
#[derive(Debug, Subcommand)]
pub enum Topics {
    /// Create what is missing, with its settings; refuse what cannot be made to fit.
    Apply(crate::topics::Apply),
}

/// Options of `generate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Generate {
    /// Stop after so many events.
    #[arg(long)]
    pub events: Option<u64>,
    /// Events per second, paced by the clock; 0: as fast as it can, event time then advances from --start on as the
    /// manifest's eventsPerSecond says. Without it: the manifest's eventsPerSecond.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Event time of the first event. Without it: now.
    #[arg(long, value_name = "RFC3339")]
    pub start: Option<jiff::Timestamp>,
    /// Same seed and options, same events.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Share of events that come too late for all their windows.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub late: f64,
    /// Share of events that are sent twice.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub duplicates: f64,
    /// Share of records that are no valid event.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub malformed: f64,
    /// Every 10 minutes of event time, for 2 minutes, send two events in five to this page (0: the most popular one), so
    /// that it trends.
    #[arg(long, value_name = "PAGE")]
    pub burst: Option<u32>,
    /// Where health and metrics are served: /healthz, /readyz, /metrics. Without it: nowhere.
    #[arg(long, env = "WEIR_HEALTH", value_name = "ADDRESS:PORT")]
    pub health: Option<SocketAddr>,
}

/// Options of `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Where to listen. Whoever can reach it can read, there is no login: 0.0.0.0 only where that is wanted.
    #[arg(long, env = "WEIR_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Another site whose pages may ask, such as https://board.example. May be given several times.
    #[arg(long, env = "WEIR_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
    /// Clients of live values at a time.
    #[arg(long, env = "WEIR_MAX_CLIENTS", default_value_t = 2_000, value_name = "COUNT")]
    pub max_clients: u32,
    /// Sealed windows are kept for so many hours of event time.
    #[arg(long, env = "WEIR_KEEP_HOURS", default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u16).range(1..=8_760))]
    pub keep_hours: u16,
    /// Sealed windows take at most so many MiB; the oldest go first.
    #[arg(long, env = "WEIR_KEEP_MIB", default_value_t = 512, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_mib: u32,
}
