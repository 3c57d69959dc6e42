//! Steps with their times, and the final table of scenarios.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::{Duration, Instant};

/// Prints steps as they end, and records scenarios for the table.
pub(super) struct Journal {
    begun: Instant,
    part: Cell<&'static str>,
    scenarios: RefCell<Vec<Scenario>>,
}

/// One line of the table.
struct Scenario {
    part: &'static str,
    what: String,
    took: Duration,
    /// The longest time between two windows during the scenario; `None` where no pipeline was running.
    longest_gap: Option<Duration>,
    /// Whether the comparison with the oracle afterwards found no difference; `None` without a comparison.
    exact: Option<bool>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), part: Cell::new(""), scenarios: RefCell::default() }
    }

    pub(super) fn step<T>(&self, what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.timed(what, work).map(|(done, _)| done)
    }

    /// As [`Self::step`], with the time that it took.
    pub(super) fn timed<T>(
        &self,
        what: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Duration)> {
        let begun = Instant::now();
        let done = work();
        let (took, outcome) = (begun.elapsed(), if done.is_ok() { "" } else { "  FAILED" });
        println!("{:>7.1} s  {what}: {:.1} s{outcome}", self.elapsed().as_secs_f64(), took.as_secs_f64());
        done.map(|done| (done, took))
    }

    /// Prints measurements or findings of the last step.
    pub(super) fn note(&self, what: &str) {
        for line in what.lines() {
            println!("{:>11}{line}", "");
        }
    }

    /// Begins another part.
    pub(super) fn begin(&self, part: &'static str) {
        self.part.set(part);
        println!("{part}");
    }

    /// Adds a line to the table.
    pub(super) fn scenario(
        &self,
        what: impl Into<String>,
        took: Duration,
        longest_gap: Option<Duration>,
        exact: Option<bool>,
    ) {
        self.scenarios.borrow_mut().push(Scenario {
            part: self.part.get(),
            what: what.into(),
            took,
            longest_gap,
            exact,
        });
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let exact = |scenario: &Scenario| match scenario.exact {
            Some(true) => "0".to_owned(),
            Some(false) => "FAILED".to_owned(),
            None => String::new(),
        };
        writeln!(f, "| part | scenario | time | longest gap between windows | differences |")?;
        write!(f, "|---|---|--:|--:|--:|")?;
        for scenario in &*self.scenarios.borrow() {
            let gap = scenario.longest_gap.map(seconds).unwrap_or_default();
            write!(
                f,
                "\n| {} | {} | {} | {gap} | {} |",
                scenario.part,
                scenario.what,
                seconds(scenario.took),
                exact(scenario)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_scenario() {
        let journal = Journal::new();
        journal.begin("basics");
        journal.scenario("scale", Duration::from_millis(1_240), Some(Duration::from_secs(11)), Some(true));
        journal.scenario("delete", Duration::from_secs(3), None, None);
        let table = journal.to_string();
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines, ["| basics | scale | 1.2 s | 11.0 s | 0 |", "| basics | delete | 3.0 s |  |  |"]);
    }
}
