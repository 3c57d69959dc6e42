//! Random numbers that are the same on every machine: a fixed algorithm, and libm instead of the platform's functions.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A stream of random numbers.
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; 0 if n is 0.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u32
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Exponential with the given mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// Log-normal: `exp(mu + sigma * z)` with `z` normal (Box and Muller).
    pub(crate) fn log_normal(&mut self, mu: f64, sigma: f64) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        libm::exp(mu + sigma * radius * libm::cos(std::f64::consts::TAU * self.unit()))
    }

    /// An index with a probability proportional to its weight. The weights are not all 0.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            if left < *weight {
                return i;
            }
            left -= weight;
        }
        // Rounding: the last index with a weight.
        weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
    }
}

/// Indices with fixed weights, drawn in logarithmic time.
#[derive(Default)]
pub(crate) struct Table {
    cumulative: Vec<f64>,
    items: Vec<u32>,
}

impl Table {
    pub(crate) fn push(&mut self, item: u32, weight: f64) {
        self.cumulative.push(self.cumulative.last().unwrap_or(&0.0) + weight);
        self.items.push(item);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// An item. The table is not empty.
    pub(crate) fn draw(&self, random: &mut Random) -> u32 {
        let at = random.unit() * self.cumulative.last().unwrap_or(&0.0);
        let i = self.cumulative.partition_point(|c| *c <= at);
        self.items[i.min(self.items.len() - 1)]
    }
}
