//! Window ends as a few ranges, small enough for a commit's metadata.

use serde::{Deserialize, Serialize};

/// Maximum number of ranges. Each takes some 30 bytes of the 4,096 that a commit's metadata may have.
const MAX_RANGES: usize = 8;

/// Ranges of window ends, in order, each with its first and its last end (milliseconds). Beyond the maximum, the two closest ranges
/// are merged: windows between them are then included without reason, but none is omitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndRanges(Vec<(i64, i64)>);

impl EndRanges {
    /// The ranges: first and last end of each.
    pub fn as_slice(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the window that ends at `end` is in a range.
    pub fn contains(&self, end: i64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&end))
    }

    /// Adds the windows that end at `first`, every `slide` after it, up to `last`.
    pub fn add(&mut self, (first, last): (i64, i64), slide: i64) {
        // Most partly late events miss the same windows as the previous one.
        if self.0.last().is_some_and(|(from, to)| *from <= first && last <= *to) {
            return;
        }
        let from = self.0.partition_point(|(_, to)| *to < first - slide);
        let to = self.0.partition_point(|(from, _)| *from <= last + slide);
        let touched = self.0.get(from..to).unwrap_or_default();
        let merged = touched.iter().fold((first, last), |(a, b), (c, d)| (a.min(*c), b.max(*d)));
        self.0.splice(from..to.max(from), [merged]);
        if self.0.len() > MAX_RANGES {
            let gap = |i: &usize| self.0[i + 1].0 - self.0[*i].1;
            if let Some(closest) = (0..self.0.len() - 1).min_by_key(gap) {
                let (_, last) = self.0.remove(closest + 1);
                self.0[closest].1 = last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ranges(added: &[(i64, i64)]) -> EndRanges {
        let mut ranges = EndRanges::default();
        added.iter().for_each(|range| ranges.add(*range, 10));
        ranges
    }

    #[test]
    fn adjacent_ranges_are_merged() {
        assert_eq!(ranges(&[(10, 30), (10, 20)]).as_slice(), [(10, 30)]);
        assert_eq!(ranges(&[(10, 30), (40, 60), (90, 90)]).as_slice(), [(10, 60), (90, 90)]);
        assert_eq!(ranges(&[(90, 90), (10, 10), (50, 50), (20, 80)]).as_slice(), [(10, 90)]);
        assert_eq!(ranges(&[(90, 90), (10, 10)]).as_slice(), [(10, 10), (90, 90)]);
    }

    #[test]
    fn the_number_of_ranges_is_bounded_and_no_window_is_omitted() {
        let ends: Vec<i64> = (0..1_000).map(|i| i * 7_919 % 6_007 * 10).collect();
        let mut ranges = EndRanges::default();
        for (i, end) in ends.iter().enumerate() {
            ranges.add((*end, *end), 10);
            assert!(ranges.as_slice().len() <= MAX_RANGES && ranges.as_slice().is_sorted());
            assert!(ends[..=i].iter().all(|end| ranges.contains(*end)));
        }
        let json = serde_json::to_string(&ranges).unwrap();
        assert_eq!(serde_json::from_str::<EndRanges>(&json).unwrap(), ranges);
    }
}
