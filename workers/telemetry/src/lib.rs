//! Health, metrics and log lines, common to all programs.
//!
//! ```
//! use weir_telemetry::Health;
//!
//! let mut health = Health::new();
//! let heartbeat = health.heartbeat("reader", false);
//! heartbeat.success();
//! assert!(heartbeat.is_ready(weir_telemetry::millis()));
//! ```

mod health;
mod logging;

use std::time::{SystemTime, UNIX_EPOCH};

pub use health::{Health, HealthError, Heartbeat, OpenMetrics, openmetrics};
pub use logging::{LogFormat, log_to_stderr};

/// The wall clock, milliseconds since the epoch.
pub fn millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
