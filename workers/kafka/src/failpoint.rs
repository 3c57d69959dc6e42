//! Failpoints: steps of the exactly-once protocol at which a process can be made to die or to freeze, and cures that can be
//! switched off. For testbed/faults alone, in builds with the feature `failpoints`.
//!
//! `WEIR_FAILPOINT=produced:7:kill` sends SIGKILL to the process when it reaches that step for the seventh time, in any of its
//! threads; `stop` instead of `kill` sends SIGSTOP. `WEIR_WITHOUT=fresh-producer` switches a cure off, which must then be found.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// A step of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Records were read.
    Polled,
    /// The transaction's outputs are acknowledged.
    Produced,
    /// So are its offsets.
    OffsetsSent,
    /// The commit is under way.
    CommitSent,
    /// The commit is acknowledged.
    Committed,
}

/// What a build can be made to lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// A new producer after a commit that may have been sent twice.
    FreshProducer,
    /// Offsets in the transaction of the outputs, and not in the next one.
    OneTransaction,
}

/// Moments after the commit's call at which `commit-sent` strikes: before and after the broker has it.
const MAX_UNDER_WAY: Duration = Duration::from_millis(12);

struct Failpoint {
    step: String,
    count: u64,
    signal: Signal,
    reached: AtomicU64,
}

/// Called when a step is reached.
pub(super) fn reached(step: Step) {
    if let Some(failpoint) = due(step) {
        failpoint.strike();
    }
}

/// Called right before the commit is sent: strikes a little later, from another thread.
pub(super) fn commit_sent() {
    if let Some(failpoint) = due(Step::CommitSent) {
        let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos());
        let delay = MAX_UNDER_WAY.mul_f64(f64::from(nanos % 1_000) / 1_000.0);
        thread::spawn(move || {
            thread::sleep(delay);
            failpoint.strike();
        });
    }
}

/// Whether this cure is switched off.
pub(super) fn is_without(cure: Cure) -> bool {
    let name = match cure {
        Cure::FreshProducer => "fresh-producer",
        Cure::OneTransaction => "one-transaction",
    };
    std::env::var("WEIR_WITHOUT").as_deref() == Ok(name)
}

fn due(step: Step) -> Option<&'static Failpoint> {
    static FAILPOINT: OnceLock<Option<Failpoint>> = OnceLock::new();
    let failpoint =
        FAILPOINT.get_or_init(|| Failpoint::parse(&std::env::var("WEIR_FAILPOINT").ok()?)).as_ref()?;
    let due = failpoint.step == step.name()
        && failpoint.reached.fetch_add(1, Ordering::SeqCst) + 1 == failpoint.count;
    due.then_some(failpoint)
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Polled => "polled",
            Self::Produced => "produced",
            Self::OffsetsSent => "offsets-sent",
            Self::CommitSent => "commit-sent",
            Self::Committed => "committed",
        }
    }
}

impl Failpoint {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (step, count, action) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some(Self { step: step.to_owned(), count, signal, reached: AtomicU64::new(0) })
    }

    fn strike(&self) {
        tracing::warn!(step = self.step, signal = ?self.signal, "failpoint reached");
        if let Err(error) = kill_process(getpid(), self.signal) {
            tracing::error!(%error, "the failpoint's signal could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_step_a_count_and_an_action() {
        let parsed = |text| Failpoint::parse(text).map(|point| (point.step, point.count, point.signal));
        assert_eq!(parsed("produced:7:kill"), Some(("produced".to_owned(), 7, Signal::KILL)));
        assert_eq!(parsed("polled:1:stop"), Some(("polled".to_owned(), 1, Signal::STOP)));
        assert_eq!(parsed("polled:1:sing"), None);
        assert_eq!(parsed("polled"), None);
    }
}
