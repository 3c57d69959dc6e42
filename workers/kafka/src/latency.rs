//! A histogram of durations that many threads may write to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling: a quantile is at most an eighth too high.
const STEPS: u64 = 8;

/// Doublings of a microsecond: up to 12 days.
const DOUBLINGS: u64 = 40;

/// How long deliveries took, from `send` to the acknowledgement.
#[derive(Debug)]
pub struct Latency {
    buckets: Vec<AtomicU64>,
    longest: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        let buckets = (0..STEPS * DOUBLINGS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, longest: AtomicU64::new(0) }
    }
}

impl Latency {
    pub(super) fn record(&self, micros: u64) {
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.longest.fetch_max(micros, Ordering::Relaxed);
    }

    /// The longest so far; zero before the first.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }

    /// The duration that a share `q` (0 to 1) did not exceed, up to an eighth too high; zero before the first.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (upper, count) in (0..).map(upper).zip(counts) {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper).min(self.max());
            }
        }
        Duration::ZERO
    }
}

/// Below `STEPS` each value has its own; above, each doubling has `STEPS`.
fn bucket(micros: u64) -> usize {
    let doubling = micros.max(STEPS).ilog2() - STEPS.ilog2();
    let index = u64::from(doubling) * STEPS + (micros >> doubling);
    usize::try_from(index.min(STEPS * DOUBLINGS - 1)).unwrap_or(0)
}

/// The greatest value in a bucket.
fn upper(index: u64) -> u64 {
    if index < 2 * STEPS {
        return index;
    }
    let doubling = index / STEPS - 1;
    ((index - doubling * STEPS + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_at_most_an_eighth_wide() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 86_400_000_000]) {
            let top = upper(bucket(micros) as u64);
            assert!(top >= micros && top - micros <= micros / STEPS, "{micros} -> {top}");
        }
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let latency = Latency::default();
        assert_eq!(latency.quantile(0.99), Duration::ZERO);
        for micros in 1..=100 {
            latency.record(micros);
        }
        assert_eq!(latency.quantile(0.05), Duration::from_micros(5));
        assert_eq!(latency.quantile(1.0), Duration::from_micros(100));
        assert_eq!(latency.max(), Duration::from_micros(100));
    }
}
