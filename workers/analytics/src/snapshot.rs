//! A partition's whole state as bytes: a restart continues from it instead of reading the log from the beginning.
//!
//! Interned numbers of strings and visits are preserved, so everything that refers to them is written as it is in memory; only
//! the indexes are rebuilt. Format 1 is the state of the engine and of its pages; format 2 has a section per feature, and is
//! written if a feature besides pages is on:
//!
//! ```text
//! 1 names pages progress
//! 2 section* table length
//! table: (tag version length)*; length of the table, four bytes, little-endian
//! ```
//! Everything else is postcard. The table comes last because a state is written piece by piece.

use std::collections::BTreeMap;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeTuple as _};

use crate::section::{SectionError, SectionId};

/// The versions of the format, its first byte.
pub(crate) const PLAIN: u8 = 1;
pub(crate) const SECTIONS: u8 = 2;
/// The buffer is flushed at this size; it may exceed it by `TOGETHER` elements of a list.
const BUFFER_BYTES: usize = 64 << 10;
const TOGETHER: usize = 16;
/// Size of the table's length field, at the very end.
const TABLE_LENGTH_BYTES: usize = 4;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version.
    #[error("snapshot of format {0}, this version reads formats {PLAIN} and {SECTIONS}")]
    Version(u8),
    /// Not a snapshot at all.
    #[error("not a snapshot: {0}")]
    Malformed(#[from] postcard::Error),
    /// It decodes, and is the state of nothing.
    #[error("not a snapshot: the number of {0} is out of range")]
    OutOfRange(&'static str),
    /// One of its sections cannot be read.
    #[error("snapshot: {0}")]
    Section(#[from] SectionError),
}

/// An entry of the table.
#[derive(Serialize, Deserialize)]
struct Entry {
    tag: u8,
    version: u8,
    length: u64,
}

/// Appends to an existing buffer: `postcard::to_extend` takes more instructions per byte.
struct Buffer<'a>(&'a mut Vec<u8>);

impl Flavor for Buffer<'_> {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Elements without a length prefix.
struct Elements<'a, T>(&'a [T]);

impl<T: Serialize> Serialize for Elements<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for element in self.0 {
            tuple.serialize_element(element)?;
        }
        tuple.end()
    }
}

/// Writes a snapshot through a buffer. The buffer is checked every few elements: a check per byte would be measurably slower.
pub struct SnapshotWriter<'a> {
    version: u8,
    buffer: Vec<u8>,
    sink: &'a mut dyn FnMut(&[u8]),
    /// Bytes flushed to the sink.
    flushed: u64,
    /// Sections and their start positions.
    sections: Vec<(SectionId, u64)>,
}

impl<'a> SnapshotWriter<'a> {
    pub(crate) fn new(version: u8, sink: &'a mut dyn FnMut(&[u8])) -> Self {
        let mut buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        buffer.push(version);
        Self { version, buffer, sink, flushed: 0, sections: Vec::new() }
    }

    /// Begins a section; it ends where the next one begins.
    pub(crate) fn section(&mut self, id: SectionId) {
        let begin = self.written();
        self.sections.push((id, begin));
    }

    /// A value, in serde's format.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> postcard::Result<()> {
        postcard::serialize_with_flavor(value, Buffer(&mut self.buffer))
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Elements of a list whose length is written.
    pub(crate) fn elements<T: Serialize>(&mut self, elements: &[T]) -> postcard::Result<()> {
        self.value(&Elements(elements))?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        Ok(())
    }

    /// A list, in serde's format.
    pub(crate) fn each<T: Serialize>(&mut self, elements: &[T]) -> postcard::Result<()> {
        self.value(&elements.len())?;
        elements.chunks(TOGETHER).try_for_each(|some| self.elements(some))
    }

    /// A map of lists, in serde's format.
    pub(crate) fn lists<T: Serialize>(&mut self, lists: &BTreeMap<i64, Vec<T>>) -> postcard::Result<()> {
        self.value(&lists.len())?;
        lists.iter().try_for_each(|(slice, list)| {
            self.value(slice)?;
            self.each(list)
        })
    }

    /// Writes the table, if the format has one, and flushes the rest.
    pub(crate) fn finish(mut self) -> Result<(), SnapshotError> {
        if self.version == SECTIONS {
            let end = self.written();
            let ends = self.sections.iter().skip(1).map(|&(_, begin)| begin).chain([end]);
            let entry = |(&(id, begin), end): (&(SectionId, u64), u64)| Entry {
                tag: id.tag,
                version: id.version,
                length: end - begin,
            };
            let table: Vec<Entry> = self.sections.iter().zip(ends).map(entry).collect();
            self.value(&table)?;
            let length = (self.written() - end) as u32;
            self.buffer.extend_from_slice(&length.to_le_bytes());
        }
        self.flush();
        Ok(())
    }

    fn written(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    fn flush(&mut self) {
        (self.sink)(&self.buffer);
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

/// The sections of a snapshot of format 2.
pub struct Sections<'a>(Vec<(SectionId, &'a [u8])>);

impl<'a> Sections<'a> {
    /// Parses the bytes after the version byte.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, SnapshotError> {
        let cut = SnapshotError::Malformed(postcard::Error::DeserializeUnexpectedEnd);
        let parts = bytes.split_last_chunk::<TABLE_LENGTH_BYTES>().and_then(|(rest, length)| {
            let at = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
            Some(rest.split_at(at))
        });
        let Some((mut bodies, table)) = parts else { return Err(cut) };
        let table: Vec<Entry> = postcard::from_bytes(table)?;
        let mut sections = Vec::with_capacity(table.len());
        for Entry { tag, version, length } in table {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some((body, rest)) = bodies.split_at_checked(length) else { return Err(cut) };
            sections.push((SectionId { tag, version }, body));
            bodies = rest;
        }
        Ok(Self(sections))
    }

    /// A feature's section, if there is one.
    ///
    /// # Errors
    /// The section has a later version.
    pub(crate) fn find(&self, id: SectionId) -> Result<Option<&'a [u8]>, SectionError> {
        for &(found, body) in &self.0 {
            if id.is(found)? {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }
}
