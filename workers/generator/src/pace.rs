//! Event times: event `i` happens when the integrated rate reaches `i`.

use std::f64::consts::TAU;

const DAY: f64 = 86_400_000.0;
const PEAK: f64 = 20.0 * 3_600_000.0;
const SWING: f64 = 0.6;

/// How the rate changes over the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Constant.
    Constant,
    /// 1.6 times the mean at 20:00 UTC, 0.4 times at 08:00 UTC, a cosine between them.
    Diurnal,
}

/// Event times without drift: each is computed from its number, never from the previous one.
pub(crate) struct Pace {
    per_ms: f64,
    swing: f64,
    /// Time of day of the start, measured from the peak: angles stay small, sines exact.
    phase: f64,
    number: u64,
    /// Milliseconds from the start to event `number`.
    at: f64,
}

impl Pace {
    pub(crate) fn new(events_per_second: f64, profile: Profile, start: i64) -> Self {
        let swing = match profile {
            Profile::Constant => 0.0,
            Profile::Diurnal => SWING,
        };
        let phase = (start.rem_euclid(DAY as i64) as f64 - PEAK) * TAU / DAY;
        Self { per_ms: events_per_second / 1e3, swing, phase, number: 0, at: 0.0 }
    }

    /// Milliseconds from the start to the next event.
    pub(crate) fn at(&self) -> f64 {
        self.at
    }

    /// Current rate, events per second.
    pub(crate) fn rate(&self) -> f64 {
        1e3 * self.per_ms * self.factor(self.at)
    }

    pub(crate) fn advance(&mut self) {
        self.number += 1;
        let due = self.number as f64 / self.per_ms;
        if self.swing == 0.0 {
            self.at = due;
            return;
        }
        // Newton; the factor is never below 0.4 and nearly constant between two events, so two rounds are plenty.
        let mut at = self.at + 1.0 / (self.per_ms * self.factor(self.at));
        for _ in 0..2 {
            at -= (self.integral(at) - due) / self.factor(at);
        }
        self.at = at.max(self.at);
    }

    fn factor(&self, at: f64) -> f64 {
        1.0 + self.swing * libm::cos(self.phase + at * TAU / DAY)
    }

    /// The factor's integral from the start.
    fn integral(&self, at: f64) -> f64 {
        let angle = self.phase + at * TAU / DAY;
        at + self.swing * DAY / TAU * (libm::sin(angle) - libm::sin(self.phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events_in(pace: &mut Pace, until: f64) -> u64 {
        while pace.at() < until {
            pace.advance();
        }
        pace.number
    }

    #[test]
    fn a_day_has_the_mean_rate_and_its_peak_in_the_evening() {
        let mut pace = Pace::new(10.0, Profile::Diurnal, 1_767_225_600_000);
        let hours: Vec<u64> = (0..=24).map(|h| events_in(&mut pace, f64::from(h) * 3.6e6)).collect();
        assert!(hours[24].abs_diff(864_000) <= 1, "{}", hours[24]);
        let peak = hours[20] - hours[19];
        let trough = hours[8] - hours[7];
        assert!((57_000..57_600).contains(&peak), "{peak}");
        assert!((14_400..15_000).contains(&trough), "{trough}");
    }

    #[test]
    fn slow_rates_converge_too() {
        let mut pace = Pace::new(0.001, Profile::Diurnal, 1);
        for i in 1..500_u32 {
            let before = pace.at();
            pace.advance();
            assert!(pace.at() > before);
            assert!((pace.integral(pace.at()) - f64::from(i) * 1e6).abs() < 1.0, "event {i}");
        }
    }
}
