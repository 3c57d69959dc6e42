//! Paces a recurring task so that it takes only a small share of the time.

use std::time::Duration;

/// Time between two turns, milliseconds.
pub(crate) const EVERY: i64 = 200;
/// Maximum share of the time that turns may take: one part in `SHARE`.
const SHARE: u32 = 20;
/// Damping of rises of the cost: on a busy machine a single turn may take long only because it waits for the CPU, and a long
/// pause after it would leave old values visible.
const DAMPING: u32 = 8;

/// Turns that are taken when due.
#[derive(Debug)]
pub(crate) struct Pace {
    due: i64,
    /// Estimated duration of a turn.
    cost: Duration,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { due: i64::MIN, cost: Duration::ZERO }
    }

    pub(crate) fn is_due(&self, now: i64) -> bool {
        now >= self.due
    }

    /// Records that the turn at `now` took `took`.
    pub(crate) fn turned(&mut self, now: i64, took: Duration) {
        self.cost = took.min(self.cost + took.saturating_sub(self.cost) / DAMPING);
        self.due = now + EVERY.max((self.cost * SHARE).as_millis() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(100);

    /// The pause after each of these turns.
    fn pauses(turns: &[Duration]) -> Vec<i64> {
        let mut pace = Pace::new();
        let mut now = 0;
        turns
            .iter()
            .map(|&took| {
                assert!(pace.is_due(now));
                pace.turned(now, took);
                let begun = now;
                while !pace.is_due(now) {
                    now += 1;
                }
                now - begun
            })
            .collect()
    }

    #[test]
    fn quick_turns_run_at_the_interval() {
        assert_eq!(pauses(&[QUICK; 3]), [EVERY; 3]);
    }

    #[test]
    fn one_slow_turn_causes_only_a_short_pause() {
        assert_eq!(pauses(&[QUICK, SLOW, QUICK]), [EVERY, 252, EVERY]);
    }

    #[test]
    fn slow_turns_are_limited_to_their_share() {
        let pauses = pauses(&[SLOW; 60]);
        assert!(pauses.is_sorted());
        assert!((1_990..=2_000).contains(&pauses[59]), "{pauses:?}");
    }
}
