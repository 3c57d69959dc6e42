//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};
use weir_arguments::{bootstrap_servers, listen_address, number, origin};
use weir_processor::worker::TRANSACTION_BYTES;
pub use weir_telemetry::LogFormat;

/// Real-time clickstream analytics over Kafka: exact per-page numbers for sliding event-time windows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub struct Args {
    /// The pipeline's manifest (a ClickstreamPipeline in YAML). Without it: a pipeline named `shop` with all defaults.
    #[arg(long, global = true, env = "WEIR_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Kafka brokers. Without it: the manifest's spec.kafka.bootstrapServers.
    #[arg(long, global = true, env = "WEIR_BROKERS", value_name = "HOST:PORT,...", value_parser = bootstrap_servers)]
    pub brokers: Option<String>,
    /// How log lines on stderr are written. WEIR_LOG filters them (info, debug, weir_processor=debug, ...).
    #[arg(long, global = true, env = "WEIR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: a simulated shop, the processing and the console in one process, without Kafka unless --brokers says
    /// where one is.
    Demo {
        /// How many times faster than the clock event time runs, 1 to 1000. Above 1 it begins in the past and lasts a day.
        #[arg(long, default_value_t = 1.0, value_name = "TIMES", allow_negative_numbers = true, value_parser = speed)]
        speed: f64,
        /// Where the dashboard listens. Without it: on 127.0.0.1, port 8080 or the next that is free.
        #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
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
        #[arg(long, env = "WEIR_INSTANCE", value_name = "NAME", value_parser = instance)]
        instance: Option<String>,
        /// Where health and metrics are served: /healthz, /readyz, /metrics. Without it: nowhere.
        #[arg(long, env = "WEIR_HEALTH", value_name = "ADDRESS:PORT", value_parser = listen_address)]
        health: Option<SocketAddr>,
        /// The key that spec.pii hashes with: every byte of the file, also a newline at its end, at least 16. Without it: the value of
        /// WEIR_PII_KEY, which can be text only.
        #[arg(long, env = "WEIR_PII_KEY_FILE", value_name = "FILE")]
        pii_key_file: Option<PathBuf>,
        /// Outputs are committed once they are so many bytes, also in the middle of what one event causes: fewer take less memory, more
        /// take fewer transactions.
        #[arg(long, env = "WEIR_TRANSACTION_BYTES", default_value_t = TRANSACTION_BYTES, value_name = "BYTES", allow_negative_numbers = true, value_parser = number("bytes", 100_000..=64_000_000_usize))]
        transaction_bytes: usize,
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
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = number("a count", 1..=1_000_000_000_000_u64))]
    pub events: Option<u64>,
    /// Events per second, paced by the clock, as the mean of a day where the manifest's profile is Diurnal; 0: as fast as it can, event time then advances from --start on as the
    /// manifest's eventsPerSecond says. Without it: the manifest's eventsPerSecond.
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = number("events per second", 0.0..=1e6))]
    pub rate: Option<f64>,
    /// Event time of the first event. Without it: now.
    #[arg(long, value_name = "RFC3339", allow_hyphen_values = true, value_parser = moment)]
    pub start: Option<jiff::Timestamp>,
    /// Same seed and options, same events.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number("a number", 0..=u64::MAX))]
    pub seed: Option<u64>,
    /// Share of events that come too late for all their windows.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", allow_negative_numbers = true, value_parser = share())]
    pub late: f64,
    /// Share of events that are sent twice, with the same event_id: each counts once. Without it events have no ids.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", allow_negative_numbers = true, value_parser = share())]
    pub duplicates: f64,
    /// Share of records that are no valid event.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", allow_negative_numbers = true, value_parser = share())]
    pub malformed: f64,
    /// Share of events whose page has a URL like no other, as where links carry a click id: pages beyond limits.pages count as (other).
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", allow_negative_numbers = true, value_parser = share())]
    pub distinct_urls: f64,
    /// Every 10 minutes of event time, for 2 minutes, send two events in five to this page (0: the most popular one), so
    /// that it trends.
    #[arg(long, value_name = "PAGE", allow_negative_numbers = true, value_parser = number("a page's number", 0..=999_999_u32))]
    pub burst: Option<u32>,
    /// Where health and metrics are served: /healthz, /readyz, /metrics. Without it: nowhere.
    #[arg(long, env = "WEIR_HEALTH", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub health: Option<SocketAddr>,
}

/// Options of `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Where to listen. Whoever can reach it can read, there is no login: 0.0.0.0 only where that is wanted.
    #[arg(long, env = "WEIR_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub listen: SocketAddr,
    /// Another site whose pages may send requests, such as https://board.example. May be given several times.
    #[arg(long, env = "WEIR_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub allow_origin: Vec<String>,
    /// Clients of live values at a time.
    #[arg(long, env = "WEIR_MAX_CLIENTS", default_value_t = 2_000, value_name = "COUNT", allow_negative_numbers = true, value_parser = number("a count", 1..=1_000_000_u32))]
    pub max_clients: u32,
    /// Sealed windows are kept for so many hours of event time.
    #[arg(long, env = "WEIR_KEEP_HOURS", default_value_t = 24, value_name = "HOURS", allow_negative_numbers = true, value_parser = number("hours", 1..=8_760_u16))]
    pub keep_hours: u16,
    /// Sealed windows take at most so many MiB; the oldest go first.
    #[arg(long, env = "WEIR_KEEP_MIB", default_value_t = 512, value_name = "MIB", allow_negative_numbers = true, value_parser = number("MiB", 1..=1_048_576_u32))]
    pub keep_mib: u32,
}

fn share() -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    number("a share of the events", 0.0..=1.0)
}

/// The maximum is what one machine processes: a shop with 100 events per second then makes 100,000 per second.
fn speed(text: &str) -> Result<f64, String> {
    number("how many times faster than the clock", 1.0..=1_000.0)(text)
        .map_err(|wrong| format!("{wrong}: more is more than one machine processes"))
}

fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| {
        format!("found `{text}`, expected a date and time with their offset, such as 2026-01-01T00:00:00Z")
    })
}

/// A valid id of a static group member. The transactional id is derived from it too, so each process needs its own.
fn instance(text: &str) -> Result<String, String> {
    const MAX_BYTES: usize = 249;
    if text.is_empty() {
        return Err("found an empty name, with which two processes would end each other: give each its own, such as weir-0, or leave \
                    --instance out"
            .to_owned());
    }
    if text.len() > MAX_BYTES {
        return Err(format!(
            "found {} bytes, expected at most {MAX_BYTES}, which is what Kafka takes",
            text.len()
        ));
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c)) {
        return Err(format!(
            "found `{text}` with `{odd}`, expected a name of a-z, A-Z, 0-9, ., _ and -, which is what Kafka takes"
        ));
    }
    if matches!(text, "." | "..") {
        return Err(format!("found `{text}`, which Kafka does not take: choose another name"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
