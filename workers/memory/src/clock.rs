//! The broker's clock: record timestamps and every timeout are taken from it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of a broker. It never runs backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Real time; polls wait for data.
    System,
    /// Starts at the given milliseconds since the epoch and moves only by `advance`; polls never wait.
    Manual(i64),
}

/// A running clock.
#[derive(Debug)]
pub(super) enum Running {
    System { epoch: i64, since: Instant },
    Manual(i64),
}

impl Running {
    pub(super) fn start(clock: Clock) -> Self {
        match clock {
            Clock::System => {
                let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Self::System { epoch: millis(epoch), since: Instant::now() }
            }
            Clock::Manual(start) => Self::Manual(start),
        }
    }

    pub(super) fn now(&self) -> i64 {
        match self {
            Self::System { epoch, since } => epoch + millis(since.elapsed()),
            Self::Manual(now) => *now,
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
