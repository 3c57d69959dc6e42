//! Seeded, deterministic simulation: processes crash, stall, come back as zombies, commits get lost or arrive late, partitions
//! move, retention and compaction delete, at any step that the seed chooses. Whatever happens, the committed results are the
//! bytes that the engine gives for the log, and equal the oracle's; every record is accounted for once.
//!
//! `WEIR_SIM_SEEDS=N` runs so many seeds, `WEIR_SIM_SEED=S` runs one.
#![allow(clippy::unwrap_used, missing_docs)]

mod crew;
mod log;
mod reference;
mod run;

use std::{ops::AddAssign, thread};

/// What happened in runs: shows that they were not calm.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub crashes: u64,
    pub leaves: u64,
    pub stalls: u64,
    /// Processes that found out that another one has their name.
    pub fenced: u64,
    /// Errors after which the caller tries again.
    pub retries: u64,
    pub commits_lost: u64,
    pub commits_unknown: u64,
    pub commits_late: u64,
    pub markers_late: u64,
    pub away: u64,
    /// Late commits and markers that took effect when they were let go.
    pub released: u64,
    pub truncated: u64,
    pub compacted: u64,
    pub raises: u64,
    pub late: u64,
    pub invalid: u64,
    pub windows: u64,
    pub trends: u64,
}

impl Tally {
    fn parts(&mut self) -> [(&'static str, &mut u64); 18] {
        [
            ("crashes", &mut self.crashes),
            ("leaves", &mut self.leaves),
            ("stalls", &mut self.stalls),
            ("fenced", &mut self.fenced),
            ("retries", &mut self.retries),
            ("commits lost", &mut self.commits_lost),
            ("commits unknown", &mut self.commits_unknown),
            ("commits late", &mut self.commits_late),
            ("markers late", &mut self.markers_late),
            ("away", &mut self.away),
            ("released", &mut self.released),
            ("truncated", &mut self.truncated),
            ("compacted", &mut self.compacted),
            ("raises", &mut self.raises),
            ("late", &mut self.late),
            ("invalid", &mut self.invalid),
            ("windows", &mut self.windows),
            ("trends", &mut self.trends),
        ]
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, mut other: Self) {
        for ((_, sum), (_, part)) in self.parts().into_iter().zip(other.parts()) {
            *sum += *part;
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value}: expected a number")))
}

#[test]
fn results_are_the_undisturbed_ones_whatever_happens() {
    if let Some(seed) = number("WEIR_SIM_SEED") {
        println!("seed {seed}: {:?}", run::run(seed));
        return;
    }
    let seeds = number("WEIR_SIM_SEEDS").unwrap_or(4_000);
    let share = |first: u64| {
        let mut tally = Tally::default();
        for seed in (first..seeds).step_by(2) {
            let done = std::panic::catch_unwind(|| run::run(seed));
            tally += done.unwrap_or_else(|_| {
                panic!("seed {seed} fails: WEIR_SIM_SEED={seed} cargo test -p weir-stream --test simulation")
            });
        }
        tally
    };
    let mut tally = thread::scope(|scope| {
        let odd = scope.spawn(|| share(1));
        let mut tally = share(0);
        tally += odd.join().expect("a seed failed");
        tally
    });
    let parts = tally.parts().map(|(name, count)| format!("{count} {name}"));
    println!("{seeds} seeds: {}", parts.join(", "));
    if seeds >= 1_000 {
        let calm = tally.parts().into_iter().find(|(_, count)| **count == 0);
        assert_eq!(calm, None, "this never happened");
    }
}
