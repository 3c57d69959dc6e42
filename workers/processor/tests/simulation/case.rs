//! One run by its seed, whole or with some of its actions alone; and how the run of a failure is made small.

use std::{
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{planted::Planted, run, simulation::Simulation, tally::Tally};

/// Maximum attempts to make a failure smaller.
const ATTEMPTS: u32 = 400;
const PANICKED: &str = "panicked, see above";

/// What determines a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    pub seed: u64,
    pub planted: Option<Planted>,
    /// The actions that take place, by number; `None`: all. An action is one write of visitors, one step, or one fault.
    pub only: Option<BTreeSet<u32>>,
}

impl Case {
    pub fn seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub fn takes(&self, action: u32) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&action))
    }

    /// Whether the log is written before `action`, unless its own length says so.
    pub fn ends_before(&self, action: u32) -> Option<bool> {
        self.only.as_ref().map(|only| only.last().is_none_or(|last| *last < action))
    }

    /// Runs it, and returns also the number of actions until it ended or failed.
    pub fn attempt(&self, traced: bool) -> (u32, Result<Tally, String>) {
        let simulation = Simulation::new(self, traced);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&simulation)));
        let outcome = outcome.unwrap_or_else(|_| Err(PANICKED.to_owned()));
        (simulation.actions.get(), outcome)
    }

    /// A failing run with as few actions as can be found, and why it fails.
    pub fn shrunk(self) -> (Self, String) {
        let (actions, outcome) = self.attempt(false);
        let mut why = outcome.err().unwrap_or_default();
        let mut left: Vec<u32> = (0..actions).filter(|action| self.takes(*action)).collect();
        let (mut size, mut attempts) = (left.len().div_ceil(2), 0);
        while size > 0 {
            let mut at = 0;
            while at < left.len() && attempts < ATTEMPTS {
                attempts += 1;
                let end = (at + size).min(left.len());
                let fewer = [&left[..at], &left[end..]].concat();
                let case = Self { only: Some(fewer.iter().copied().collect()), ..self.clone() };
                match case.attempt(false).1 {
                    // A panic may come of a run that makes no sense.
                    Err(still) if (still == PANICKED) == (why == PANICKED) => (left, why) = (fewer, still),
                    _ => at = end,
                }
            }
            size = if size > 1 { size.div_ceil(2) } else { 0 };
        }
        (Self { only: Some(left.into_iter().collect()), ..self }, why)
    }
}

/// As variables of the test.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WEIR_SIM_SEED={}", self.seed)?;
        let Some(only) = &self.only else { return Ok(()) };
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &action in only {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == action => *last = action,
                _ => ranges.push((action, action)),
            }
        }
        let text = |&(first, last): &(u32, u32)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        write!(f, " WEIR_SIM_ONLY={}", ranges.iter().map(text).collect::<Vec<_>>().join(","))
    }
}

/// The numbers in text such as `3,7-9`.
pub fn numbers(text: &str) -> BTreeSet<u32> {
    let number = |text: &str| text.parse::<u32>().expect("WEIR_SIM_ONLY");
    let ranges = text.split(',').filter(|range| !range.is_empty());
    ranges
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(first)..=number(last)
        })
        .collect()
}
