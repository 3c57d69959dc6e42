//! Log lines on stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Readable text.
    Text,
    /// One JSON object per line.
    Json,
}

const VARIABLE: &str = "WEIR_LOG";

/// Writes this process's log lines to stderr, filtered by `WEIR_LOG`, or by `default`. Coloured only if stderr is a terminal
/// and `NO_COLOR` is not set.
///
/// # Errors
/// `WEIR_LOG` is not a valid filter.
pub fn log_to_stderr(format: LogFormat, default: &str) -> Result<(), String> {
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) if !filter.is_empty() => self::filter(&filter)?,
        _ => EnvFilter::new(default),
    };
    let color =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logs = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    match format {
        LogFormat::Text => logs.with_ansi(color).init(),
        LogFormat::Json => logs.json().with_current_span(false).init(),
    }
    Ok(())
}

/// Parses a filter in which each part has a level. A misspelt level would be taken for a module's name, and hide all other lines.
fn filter(text: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = |part: &str| {
        format!(
            "{VARIABLE}: found `{part}`, expected one of {}, or such a level for a part of the program, as in info,weir_processor=debug",
            LEVELS.join(", ")
        )
    };
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(wrong(part));
        }
    }
    EnvFilter::try_new(text).map_err(|_| wrong(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_filter_needs_a_level() {
        for good in ["debug", "WARN", "info,weir_processor=debug", "off,librdkafka=info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (wrong, part) in [
            ("debgu", "debgu"),
            ("info,weir_processor=loud", "weir_processor=loud"),
            ("weir_processor", "weir_processor"),
            ("info,,", ""),
        ] {
            let message = filter(wrong).err().unwrap_or_default();
            assert!(
                message.starts_with(&format!("WEIR_LOG: found `{part}`, expected one of off, error,")),
                "{message}"
            );
        }
    }
}
