//! The summary of a run with `--until-end`.

use std::fmt;

use jiff::Timestamp;
use weir_processor::windows::Outcomes;

/// The outcomes of the records that this process read, without those that it read again after a restart.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Whether everything that is in the log was read and emitted, by this process and those beside it.
    pub(crate) reached_the_end: bool,
    pub(crate) outcomes: Outcomes,
    /// Windows emitted.
    pub(crate) windows: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcomes {
            read,
            counted,
            late,
            partly_late,
            duplicates,
            other_pages,
            not_whole,
            invalid,
            invalid_for,
            misplaced,
            after_end,
            held_back,
            ..
        } = &self.outcomes;
        f.write_str(match self.reached_the_end {
            true => "the log was read to its end; of it by this process:",
            false => "stopped before the log was read to its end; by this process so far:",
        })?;
        let mut row = |name: &str, count: u64, more: &str| write!(f, "\n  {name:<16}{count:>12}{more}");
        row("records read", *read, "")?;
        row("counted", *counted, "")?;
        let ranges =
            not_whole.as_slice().iter().map(|(first, last)| format!("{} to {}", time(*first), time(*last)));
        let ranges: Vec<String> = ranges.collect();
        let missed = match ranges.is_empty() {
            true => String::new(),
            false => format!("  not whole are windows that end from {}", ranges.join(", ")),
        };
        row("  partly late", *partly_late, &missed)?;
        if *other_pages > 0 {
            row("  other pages", *other_pages, "  pages beyond limits.pages are counted as (other)")?;
        }
        row("late", *late, "")?;
        row("duplicates", *duplicates, "")?;
        let reasons: Vec<String> =
            invalid_for.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        row("invalid", *invalid, format!("  {}", reasons.join(", ")).trim_end())?;
        row(
            "misplaced",
            *misplaced,
            if *misplaced > 0 { "  visitors counted once in each partition" } else { "" },
        )?;
        row("windows emitted", self.windows, "")?;
        if *after_end > 0 {
            write!(
                f,
                "\nthe log had been declared to end before (--until-end), and went on: {after_end} of the late and partly late ones missed windows \
                 that were sealed for it alone"
            )?;
        }
        for (partition, offset) in held_back {
            write!(
                f,
                "\nnot read: what an open transaction of a producer holds back in partition {partition} from offset {offset} on"
            )?;
        }
        Ok(())
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use weir_events::Reason;

    use super::*;

    #[test]
    fn all_records_read_are_in_the_summary() {
        let mut outcomes = Outcomes {
            read: 100,
            counted: 90,
            partly_late: 7,
            late: 6,
            duplicates: 8,
            other_pages: 9,
            invalid: 4,
            misplaced: 2,
            after_end: 5,
            held_back: vec![(3, 120)],
            ..Outcomes::default()
        };
        outcomes.not_whole.add((1_700_000_000_000, 1_700_000_010_000), 10_000);
        outcomes.invalid_for.extend([(Reason::Malformed, 3), (Reason::EmptyUserId, 1)]);
        let summary = Summary { reached_the_end: true, outcomes, windows: 31 };
        assert_eq!(
            summary.to_string(),
            "the log was read to its end; of it by this process:
  records read             100
  counted                   90
    partly late              7  not whole are windows that end from 2023-11-14T22:13:20Z to 2023-11-14T22:13:30Z
    other pages              9  pages beyond limits.pages are counted as (other)
  late                       6
  duplicates                 8
  invalid                    4  malformed 3, empty_user_id 1
  misplaced                  2  visitors counted once in each partition
  windows emitted           31
the log had been declared to end before (--until-end), and went on: 5 of the late and partly late ones missed windows that were sealed for it alone
not read: what an open transaction of a producer holds back in partition 3 from offset 120 on"
        );
    }
}
