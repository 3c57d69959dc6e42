//! How much of a topic is kept.

use std::time::Duration;

/// How much of a topic is kept. The default keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Bytes per partition, bookkeeping included.
    pub max_bytes: Option<usize>,
    /// Age by the broker's clock.
    pub max_age: Option<Duration>,
}
