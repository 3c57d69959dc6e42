//! A partition's whole state as bytes: to go on from there instead of reading its log from the beginning.
//!
//! Numbers that stand for strings and visits are kept as they are, so that everything that refers to them is written as it
//! lies in memory; only the indexes are built anew.

use std::{borrow::Cow, collections::BTreeMap};

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::{
    baseline::Baselines,
    trail::Trail,
    visits::Visit,
    window::{Click, Counts, Totals},
};

/// The version of the format, its first byte. A field added to anything in here makes a new version.
const VERSION: u8 = 1;
/// Bytes that are handed on together.
const BUFFER_BYTES: usize = 64 << 10;

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
#[derive(Serialize, Deserialize)]
pub(crate) struct Snapshot<'a> {
    /// Pages, users, sessions: strings with their holders, at their numbers.
    #[serde(borrow)]
    pub(crate) names: [Vec<(&'a str, u32)>; 3],
    pub(crate) window: Saved<'a>,
    pub(crate) baselines: Cow<'a, Baselines>,
    pub(crate) told: Cow<'a, [(u32, Option<u64>)]>,
    pub(crate) pending: Cow<'a, BTreeMap<i64, Vec<Click>>>,
    pub(crate) watermark: Option<i64>,
    pub(crate) greatest: Option<i64>,
    pub(crate) sealed: Option<i64>,
    pub(crate) first_aligned: Option<i64>,
}

/// A window, to be written or as it was read.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved<'a> {
    pub(crate) totals: Cow<'a, [Totals]>,
    pub(crate) slices: Cow<'a, BTreeMap<i64, Vec<(u32, Counts)>>>,
    pub(crate) users: Cow<'a, [Trail]>,
    pub(crate) visits: Cow<'a, [Option<Visit>]>,
}

/// Hands on what is written, part by part.
struct Parts<'a> {
    buffer: Vec<u8>,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl Parts<'_> {
    #[cold]
    fn flush(&mut self) {
        (self.sink)(&self.buffer);
        self.buffer.clear();
    }
}

impl Flavor for Parts<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        self.buffer.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush();
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(mut self) -> postcard::Result<()> {
        self.flush();
        Ok(())
    }
}

impl<'a> Snapshot<'a> {
    pub(crate) fn encode(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
        let mut parts = Parts { buffer: Vec::with_capacity(BUFFER_BYTES), sink };
        parts.buffer.push(VERSION);
        Ok(postcard::serialize_with_flavor(self, parts)?)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, SnapshotError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
            Some((&other, _)) => Err(SnapshotError::Version(other)),
            None => Err(SnapshotError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        }
    }
}
