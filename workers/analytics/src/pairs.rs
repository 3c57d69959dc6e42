//! Which visitors, or visits, were on which page in the window.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::recency::Recency;

/// (page, member) pairs by slice.
pub(crate) type BySlice = Vec<(i64, Vec<(u32, u32)>)>;

/// A set of (page, member) pairs, each with the last slice it was seen in. A pair lives as long as that slice is in the
/// window, so memory follows the number of live pairs, not of events.
#[derive(Default)]
pub(crate) struct Pairs {
    places: HashTable<u32>,
    pairs: Vec<(u32, u32)>,
    free: Vec<u32>,
    recency: Recency,
    hasher: DefaultHashBuilder,
}

impl Pairs {
    /// Notes that the pair was seen in a slice. True if the pair is new.
    pub(crate) fn see(&mut self, page: u32, member: u32, slice: i64) -> bool {
        let pair = (page, member);
        let hash = self.hasher.hash_one(pair);
        if let Some(&place) = self.places.find(hash, |&p| self.pairs[p as usize] == pair) {
            self.recency.raise(place, slice);
            return false;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(pair);
            (self.pairs.len() - 1) as u32
        });
        self.pairs[place as usize] = pair;
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        self.places.insert_unique(hash, place, |&p| hasher.hash_one(pairs[p as usize]));
        self.recency.insert(place, slice);
        true
    }

    /// The slice the pair was last seen in.
    pub(crate) fn last_slice(&self, page: u32, member: u32) -> Option<i64> {
        let pair = (page, member);
        let hash = self.hasher.hash_one(pair);
        self.places.find(hash, |&p| self.pairs[p as usize] == pair).map(|&place| self.recency.slice(place))
    }

    /// The page of each pair that was seen in or after a slice.
    pub(crate) fn pages_since(&self, first: i64) -> impl Iterator<Item = u32> + '_ {
        let lists = self.recency.lists().filter(move |(slice, _)| *slice >= first);
        lists.flat_map(|(_, places)| places.map(|p| self.pairs[p as usize].0))
    }

    /// Takes the pair out, and says which slice it was last seen in.
    pub(crate) fn remove(&mut self, page: u32, member: u32) -> Option<i64> {
        let pair = (page, member);
        let hash = self.hasher.hash_one(pair);
        let entry = self.places.find_entry(hash, |&p| self.pairs[p as usize] == pair).ok()?;
        let (place, _) = entry.remove();
        let slice = self.recency.slice(place);
        self.recency.remove(place);
        self.free.push(place);
        Some(slice)
    }

    /// Takes out one pair that was last seen at or before a slice.
    pub(crate) fn expire(&mut self, slice: i64) -> Option<(u32, u32)> {
        let place = self.recency.pop(slice)?;
        let pair = self.pairs[place as usize];
        let hash = self.hasher.hash_one(pair);
        if let Ok(entry) = self.places.find_entry(hash, |&p| p == place) {
            entry.remove();
        }
        self.free.push(place);
        Some(pair)
    }

    /// All pairs by the slice they were last seen in.
    pub(crate) fn by_slice(&self) -> BySlice {
        let lists = self.recency.lists();
        lists.map(|(slice, places)| (slice, places.map(|p| self.pairs[p as usize]).collect())).collect()
    }

    /// The pairs that [`by_slice`](Self::by_slice) gave.
    pub(crate) fn restore(pairs: BySlice) -> Self {
        let mut restored = Self::default();
        for (slice, pairs) in pairs {
            for (page, member) in pairs {
                restored.see(page, member, slice);
            }
        }
        restored
    }

    /// How many pairs are live.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}
