//! Log lines on stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

const VARIABLE: &str = "WEIR_LOG";

/// Writes this process's log lines to stderr, filtered as `WEIR_LOG` says, or else by `default`. With colours only where
/// that is a terminal and `NO_COLOR` is not set: elsewhere they would be control characters in a file.
///
/// # Errors
/// `WEIR_LOG` is no filter.
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

/// A filter of which each part has a level. A word that is none would be taken for the name of a module, and hide all others.
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
    fn a_filter_says_levels() {
        for good in ["debug", "WARN", "info,weir_processor=debug", "off,librdkafka=info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (wrong, part) in [
            ("debgu", "debgu"),
            ("info,weir_processor=loud", "weir_processor=loud"),
            ("weir_processor", "weir_processor"),
            ("info,,", ""),
        ] {
            let told = filter(wrong).err().unwrap_or_default();
            assert!(
                told.starts_with(&format!("WEIR_LOG: found `{part}`, expected one of off, error,")),
                "{told}"
            );
        }
    }
}
