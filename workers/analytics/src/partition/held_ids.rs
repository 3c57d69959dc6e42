//! Identities of events that were counted: the same event sent again counts once.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    identity::Identity,
    section::{HELD_IDS, SectionError},
    snapshot::{Sections, SnapshotError, SnapshotWriter},
};

/// Identities, each held until the watermark has come so far. The watermark never moves back, so the first one in is the first one out.
#[derive(Default)]
pub(super) struct HeldIds {
    ring: VecDeque<(Identity, i64)>,
    /// Sequence numbers: the position in the ring, plus how many have left it.
    numbers: HashTable<u32>,
    left: u32,
    key: Key,
}

/// Makes of identities, which anybody can compute, hashes that nobody can predict.
struct Key(u64, u64);

impl Default for Key {
    fn default() -> Self {
        let random = DefaultHashBuilder::default();
        Self(random.hash_one(0), random.hash_one(1))
    }
}

impl Key {
    #[inline]
    fn hash(&self, identity: Identity) -> u64 {
        let folded = u128::from(identity as u64 ^ self.0) * u128::from((identity >> 64) as u64 ^ self.1);
        folded as u64 ^ (folded >> 64) as u64
    }
}

impl HeldIds {
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn contains(&self, identity: Identity) -> bool {
        let (ring, left) = (&self.ring, self.left);
        let is_it = |&number: &u32| ring[number.wrapping_sub(left) as usize].0 == identity;
        self.numbers.find(self.key.hash(identity), is_it).is_some()
    }

    /// Holds an identity that is not held until the watermark reaches `until`, which is no less than for those before it.
    pub(super) fn hold(&mut self, identity: Identity, until: i64) {
        let Self { ring, numbers, left, key } = self;
        let number = left.wrapping_add(ring.len() as u32);
        ring.push_back((identity, until));
        numbers.insert_unique(key.hash(identity), number, |&number| {
            key.hash(ring[number.wrapping_sub(*left) as usize].0)
        });
    }

    /// Lets go of what is held no longer.
    pub(super) fn expire(&mut self, watermark: i64) {
        while let Some(&(identity, until)) = self.ring.front()
            && until <= watermark
        {
            let first = self.left;
            if let Ok(entry) = self.numbers.find_entry(self.key.hash(identity), |&number| number == first) {
                entry.remove();
            }
            self.ring.pop_front();
            self.left = self.left.wrapping_add(1);
        }
    }

    /// Gives back what a peak needed and is needed no longer.
    pub(super) fn shrink(&mut self) {
        let length = self.ring.len();
        if self.ring.capacity() > 4 * length + 1024 {
            let Self { ring, numbers, left, key } = self;
            ring.shrink_to(2 * length);
            numbers.shrink_to(2 * length, |&number| key.hash(ring[number.wrapping_sub(*left) as usize].0));
        }
    }

    /// Sixteen bytes per identity, and the time since the one before it.
    pub(super) fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        let (front, back) = self.ring.as_slices();
        let mut before = 0;
        out.value(&self.ring.len())?;
        for some in [front, back].into_iter().flat_map(|half| half.chunks(SAVED_TOGETHER)) {
            let since = |&(identity, until): &(Identity, i64)| {
                let since = until - before;
                before = until;
                (identity.to_le_bytes(), since)
            };
            let some: Vec<Saved> = some.iter().map(since).collect();
            out.elements(&some)?;
        }
        Ok(())
    }

    pub(super) fn restore(sections: &Sections<'_>) -> Result<Self, SnapshotError> {
        let mut held = Self::default();
        let Some(body) = sections.find(HELD_IDS)? else { return Ok(held) };
        let saved: Vec<Saved> =
            postcard::from_bytes(body).map_err(|_| SectionError::Malformed(HELD_IDS.tag))?;
        let mut until = 0_i64;
        for (identity, since) in saved {
            until = until.checked_add(since).ok_or(SnapshotError::OutOfRange("a held identity"))?;
            held.hold(Identity::from_le_bytes(identity), until);
        }
        Ok(held)
    }
}

/// An identity, and how much later than the one before it expires.
type Saved = ([u8; 16], i64);

/// Identities that are written at a time.
const SAVED_TOGETHER: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::identity;

    #[test]
    fn what_is_held_is_found_until_its_time_is_over() {
        let mut held = HeldIds::default();
        let ids: Vec<Identity> = (0..5_000).map(|i| identity("u", &i.to_string())).collect();
        for round in 0..3_i64 {
            for (i, id) in (0..).zip(&ids) {
                let now = round * 5_000 + i;
                held.expire(now);
                assert!(!held.contains(*id));
                held.hold(*id, now + 100);
                assert!(held.contains(*id) && held.len() <= 100, "{now}");
            }
        }
        held.expire(i64::MAX);
        assert!(held.is_empty() && ids.iter().all(|id| !held.contains(*id)));
    }
}
