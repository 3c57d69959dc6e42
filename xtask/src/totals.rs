//! Counts tests from what `cargo test` prints.

use std::fmt;

/// The first line of a report.
pub(crate) const HEADER: &str = "passed failed skipped";

/// Counts of tests by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The counts of every test binary, in the order in which they ran; `None` for one that ended without a result.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) binaries: Vec<(String, Option<Counts>)>,
}

impl Totals {
    /// Takes the next line of cargo's output, both streams in the order in which they were written.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(name) = binary(line) {
            self.binaries.push((name, None));
        } else if let (Some(counts), Some((_, open @ None))) = (result(line), self.binaries.last_mut()) {
            *open = Some(counts);
        }
    }

    /// A table of the binaries and, as the last line, the sum. `succeeded` is cargo's own verdict.
    pub(crate) fn report(&self, succeeded: bool) -> String {
        let mut report = format!("\n{HEADER}\n");
        for (name, counts) in &self.binaries {
            let line = match counts {
                Some(Counts { passed, failed, skipped }) => {
                    format!("{passed:>6} {failed:>6} {skipped:>7}  {name}\n")
                }
                None => format!("ended without a result  {name}\n"),
            };
            report.push_str(&line);
        }
        let sum = self.sum();
        if !succeeded && sum.failed == 0 {
            report.push_str("cargo test failed although no test did: its messages are above\n");
        }
        report.push_str(&format!("\n{sum}\n"));
        report
    }

    /// All of them together. A binary without a result crashed: that is a failed test.
    pub(crate) fn sum(&self) -> Counts {
        self.binaries.iter().fold(Counts::default(), |sum, (_, counts)| {
            let counts = counts.unwrap_or(Counts { failed: 1, ..Counts::default() });
            Counts {
                passed: sum.passed + counts.passed,
                failed: sum.failed + counts.failed,
                skipped: sum.skipped + counts.skipped,
            }
        })
    }
}

/// `weir-events, src/lib.rs` of `Running unittests src/lib.rs (target/debug/deps/weir_events-0f1e)`, and the crate of
/// `Doc-tests weir_events`.
fn binary(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{}, examples in its documentation", name.replace('_', "-")));
    }
    let (what, file) = line.strip_prefix("Running ")?.strip_suffix(')')?.split_once(" (")?;
    let file = file.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name).replace('_', "-");
    Some(format!("{name}, {}", what.strip_prefix("unittests ").unwrap_or(what)))
}

/// The counts of `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn result(line: &str) -> Option<Counts> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut numbers = counts.split("; ").map(|part| part.split_once(' '));
    let mut next = |word| match numbers.next()?? {
        (number, found) if found == word => number.parse().ok(),
        _ => None,
    };
    Some(Counts { passed: next("passed")?, failed: next("failed")?, skipped: next("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(output: &str) -> Totals {
        let mut totals = Totals::default();
        output.lines().for_each(|line| totals.read(line));
        totals
    }

    const OUTPUT: &str = "\
    Finished `test` profile [optimized] target(s) in 0.05s
     Running unittests src/lib.rs (target/debug/deps/weir_events-9b61c2)

running 2 tests
test partition::tests::as_java ... ok
test result: this line is a test's own
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/crash.rs (/elsewhere/debug/deps/crash-77aa01)
test result: FAILED. 10 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
   Doc-tests weir_events
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.31s
";

    #[test]
    fn every_binary_is_counted() {
        let totals = totals(OUTPUT);
        let counts = |passed, failed, skipped| Some(Counts { passed, failed, skipped });
        assert_eq!(
            totals.binaries,
            [
                ("weir-events, src/lib.rs".to_owned(), counts(2, 0, 1)),
                ("crash, tests/crash.rs".to_owned(), counts(10, 3, 0)),
                ("weir-events, examples in its documentation".to_owned(), counts(1, 0, 0)),
            ]
        );
        assert_eq!(
            totals.report(false),
            "
passed failed skipped
     2      0       1  weir-events, src/lib.rs
    10      3       0  crash, tests/crash.rs
     1      0       0  weir-events, examples in its documentation

13 passed, 3 failed, 1 skipped
"
        );
    }

    #[test]
    fn a_crashed_binary_is_a_failure() {
        let cut = OUTPUT.replace("test result: FAILED", "signal: 11, SIGSEGV: invalid memory reference ");
        let totals = totals(&cut);
        assert_eq!(totals.binaries[1].1, None);
        assert_eq!(totals.sum(), Counts { passed: 3, failed: 1, skipped: 1 });
        assert!(totals.report(false).contains("\nended without a result  crash, tests/crash.rs\n"));
    }

    #[test]
    fn code_that_does_not_compile_is_not_silent() {
        let totals = totals("error: could not compile `weir-events` (lib test) due to 1 previous error\n");
        assert!(totals.report(false).contains("cargo test failed although no test did"));
        assert!(totals.report(false).ends_with("\n0 passed, 0 failed, 0 skipped\n"));
    }
}
