//! Things by the slice in which they are to be looked at again: a list a slice.
//!
//! A thing that is seen again is left in its list, and filed anew only when that list's slice leaves the window. So seeing
//! something costs nothing here, however often, and each thing is filed at most once a window, whatever the window's slices.

use std::collections::VecDeque;

/// Lists of things, one a slice.
pub(crate) struct Recency<T> {
    /// First slice that has a list.
    base: i64,
    lists: VecDeque<Vec<T>>,
}

impl<T> Default for Recency<T> {
    fn default() -> Self {
        Self { base: 0, lists: VecDeque::new() }
    }
}

impl<T> Recency<T> {
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
        let mut recency = Recency::default();
        for (slice, thing) in [(10, 'a'), (10, 'b'), (12, 'c'), (8, 'd')] {
            recency.file(slice, thing);
        }
        let mut gone = Vec::new();
        while let Some(thing) = recency.pop(11) {
            gone.push(thing);
        }
        assert_eq!(gone, [(8, 'd'), (10, 'b'), (10, 'a')]);
        recency.file(11, 'e');
        assert_eq!(recency.pop(1_000_000), Some((11, 'e')));
        assert_eq!(recency.pop(1_000_000), Some((12, 'c')));
        assert_eq!(recency.pop(1_000_000), None);
        recency.file(9_000_000, 'f');
        assert_eq!(recency.pop(9_000_000), Some((9_000_000, 'f')), "a long silence costs nothing");
    }
}
