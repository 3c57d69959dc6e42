//! A timing wheel: entries by the slice in which they must be examined again, one list per slice.
//!
//! A thing that is seen again is left in its list, and filed anew only when that list's slice leaves the window. So seeing
//! something costs nothing here, however often, and each thing is filed at most once a window, whatever the window's slices.

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
    /// Puts a thing into a slice's list.
    pub(crate) fn file(&mut self, slice: i64, thing: T) {
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
        self.lists[index].push(thing);
    }

    /// Takes one thing out of the lists up to and including a slice, oldest list first, and says whose list that was.
    pub(crate) fn pop(&mut self, slice: i64) -> Option<(i64, T)> {
        while self.base <= slice {
            match self.lists.front_mut()?.pop() {
                Some(thing) => return Some((self.base, thing)),
                None => {
                    self.lists.pop_front();
                    self.base += 1;
                }
            }
        }
        None
    }

    /// How many things are filed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_up_in_the_order_of_their_slices() {
        let mut wheel = TimingWheel::default();
        for (slice, thing) in [(10, 'a'), (10, 'b'), (12, 'c'), (8, 'd')] {
            wheel.file(slice, thing);
        }
        let mut gone = Vec::new();
        while let Some(thing) = wheel.pop(11) {
            gone.push(thing);
        }
        assert_eq!(gone, [(8, 'd'), (10, 'b'), (10, 'a')]);
        wheel.file(11, 'e');
        assert_eq!(wheel.pop(1_000_000), Some((11, 'e')));
        assert_eq!(wheel.pop(1_000_000), Some((12, 'c')));
        assert_eq!(wheel.pop(1_000_000), None);
        wheel.file(9_000_000, 'f');
        assert_eq!(wheel.pop(9_000_000), Some((9_000_000, 'f')), "a long silence costs nothing");
    }
}
