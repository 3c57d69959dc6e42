//! The broker's clock, as far as it is known: no window is sealed before its time has come by that clock.

use std::collections::VecDeque;

/// So many records that were read as they came decide by how much the own clock is corrected. As many more heal what a stall of the
/// network, or a clock that was set, has made of it.
const SAMPLES: usize = 8;

/// The own clock, corrected by the stamps of records. A record that is read was stamped before: so its stamp less the own time of
/// reading is never more than what the broker's clock is ahead of the own, and nearly as much where the record was read as it came.
///
/// What is asked for is a bound: the broker's clock is at least [`BrokerClock::at`]. An own clock that is ahead of the broker's is
/// corrected; one that is behind is left as it is, which seals later than it could and never too early.
#[derive(Debug, Default)]
pub(crate) struct BrokerClock {
    /// Of records that were read as they came: stamp less own time.
    live: VecDeque<i64>,
    /// The greatest stamp that is known, less the own time at which it became known.
    bound: Option<i64>,
}

impl BrokerClock {
    /// A record with this stamp was read as it came: its partition had been read to its end before.
    pub(crate) fn read_live(&mut self, stamp: i64, now: i64) {
        if self.live.len() == SAMPLES {
            self.live.pop_front();
        }
        self.live.push_back(stamp - now);
    }

    /// There is a record with this stamp, whenever it came.
    pub(crate) fn stamped(&mut self, stamp: i64, now: i64) {
        self.bound = self.bound.max(Some(stamp - now));
    }

    /// What the broker's clock shows, or less, where the own shows `now`. The own where nothing is known of the broker's.
    pub(crate) fn at(&self, now: i64) -> i64 {
        let ahead = self.live.iter().copied().min().or(self.bound);
        now + ahead.unwrap_or(0).min(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_corrected_and_one_behind_is_left() {
        for (skew, expected) in [(0, -5), (20_000, -20_005), (-7_000, 0)] {
            let mut clock = BrokerClock::default();
            assert_eq!(clock.at(1_000_000), 1_000_000, "nothing is known");
            clock.read_live(1_000_000, 1_000_005 + skew);
            assert_eq!(clock.at(2_000_000) - 2_000_000, expected, "skew {skew}");
        }
    }

    #[test]
    fn old_records_are_a_bound_until_one_is_read_as_it_comes() {
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
    fn a_clock_that_was_set_and_a_stall_are_forgotten() {
        let mut clock = BrokerClock::default();
        clock.read_live(1_000, 31_000);
        assert_eq!(clock.at(31_000), 1_000);
        for second in 0..SAMPLES as i64 {
            clock.read_live(100_000 + second, 100_000 + second);
        }
        assert_eq!(clock.at(200_000), 200_000);
        // The own clock is set 10 s ahead: one record more, and windows are no longer sealed early.
        clock.read_live(300_000, 310_000);
        assert_eq!(clock.at(310_000), 300_000);
    }
}
