//! A partition's whole state as bytes: to go on from there instead of reading its log from the beginning.
//!
//! Numbers that stand for strings and visits are kept as they are, so that everything that refers to them is written as it
//! lies in memory; only the indexes are built anew.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeTuple as _};

use crate::{
    event::InternedEvent,
    pages::{Baselines, Counts, SeenPages, Totals, Visit},
};

/// The version of the format, its first byte. A field added to anything in here makes a new version.
const VERSION: u8 = 1;
/// Bytes that are handed on together, and up to so many elements of a list more.
const BUFFER_BYTES: usize = 64 << 10;
const TOGETHER: usize = 16;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version.
    #[error("snapshot of format {0}, this version reads format {VERSION}")]
    Version(u8),
    /// Not a snapshot at all.
    #[error("not a snapshot: {0}")]
    Malformed(#[from] postcard::Error),
}

/// A partition, to be written or as it was read.
#[derive(Deserialize)]
pub(crate) struct Snapshot<'a> {
    /// Pages, users, sessions: strings with their holders, at their numbers.
    #[serde(borrow)]
    pub(crate) names: [Vec<(&'a str, u32)>; 3],
    pub(crate) window: Saved<'a>,
    pub(crate) baselines: Cow<'a, Baselines>,
    pub(crate) last_emitted_pages: Cow<'a, [(u32, Option<u64>)]>,
    pub(crate) pending: Cow<'a, BTreeMap<i64, Vec<InternedEvent>>>,
    pub(crate) watermark: Option<i64>,
    pub(crate) greatest: Option<i64>,
    pub(crate) sealed: Option<i64>,
    pub(crate) first_aligned: Option<i64>,
}

/// A window, to be written or as it was read.
#[derive(Deserialize)]
pub(crate) struct Saved<'a> {
    pub(crate) totals: Cow<'a, [Totals]>,
    pub(crate) slices: Cow<'a, BTreeMap<i64, Vec<(u32, Counts)>>>,
    pub(crate) users: Cow<'a, [SeenPages]>,
    pub(crate) visits: Cow<'a, [Option<Visit>]>,
}

/// Elements one after the other, without their number.
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

/// Hands on what is written, some elements at a time: a question a byte whether the buffer is full would be felt.
struct Parts<'a> {
    buffer: Vec<u8>,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl Parts<'_> {
    fn value(&mut self, value: &impl Serialize) -> postcard::Result<()> {
        self.buffer = postcard::to_extend(value, std::mem::take(&mut self.buffer))?;
        Ok(())
    }

    /// A list, as serde would write it.
    fn each<T: Serialize>(&mut self, elements: &[T]) -> postcard::Result<()> {
        self.value(&elements.len())?;
        for some in elements.chunks(TOGETHER) {
            self.value(&Elements(some))?;
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush();
            }
        }
        Ok(())
    }

    fn lists<T: Serialize>(&mut self, lists: &BTreeMap<i64, Vec<T>>) -> postcard::Result<()> {
        self.value(&lists.len())?;
        lists.iter().try_for_each(|(slice, list)| {
            self.value(slice)?;
            self.each(list)
        })
    }

    fn flush(&mut self) {
        (self.sink)(&self.buffer);
        self.buffer.clear();
    }
}

impl<'a> Snapshot<'a> {
    /// In the order of the fields, which is that in which [`decode`](Self::decode) reads them.
    pub(crate) fn encode(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
        let Self {
            names,
            window,
            baselines,
            last_emitted_pages,
            pending,
            watermark,
            greatest,
            sealed,
            first_aligned,
        } = self;
        let Saved { totals, slices, users, visits } = window;
        let mut parts = Parts { buffer: Vec::with_capacity(2 * BUFFER_BYTES), sink };
        parts.buffer.push(VERSION);
        for strings in names {
            parts.each(strings)?;
        }
        parts.each(totals)?;
        parts.lists(slices)?;
        parts.each(users)?;
        parts.each(visits)?;
        parts.each(baselines.all())?;
        parts.each(last_emitted_pages)?;
        parts.lists(pending)?;
        parts.value(&(watermark, greatest, sealed, first_aligned))?;
        parts.flush();
        Ok(())
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, SnapshotError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
            Some((&other, _)) => Err(SnapshotError::Version(other)),
            None => Err(SnapshotError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        }
    }
}
