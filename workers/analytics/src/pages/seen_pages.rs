//! The pages that a visitor or a visit has seen in the window, each with the slice in which it was last seen.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::timing_wheel::TimingWheel;

/// The pages of one visitor or visit, each kept while the slice it was last seen in is in the window.
///
/// They are contiguous, so an event needs one memory access, and memory is proportional to live pairs, not to events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenPages {
    /// By page.
    seen: Vec<Seen>,
    /// The slice in whose list the owner is filed: no page was last seen before it.
    #[serde(skip)]
    filed: u32,
}

/// Slices are stored as the lower 32 bits of their numbers: those of one window are so close together that the wrapping
/// difference gives their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    page: u32,
    last: u32,
}

impl SeenPages {
    /// Records that its owner, `number` in the lists, was on a page in a slice. True if the page is new.
    pub(crate) fn see(&mut self, page: u32, slice: i64, number: u32, lists: &mut TimingWheel<u32>) -> bool {
        if self.seen.is_empty() || is_before(slice as u32, self.filed) {
            self.file(slice, number, lists);
        }
        match self.seen.binary_search_by_key(&page, |seen| seen.page) {
            Ok(at) => {
                let last = &mut self.seen[at].last;
                if is_before(*last, slice as u32) {
                    *last = slice as u32;
                }
                false
            }
            Err(at) => {
                self.seen.insert(at, Seen { page, last: slice as u32 });
                true
            }
        }
    }

    /// Evicts the pages last seen in or before a slice. `list` is the slice in whose list its owner was found: if it is not the
    /// one that the owner was last filed in, the entry is stale.
    pub(crate) fn leave(
        &mut self,
        (list, number): (i64, u32),
        slice: i64,
        lists: &mut TimingWheel<u32>,
        mut evicted: impl FnMut(u32),
    ) {
        if self.filed != list as u32 || self.seen.is_empty() {
            return;
        }
        self.seen.retain(|seen| {
            let stays = is_before(slice as u32, seen.last);
            if !stays {
                evicted(seen.page);
            }
            stays
        });
        if self.seen.is_empty() {
            // Frees the memory: visits outlive their pages.
            self.seen = Vec::new();
        }
        self.file_first(slice, number, lists);
    }

    /// Files its owner under the earliest slice of its pages; `near` is any slice of the window.
    pub(crate) fn file_first(&mut self, near: i64, number: u32, lists: &mut TimingWheel<u32>) {
        let distance = |seen: &Seen| seen.last.wrapping_sub(near as u32) as i32;
        if let Some(first) = self.seen.iter().map(distance).min() {
            self.file(near + i64::from(first), number, lists);
        }
    }

    fn file(&mut self, slice: i64, number: u32, lists: &mut TimingWheel<u32>) {
        self.filed = slice as u32;
        lists.file(slice, number);
    }

    /// Whether all were last seen within `range` of a slice.
    pub(super) fn are_near(&self, slice: i64, range: &Range<i64>) -> bool {
        let distance = |seen: &Seen| i64::from(seen.last.wrapping_sub(slice as u32) as i32);
        self.seen.iter().map(distance).all(|distance| range.contains(&distance))
    }

    /// Its pages, each with the slice it was last seen in; `near` is any slice of the window.
    pub(crate) fn into_pages(self, near: i64) -> impl Iterator<Item = (u32, i64)> {
        let slice = move |last: u32| near + i64::from(last.wrapping_sub(near as u32) as i32);
        self.seen.into_iter().map(move |seen| (seen.page, slice(seen.last)))
    }

    /// Its pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> + '_ {
        self.seen.iter().map(|seen| seen.page)
    }

    /// The pages that were seen in or after a slice.
    pub(crate) fn pages_since(&self, first: i64) -> impl Iterator<Item = u32> + '_ {
        self.seen.iter().filter(move |seen| !is_before(seen.last, first as u32)).map(|seen| seen.page)
    }

    /// Whether a page was seen in or after a slice.
    pub(crate) fn has_since(&self, page: u32, first: i64) -> bool {
        let found = self.seen.binary_search_by_key(&page, |seen| seen.page);
        found.is_ok_and(|at| !is_before(self.seen[at].last, first as u32))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owners by number, and their lists.
    #[derive(Default)]
    struct Fixture {
        seen: [SeenPages; 3],
        lists: TimingWheel<u32>,
    }

    impl Fixture {
        fn see(&mut self, number: u32, page: u32, slice: i64) -> bool {
            self.seen[number as usize].see(page, slice, number, &mut self.lists)
        }

        /// The (owner, page) pairs evicted with a slice.
        fn leave(&mut self, slice: i64) -> Vec<(u32, u32)> {
            let mut evicted = Vec::new();
            while let Some((list, number)) = self.lists.pop(slice) {
                let seen_pages = &mut self.seen[number as usize];
                seen_pages.leave((list, number), slice, &mut self.lists, |page| evicted.push((number, page)));
            }
            evicted.sort_unstable();
            evicted
        }
    }

    /// A slice number at which the lower 32 bits wrap around.
    const EDGE: i64 = 1 << 32;

    #[test]
    fn a_page_stays_until_the_last_slice_it_was_seen_in_leaves() {
        for start in [10, EDGE - 2] {
            let mut fixture = Fixture::default();
            assert!(fixture.see(1, 1, start) && fixture.see(2, 1, start) && fixture.see(1, 2, start + 2));
            assert!(
                !fixture.see(1, 1, start + 3) && !fixture.see(1, 1, start + 1),
                "last seen never moves back"
            );
            assert_eq!(fixture.leave(start), [(2, 1)]);
            assert!(fixture.seen[2].is_empty());
            assert_eq!(fixture.leave(start + 2), [(1, 2)]);
            assert_eq!(fixture.leave(start + 3), [(1, 1)]);
            assert_eq!(fixture.lists.len(), 0, "nothing is left behind");
        }
    }

    #[test]
    fn pages_seen_out_of_order_are_evicted_with_their_slice() {
        let mut fixture = Fixture::default();
        assert!(fixture.see(0, 5, 12) && fixture.see(0, 6, 10));
        assert_eq!(fixture.leave(10), [(0, 6)]);
        assert_eq!(fixture.lists.len(), 2, "filed again, and one stale entry");
        assert!(!fixture.see(0, 5, 13));
        assert_eq!(fixture.leave(12), []);
        assert_eq!(fixture.lists.len(), 1, "the stale entry is not filed again");
        assert_eq!(fixture.leave(13), [(0, 5)]);
    }

    #[test]
    fn pages_since_a_slice() {
        for start in [10, EDGE - 2] {
            let mut fixture = Fixture::default();
            for (page, slice) in [(7, start), (3, start + 4), (9, start + 2)] {
                fixture.see(0, page, slice);
            }
            let seen_pages = &fixture.seen[0];
            assert_eq!(seen_pages.pages().collect::<Vec<_>>(), [3, 7, 9]);
            assert_eq!(seen_pages.pages_since(start + 2).collect::<Vec<_>>(), [3, 9]);
            let since = |page| seen_pages.has_since(page, start + 1);
            assert_eq!([since(3), since(7), since(8), since(9)], [true, false, false, true]);
            let pages: Vec<_> = seen_pages.clone().into_pages(start + 1).collect();
            assert_eq!(pages, [(3, start + 4), (7, start), (9, start + 2)]);
        }
    }
}
