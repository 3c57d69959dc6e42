//! Which visitors, or visits, were on which page in the window.

use std::{collections::BTreeMap, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use crate::{recency::Recency, window::SITE};

/// (page, member) pairs by slice.
pub(crate) type BySlice = Vec<(i64, Vec<(u32, u32)>)>;

/// A set of (page, member) pairs, each with the last slice it was seen in. A pair lives as long as that slice is in the
/// window, so memory follows the number of live pairs, not of events.
#[derive(Default)]
pub(crate) struct Pairs {
    // With everything about a pair in it: one look into memory is what an event costs here.
    of_pages: HashTable<Pair>,
    /// The pairs of [`SITE`], at their members' numbers: half of all looks, and these need no hash.
    of_site: Vec<Option<Seen>>,
    of_site_live: usize,
    recency: Recency<(u32, u32)>,
    hasher: DefaultHashBuilder,
}

struct Pair {
    name: (u32, u32),
    seen: Seen,
}

#[derive(Clone, Copy)]
struct Seen {
    /// The last slice.
    last: i64,
    /// The slice in whose list it is. An entry of another list is what is left of a pair that was taken out and came back.
    filed: i64,
}

impl Pairs {
    /// Notes that the pair was seen in a slice. True if the pair is new.
    pub(crate) fn see(&mut self, page: u32, member: u32, slice: i64) -> bool {
        let new = Seen { last: slice, filed: slice };
        let known = if page == SITE {
            let place = member as usize;
            if place >= self.of_site.len() {
                self.of_site.resize(place + 1, None);
            }
            let seen = &mut self.of_site[place];
            if seen.is_none() {
                *seen = Some(new);
                self.of_site_live += 1;
                None
            } else {
                seen.as_mut()
            }
        } else {
            let (name, hasher) = ((page, member), &self.hasher);
            let hash = hasher.hash_one(name);
            match self.of_pages.entry(hash, |p| p.name == name, |p| hasher.hash_one(p.name)) {
                Entry::Occupied(pair) => Some(&mut pair.into_mut().seen),
                Entry::Vacant(place) => {
                    place.insert(Pair { name, seen: new });
                    None
                }
            }
        };
        match known {
            Some(seen) => {
                seen.last = seen.last.max(slice);
                false
            }
            None => {
                self.recency.file(slice, (page, member));
                true
            }
        }
    }

    /// The slice the pair was last seen in.
    pub(crate) fn last_slice(&self, page: u32, member: u32) -> Option<i64> {
        if page == SITE {
            return self.of_site.get(member as usize)?.map(|seen| seen.last);
        }
        let name = (page, member);
        self.of_pages.find(self.hasher.hash_one(name), |p| p.name == name).map(|pair| pair.seen.last)
    }

    /// The page of each pair that was seen in or after a slice, in no particular order.
    pub(crate) fn pages_since(&self, first: i64) -> impl Iterator<Item = u32> + '_ {
        self.all().filter(move |(_, seen)| seen.last >= first).map(|((page, _), _)| page)
    }

    /// Takes the pair out, and says which slice it was last seen in.
    pub(crate) fn remove(&mut self, page: u32, member: u32) -> Option<i64> {
        self.take((page, member), |_| true).ok().map(|seen| seen.last)
    }

    /// Takes out one pair that was last seen at or before a slice.
    pub(crate) fn expire(&mut self, slice: i64) -> Option<(u32, u32)> {
        while let Some((list, name)) = self.recency.pop(slice) {
            match self.take(name, |seen| seen.filed == list && seen.last <= slice) {
                Ok(_) => return Some(name),
                Err(Some(seen)) if seen.filed == list => {
                    let last = seen.last;
                    seen.filed = last;
                    self.recency.file(last, name);
                }
                Err(_) => {}
            }
        }
        None
    }

    /// All pairs by the slice they were last seen in; those of a slice in no particular order.
    pub(crate) fn by_slice(&self) -> BySlice {
        let mut slices: BTreeMap<i64, Vec<(u32, u32)>> = BTreeMap::new();
        for (name, seen) in self.all() {
            slices.entry(seen.last).or_default().push(name);
        }
        slices.into_iter().collect()
    }

    /// The pairs that [`by_slice`](Self::by_slice) gave.
    pub(crate) fn restore(pairs: BySlice) -> Self {
        let mut restored = Self::default();
        let hasher = &restored.hasher;
        restored
            .of_pages
            .reserve(pairs.iter().map(|(_, pairs)| pairs.len()).sum(), |p| hasher.hash_one(p.name));
        for (slice, pairs) in pairs {
            for (page, member) in pairs {
                restored.see(page, member, slice);
            }
        }
        restored
    }

    /// How many pairs are live.
    pub(crate) fn len(&self) -> usize {
        self.of_pages.len() + self.of_site_live
    }

    fn all(&self) -> impl Iterator<Item = ((u32, u32), Seen)> + '_ {
        let of_site = (0..).zip(&self.of_site);
        let of_site = of_site.filter_map(|(member, seen)| seen.map(|seen| ((SITE, member), seen)));
        self.of_pages.iter().map(|pair| (pair.name, pair.seen)).chain(of_site)
    }

    /// Takes a pair out where `wanted` says so; else gives it back, if it is there.
    fn take(&mut self, name: (u32, u32), wanted: impl Fn(Seen) -> bool) -> Result<Seen, Option<&mut Seen>> {
        if name.0 == SITE {
            let place = self.of_site.get_mut(name.1 as usize).ok_or(None)?;
            return match *place {
                Some(seen) if wanted(seen) => {
                    *place = None;
                    self.of_site_live -= 1;
                    Ok(seen)
                }
                _ => Err(place.as_mut()),
            };
        }
        match self.of_pages.find_entry(self.hasher.hash_one(name), |p| p.name == name) {
            Ok(pair) if wanted(pair.get().seen) => Ok(pair.remove().0.seen),
            Ok(pair) => Err(Some(&mut pair.into_mut().seen)),
            Err(_) => Err(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(pairs: &mut Pairs, slice: i64) -> Vec<(u32, u32)> {
        let mut gone: Vec<_> = std::iter::from_fn(|| pairs.expire(slice)).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn a_pair_lives_until_the_last_slice_it_was_seen_in_leaves() {
        let mut pairs = Pairs::default();
        assert!(pairs.see(1, 1, 10) && pairs.see(1, 2, 10) && pairs.see(2, 1, 12));
        assert!(!pairs.see(1, 1, 13) && !pairs.see(1, 1, 11), "never back");
        assert_eq!(pairs.last_slice(1, 1), Some(13));
        assert_eq!(expired(&mut pairs, 10), [(1, 2)]);
        assert_eq!(expired(&mut pairs, 12), [(2, 1)]);
        assert_eq!((pairs.len(), expired(&mut pairs, 13)), (1, vec![(1, 1)]));
        assert_eq!((pairs.len(), pairs.last_slice(1, 1)), (0, None));
    }

    #[test]
    fn a_pair_that_came_back_expires_once() {
        let mut pairs = Pairs::default();
        pairs.see(1, 1, 10);
        assert_eq!((pairs.remove(1, 1), pairs.remove(1, 1)), (Some(10), None));
        assert!(pairs.see(1, 1, 10) && !pairs.see(1, 1, 12));
        assert_eq!(expired(&mut pairs, 11), []);
        assert_eq!(pairs.recency.len(), 1, "what is left of it is not filed again");
        pairs.remove(1, 1);
        assert!(pairs.see(1, 1, 15));
        assert_eq!(expired(&mut pairs, 14), []);
        assert_eq!(expired(&mut pairs, 15), [(1, 1)]);
        assert!(pairs.recency.pop(i64::MAX - 1).is_none(), "nothing is left behind");
    }

    #[test]
    fn what_is_saved_is_what_comes_back() {
        let mut pairs = Pairs::default();
        for (page, member, slice) in [(1, 1, 10), (1, 2, 11), (1, 1, 12)] {
            pairs.see(page, member, slice);
        }
        assert_eq!(pairs.by_slice(), [(11, vec![(1, 2)]), (12, vec![(1, 1)])]);
        let mut restored = Pairs::restore(pairs.by_slice());
        assert_eq!((expired(&mut restored, 11), expired(&mut restored, 12)), (vec![(1, 2)], vec![(1, 1)]));
    }
}
