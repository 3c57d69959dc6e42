//! An event's properties: a map from text to text, borrowed from the bytes that it came in.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::avro::{Cursor, long, string};

/// A map from text to text, in Avro's encoding. Only what was read without fault, or written here, becomes one.
#[derive(Clone, Copy)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Writes entries into `buffer`, in place of what is in it, and borrows them from there.
    pub fn encode<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, V)>,
        buffer: &'a mut Vec<u8>,
    ) -> Self {
        buffer.clear();
        let mut body = Vec::new();
        let mut count = 0;
        for (key, value) in entries {
            string(key.as_ref(), &mut body);
            string(value.as_ref(), &mut body);
            count += 1;
        }
        if count > 0 {
            long(count, buffer);
            buffer.extend_from_slice(&body);
        }
        buffer.push(0);
        Self(buffer)
    }

    /// Reads a map, whose text must be UTF-8.
    pub(crate) fn decode(c: &mut Cursor<'a>) -> Result<Self, crate::DecodeError> {
        let from = c.rest();
        c.blocks(|c| {
            c.string()?;
            c.string().map(drop)
        })?;
        Ok(Self(&from[..from.len() - c.rest().len()]))
    }

    /// Avro's encoding of the map.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The entries in the order in which they were written; keys may be there twice.
    pub fn iter(self) -> Vec<(&'a str, &'a str)> {
        let (mut entries, mut cursor) = (Vec::new(), Cursor::new(self.0));
        // It was read before, so it has no fault.
        let _ = cursor.blocks(|c| {
            entries.push((c.string()?, c.string()?));
            Ok(())
        });
        entries
    }

    /// Number of entries, and bytes of all keys and values.
    pub fn size(self) -> (usize, usize) {
        let (mut entries, mut bytes, mut cursor) = (0, 0, Cursor::new(self.0));
        let _ = cursor.blocks(|c| {
            bytes += c.bytes()?.len() + c.bytes()?.len();
            entries += 1;
            Ok(())
        });
        (entries, bytes)
    }
}

/// The same entries in the same order, however many blocks they were written in.
impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter() == other.iter()
    }
}

impl Eq for Properties<'_> {}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.iter();
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (key, value) in entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ENTRIES: [(&str, &str); 2] = [("a", "1"), ("b", "23")];

    #[test]
    fn entries_are_the_same_in_one_block_and_in_two() {
        let mut buffer = b"what was there before".to_vec();
        let one = Properties::encode(ENTRIES, &mut buffer);
        let two = b"\x02\x02a\x021\x02\x02b\x0423\x00";
        let two = Properties::decode(&mut Cursor::new(two)).unwrap();
        assert_ne!(one.as_bytes(), two.as_bytes());
        assert_eq!(one, two);
        for properties in [one, two] {
            assert_eq!((properties.iter(), properties.size()), (ENTRIES.to_vec(), (2, 5)));
        }
        let [first, second] = ENTRIES;
        for other in [vec![], vec![first], vec![second, first], vec![first, ("b", "24")]] {
            assert_ne!(one, Properties::encode(other, &mut Vec::new()));
        }
    }

    #[test]
    fn they_are_shown_and_serialised_as_a_map() {
        let mut buffer = Vec::new();
        let properties = Properties::encode(ENTRIES, &mut buffer);
        assert_eq!(format!("{properties:?}"), r#"{"a": "1", "b": "23"}"#);
        assert_eq!(serde_json::to_string(&properties).unwrap(), r#"{"a":"1","b":"23"}"#);
    }
}
