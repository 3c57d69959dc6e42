//! String interning with reference counts.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Gives each distinct string a number, freed when its last holder releases it. Strings are compared in full: a hash alone
/// would not be exact.
#[derive(Default)]
pub struct Interner {
    numbers: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
}

struct Slot {
    text: Box<str>,
    holders: u32,
}

impl Interner {
    /// The number of `text`; adds a holder.
    pub fn acquire(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let slots = &self.slots;
        if let Some(&number) = self.numbers.find(hash, |&n| &*slots[n as usize].text == text) {
            self.slots[number as usize].holders += 1;
            return number;
        }
        let slot = Slot { text: text.into(), holders: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.numbers.insert_unique(hash, number, |&n| hasher.hash_one(&*slots[n as usize].text));
        number
    }

    /// The number of `text`, if it is held.
    pub fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |&n| &*self.slots[n as usize].text == text).copied()
    }

    /// Adds a holder to a held number.
    pub(crate) fn hold(&mut self, number: u32) {
        self.slots[number as usize].holders += 1;
    }

    /// Number of held strings.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.numbers.len()
    }

    /// Whether a held number has one holder: the first one, if it was just acquired.
    pub(crate) fn is_new(&self, number: u32) -> bool {
        self.slots[number as usize].holders == 1
    }

    /// Removes a holder. True if it was the last: the number may then be reused for another string.
    pub fn release(&mut self, number: u32) -> bool {
        let slot = &mut self.slots[number as usize];
        slot.holders -= 1;
        if slot.holders > 0 {
            return false;
        }
        let hash = self.hasher.hash_one(&*std::mem::take(&mut slot.text));
        if let Ok(entry) = self.numbers.find_entry(hash, |&n| n == number) {
            entry.remove();
        }
        self.free.push(number);
        true
    }

    /// All strings in the order of their numbers, with their holder counts; 0 holders: the number is free.
    pub(crate) fn all(&self) -> Vec<(&str, u32)> {
        self.slots.iter().map(|slot| (&*slot.text, slot.holders)).collect()
    }

    /// Rebuilds an interner from what [`all`](Self::all) returned.
    pub(crate) fn restore(texts: Vec<(&str, u32)>) -> Self {
        let mut restored = Self::default();
        for (number, (text, holders)) in (0..).zip(texts) {
            let hash = restored.hasher.hash_one(text);
            restored.slots.push(Slot { text: text.into(), holders });
            if holders == 0 {
                restored.free.push(number);
            } else {
                let (slots, hasher) = (&restored.slots, &restored.hasher);
                restored.numbers.insert_unique(hash, number, |&n| hasher.hash_one(&*slots[n as usize].text));
            }
        }
        restored
    }

    /// An upper bound for all numbers.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The string of a held number.
    pub fn text(&self, number: u32) -> &str {
        &self.slots[number as usize].text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lives_as_long_as_its_holders() {
        let mut names = Interner::default();
        let a = names.acquire("a");
        assert_eq!(names.acquire("a"), a);
        let b = names.acquire("b");
        assert_ne!(a, b);
        assert!(!names.release(a));
        assert_eq!((names.text(a), names.text(b)), ("a", "b"));
        assert!(names.release(a));
        assert_eq!((names.find("a"), names.find("b")), (None, Some(b)));
        assert_eq!(names.acquire("c"), a, "a freed number is used again");
    }
}
