//! A partition's whole state as bytes: to go on from there instead of reading its log from the beginning.
//!
//! Numbers that stand for strings and visits are kept as they are, so that everything that refers to them is written as it
//! lies in memory; only the indexes are built anew.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{
    baseline::Baselines,
    trail::Trail,
    visits::Visit,
    window::{Click, Counts, Totals},
};

/// The version of the format, its first byte. A field added to anything in here makes a new version.
const VERSION: u8 = 1;

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

impl<'a> Snapshot<'a> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(postcard::to_extend(self, vec![VERSION])?)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, SnapshotError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(postcard::from_bytes(rest)?),
            Some((&other, _)) => Err(SnapshotError::Version(other)),
            None => Err(SnapshotError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        }
    }
}
