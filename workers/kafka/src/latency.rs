//! A histogram of durations that many threads may write to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of durations: a quantile is at most 1 % too high.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Latencies of deliveries, from `send` to the acknowledgement.
#[derive(Debug)]
pub struct Latency(Mutex<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new(SIGNIFICANT_DIGITS);
        #[allow(clippy::expect_used)]
        Self(Mutex::new(histogram.expect("fewer than six digits")))
    }
}

impl Latency {
    pub(super) fn record(&self, micros: u64) {
        // The histogram resizes automatically: no duration is too long.
        let _ = self.histogram().record(micros);
    }

    /// The maximum so far, at most 1 % too high; zero before the first.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.histogram().max())
    }

    /// The quantile `q` (0 to 1), at most 1 % too high; zero before the first.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        Duration::from_micros(self.histogram().value_at_quantile(q))
    }

    fn histogram(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_count_from_the_shortest() {
        let latency = Latency::default();
        assert_eq!((latency.quantile(0.99), latency.max()), (Duration::ZERO, Duration::ZERO));
        for micros in 1..=100 {
            latency.record(micros);
        }
        assert_eq!(latency.quantile(0.05), Duration::from_micros(5));
        assert_eq!(latency.quantile(1.0), Duration::from_micros(100));
        latency.record(86_400_000_000);
        let longest = latency.max().as_micros();
        assert!((86_400_000_000..87_300_000_000).contains(&longest), "{longest}");
    }
}
