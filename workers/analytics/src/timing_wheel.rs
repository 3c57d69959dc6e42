//! A timing wheel: entries by the slice in which they must be examined again, one list per slice.
//!
//! An entry that is seen again stays in its list, and is filed again only when that list's slice leaves the window. So seeing
//! an entry costs nothing here, and each entry is filed at most once per window, however many slices the window has.

use std::collections::VecDeque;

/// One list of entries per slice.
pub(crate) struct TimingWheel<T> {
    /// First slice that has a list.
    base: i64,
    lists: VecDeque<Vec<T>>,
}

impl<T> Default for TimingWheel<T> {
    fn default() -> Self {
        Self { base: 0, lists: VecDeque::new() }
    }
}

impl<T> TimingWheel<T> {
    /// Adds an entry to a slice's list.
    pub(crate) fn file(&mut self, slice: i64, entry: T) {
        if self.lists.is_empty() {
            self.base = slice;
        }
        while slice < self.base {
            self.lists.push_front(Vec::new());
            self.base -= 1;
        }
        let index = (slice - self.base) as usize;
        if index >= self.lists.len() {
            self.lists.resize_with(index + 1, Vec::new);
        }
        self.lists[index].push(entry);
    }

    /// Removes one entry from the lists up to and including a slice, oldest list first, and returns its list's slice with it.
    pub(crate) fn pop(&mut self, slice: i64) -> Option<(i64, T)> {
        while self.base <= slice {
            match self.lists.front_mut()?.pop() {
                Some(entry) => return Some((self.base, entry)),
                None => {
                    self.lists.pop_front();
                    self.base += 1;
                }
            }
        }
        None
    }

    /// Number of entries filed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_popped_in_slice_order() {
        let mut wheel = TimingWheel::default();
        for (slice, entry) in [(10, 'a'), (10, 'b'), (12, 'c'), (8, 'd')] {
            wheel.file(slice, entry);
        }
        let mut popped = Vec::new();
        while let Some(entry) = wheel.pop(11) {
            popped.push(entry);
        }
        assert_eq!(popped, [(8, 'd'), (10, 'b'), (10, 'a')]);
        wheel.file(11, 'e');
        assert_eq!(wheel.pop(1_000_000), Some((11, 'e')));
        assert_eq!(wheel.pop(1_000_000), Some((12, 'c')));
        assert_eq!(wheel.pop(1_000_000), None);
        wheel.file(9_000_000, 'f');
        assert_eq!(wheel.pop(9_000_000), Some((9_000_000, 'f')), "a long gap between slices needs no lists");
    }
}
