//! The source of randomness: a fixed algorithm, so that a seed gives the same run everywhere.

use std::cell::RefCell;

use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng, SeedableRng},
};

/// A stream of random numbers, shared by all parts of a run.
pub struct Dice(RefCell<Pcg64Mcg>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(RefCell::new(Pcg64Mcg::seed_from_u64(seed)))
    }

    /// Uniform in `low..=high`.
    pub fn between(&self, low: i64, high: i64) -> i64 {
        let span = (high - low + 1) as u128;
        low + ((u128::from(self.0.borrow_mut().next_u64()) * span) >> 64) as i64
    }

    /// Uniform in `0..n`; `n` is not 0.
    pub fn below(&self, n: usize) -> usize {
        self.between(0, n as i64 - 1) as usize
    }

    /// True with a probability in thousandths.
    pub fn chance(&self, thousandths: i64) -> bool {
        self.between(1, 1000) <= thousandths
    }

    /// Runs something with a stream of its own: what comes after does not depend on how much of it is used.
    pub fn apart<T>(&self, run: impl FnOnce() -> T) -> T {
        let own = Pcg64Mcg::seed_from_u64(self.0.borrow_mut().next_u64());
        let after = self.0.replace(own);
        let done = run();
        self.0.replace(after);
        done
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
