//! The faults and their order.

use std::fmt;

use rand::{RngExt, seq::SliceRandom};
use rand_pcg::Pcg64;

/// A fault that is injected and healed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every broker is stopped in an orderly way and started again, one after the other.
    RollBrokers,
    /// A broker is killed and started again after so many seconds.
    KillBroker { away: u64 },
    /// A processor is killed and started again.
    KillProcessor,
    /// A processor is stopped by SIGTERM and started again.
    RestartProcessor,
    /// No events are sent.
    Quiet { seconds: u64 },
    /// A transaction with events stays open, then commits or aborts.
    OpenTransaction { seconds: u64, commits: bool },
    /// A record larger than what brokers take uncompressed.
    Oversized,
}

impl Fault {
    /// One of each, in random order.
    pub(crate) fn all(random: &mut Pcg64) -> Vec<Self> {
        let mut all = vec![
            Self::RollBrokers,
            Self::KillBroker { away: random.random_range(1..=15) },
            Self::KillProcessor,
            Self::RestartProcessor,
            // Longer than the idle timeout, and longer than a window.
            Self::Quiet { seconds: random.random_range(10..=20) },
            Self::Quiet { seconds: random.random_range(60..=80) },
            Self::OpenTransaction { seconds: random.random_range(15..=40), commits: true },
            Self::OpenTransaction { seconds: random.random_range(15..=40), commits: false },
            Self::Oversized,
        ];
        all.shuffle(random);
        all
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollBrokers => write!(f, "every broker restarted, one after the other"),
            Self::KillBroker { away } => write!(f, "a broker killed, away for {away} s"),
            Self::KillProcessor => write!(f, "a processor killed"),
            Self::RestartProcessor => write!(f, "a processor restarted"),
            Self::Quiet { seconds } => write!(f, "no events for {seconds} s"),
            Self::OpenTransaction { seconds, commits: true } => {
                write!(f, "a transaction open for {seconds} s, committed")
            }
            Self::OpenTransaction { seconds, commits: false } => {
                write!(f, "a transaction open for {seconds} s, aborted")
            }
            Self::Oversized => write!(f, "an event of 3 MB, compressed"),
        }
    }
}
