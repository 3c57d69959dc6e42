//! The pages that a visitor, or a visit, has seen in the window, each with the slice in which it was last seen.

use serde::{Deserialize, Serialize};

use crate::timing_wheel::TimingWheel;

/// The pages of one visitor or visit, as long as the slice they were last seen in is in the window.
///
/// They lie together, so one look into memory finds all that an event is about, and memory follows the number of live pairs,
/// not of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenPages {
    /// By page.
    seen: Vec<Seen>,
    /// The slice in whose list its owner is: none of the pages was last seen before it.
    #[serde(skip)]
    filed: u32,
}

/// Slices are kept as the lower half of their numbers: those of one window lie so close together that the difference of two
/// halves says which is the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    page: u32,
    last: u32,
}

impl SeenPages {
    /// Notes that its owner, `number` in the lists, was on a page in a slice. True if the page is new.
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

    /// Lets go of the pages last seen in or before a slice. `list` is the slice in whose list its owner came up: what is in
    /// another one than it was last filed in is left over from before.
    pub(crate) fn leave(
        &mut self,
        (list, number): (i64, u32),
        slice: i64,
        lists: &mut TimingWheel<u32>,
        mut gone: impl FnMut(u32),
    ) {
        if self.filed != list as u32 || self.seen.is_empty() {
            return;
        }
        self.seen.retain(|seen| {
            let stays = is_before(slice as u32, seen.last);
            if !stays {
                gone(seen.page);
            }
            stays
        });
        if self.seen.is_empty() {
            // Visits live on without pages, for longer than they had any.
            self.seen = Vec::new();
        }
        self.file_first(slice, number, lists);
    }

    /// Puts its owner into the list of the earliest slice; `near` is some slice of the window.
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

    /// Its pages, each with the slice it was last seen in; `near` is some slice of the window.
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

    /// Owners at their numbers, with their lists.
    #[derive(Default)]
    struct Fixture {
        seen: [SeenPages; 3],
        lists: TimingWheel<u32>,
    }

    impl Fixture {
        fn see(&mut self, number: u32, page: u32, slice: i64) -> bool {
            self.seen[number as usize].see(page, slice, number, &mut self.lists)
        }

        /// (owner, page) pairs that leave with a slice.
        fn leave(&mut self, slice: i64) -> Vec<(u32, u32)> {
            let mut gone = Vec::new();
            while let Some((list, number)) = self.lists.pop(slice) {
                let seen_pages = &mut self.seen[number as usize];
                seen_pages.leave((list, number), slice, &mut self.lists, |page| gone.push((number, page)));
            }
            gone.sort_unstable();
            gone
        }
    }

    /// Slices on both sides of where their lower halves begin anew.
    const EDGE: i64 = 1 << 32;

    #[test]
    fn a_page_stays_until_the_last_slice_it_was_seen_in_leaves() {
        for start in [10, EDGE - 2] {
            let mut fixture = Fixture::default();
            assert!(fixture.see(1, 1, start) && fixture.see(2, 1, start) && fixture.see(1, 2, start + 2));
            assert!(!fixture.see(1, 1, start + 3) && !fixture.see(1, 1, start + 1), "never back");
            assert_eq!(fixture.leave(start), [(2, 1)]);
            assert!(fixture.seen[2].is_empty());
            assert_eq!(fixture.leave(start + 2), [(1, 2)]);
            assert_eq!(fixture.leave(start + 3), [(1, 1)]);
            assert_eq!(fixture.lists.len(), 0, "nothing is left behind");
        }
    }

    #[test]
    fn what_comes_late_leaves_in_time() {
        let mut fixture = Fixture::default();
        assert!(fixture.see(0, 5, 12) && fixture.see(0, 6, 10));
        assert_eq!(fixture.leave(10), [(0, 6)]);
        assert_eq!(fixture.lists.len(), 2, "filed anew, and left over from before");
        assert!(!fixture.see(0, 5, 13));
        assert_eq!(fixture.leave(12), []);
        assert_eq!(fixture.lists.len(), 1, "what was left over is not filed again");
        assert_eq!(fixture.leave(13), [(0, 5)]);
    }

    #[test]
    fn pages_are_told_from_a_slice_on() {
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
