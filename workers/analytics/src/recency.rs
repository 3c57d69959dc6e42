//! Which things were last seen in which slice: a linked list a slice, so that a thing moves to a newer slice, or expires
//! with its slice, at the same cost whatever the window's size.

use std::collections::VecDeque;

const NONE: u32 = u32::MAX;

/// Doubly linked lists over small numbers, one list a slice.
#[derive(Default)]
pub(crate) struct Recency {
    /// First slice that has a list.
    base: i64,
    heads: VecDeque<u32>,
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    slice: i64,
    previous: u32,
    next: u32,
}

impl Recency {
    /// Puts a new thing into a slice's list.
    pub(crate) fn insert(&mut self, thing: u32, slice: i64) {
        if self.heads.is_empty() {
            self.base = slice;
        }
        while slice < self.base {
            self.heads.push_front(NONE);
            self.base -= 1;
        }
        let index = (slice - self.base) as usize;
        if index >= self.heads.len() {
            self.heads.resize(index + 1, NONE);
        }
        let next = std::mem::replace(&mut self.heads[index], thing);
        if thing as usize >= self.links.len() {
            self.links.resize(thing as usize + 1, Link { slice: 0, previous: NONE, next: NONE });
        }
        self.links[thing as usize] = Link { slice, previous: NONE, next };
        if next != NONE {
            self.links[next as usize].previous = thing;
        }
    }

    /// Takes a thing out of its list.
    pub(crate) fn remove(&mut self, thing: u32) {
        let Link { slice, previous, next } = self.links[thing as usize];
        match previous {
            NONE => self.heads[(slice - self.base) as usize] = next,
            _ => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
    }

    /// Moves a thing to a slice's list, unless it is in that or a newer one. True if it moved.
    pub(crate) fn raise(&mut self, thing: u32, slice: i64) -> bool {
        if self.slice(thing) >= slice {
            return false;
        }
        self.remove(thing);
        self.insert(thing, slice);
        true
    }

    /// The slice that a thing was last seen in.
    pub(crate) fn slice(&self, thing: u32) -> i64 {
        self.links[thing as usize].slice
    }

    /// The slices that have things, each with its things.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (i64, impl Iterator<Item = u32> + '_)> + '_ {
        let lists = (self.base..).zip(&self.heads).filter(|(_, head)| **head != NONE);
        lists.map(|(slice, &head)| {
            let next = |&thing: &u32| Some(self.links[thing as usize].next).filter(|&next| next != NONE);
            (slice, std::iter::successors(Some(head), next))
        })
    }

    /// Takes out one thing whose slice is at or before `slice`, oldest slice first.
    pub(crate) fn pop(&mut self, slice: i64) -> Option<u32> {
        while self.base <= slice && !self.heads.is_empty() {
            match self.heads[0] {
                NONE => {
                    self.heads.pop_front();
                    self.base += 1;
                }
                thing => {
                    self.remove(thing);
                    return Some(thing);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_expire_with_the_slice_they_were_last_seen_in() {
        let mut recency = Recency::default();
        for (thing, slice) in [(0, 10), (1, 10), (2, 12), (3, 8)] {
            recency.insert(thing, slice);
        }
        assert!(recency.raise(0, 11));
        assert!(!recency.raise(2, 11), "never back");
        let mut gone = Vec::new();
        while let Some(thing) = recency.pop(11) {
            gone.push(thing);
        }
        assert_eq!(gone, [3, 1, 0]);
        assert_eq!(recency.pop(1_000_000), Some(2));
        assert_eq!(recency.pop(1_000_000), None);
        recency.insert(5, 9_000_000);
        assert_eq!(recency.pop(9_000_000), Some(5), "a long silence costs nothing");
    }
}
