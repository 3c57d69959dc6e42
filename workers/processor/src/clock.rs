//! A lower bound of the broker's clock: no window is sealed before its time by that clock.

use std::collections::VecDeque;

/// Number of live records from which the correction of the local clock is computed. After as many more, the effect of a network
/// stall or of a clock change is gone.
const SAMPLES: usize = 8;

/// The local clock, corrected by record timestamps. A record is stamped before it is read: so its timestamp minus the local read time
/// is a lower bound of the broker clock's offset from the local clock, and a tight one if the record was read live.
///
/// The result is a lower bound: the broker's clock is at least [`BrokerClock::at`]. A local clock that is ahead is corrected; one
/// that is behind is not, which seals windows later than possible but never too early.
#[derive(Debug, Default)]
pub(crate) struct BrokerClock {
    /// Of live records: timestamp minus local read time.
    live: VecDeque<i64>,
    /// The greatest known timestamp minus the local time at which it became known.
    bound: Option<i64>,
}

impl BrokerClock {
    /// Adds a record that was read live: its partition had been read to the end before.
    pub(crate) fn read_live(&mut self, stamp: i64, now: i64) {
        if self.live.len() == SAMPLES {
            self.live.pop_front();
        }
        self.live.push_back(stamp - now);
    }

    /// Adds the timestamp of any record.
    pub(crate) fn stamped(&mut self, stamp: i64, now: i64) {
        self.bound = self.bound.max(Some(stamp - now));
    }

    /// A lower bound of the broker's clock at local time `now`; `now` itself without any records.
    pub(crate) fn at(&self, now: i64) -> i64 {
        let ahead = self.live.iter().copied().min().or(self.bound);
        now + ahead.unwrap_or(0).min(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_corrected_and_one_behind_is_not() {
        for (skew, expected) in [(0, -5), (20_000, -20_005), (-7_000, 0)] {
            let mut clock = BrokerClock::default();
            assert_eq!(clock.at(1_000_000), 1_000_000, "nothing is known");
            clock.read_live(1_000_000, 1_000_005 + skew);
            assert_eq!(clock.at(2_000_000) - 2_000_000, expected, "skew {skew}");
        }
    }

    #[test]
    fn old_records_are_a_bound_until_one_is_read_live() {
        let mut clock = BrokerClock::default();
        clock.stamped(1_000_000, 1_600_000);
        assert_eq!(clock.at(1_600_000), 1_000_000);
        clock.stamped(1_100_000, 1_600_001);
        clock.stamped(1_000_000, 1_600_002);
        assert_eq!(clock.at(1_700_001), 1_200_000);
        clock.read_live(1_699_990, 1_700_000);
        assert_eq!(clock.at(1_700_001), 1_699_991);
    }

    #[test]
    fn the_effect_of_clock_changes_and_stalls_expires() {
        let mut clock = BrokerClock::default();
        clock.read_live(1_000, 31_000);
        assert_eq!(clock.at(31_000), 1_000);
        for second in 0..SAMPLES as i64 {
            clock.read_live(100_000 + second, 100_000 + second);
        }
        assert_eq!(clock.at(200_000), 200_000);
        // The local clock is set 10 s ahead: after one more record windows are no longer sealed early.
        clock.read_live(300_000, 310_000);
        assert_eq!(clock.at(310_000), 300_000);
    }
}
