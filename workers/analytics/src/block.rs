//! What stage 1 tells stage 2 of one input partition and one window: sums, which add up over partitions.

use serde::{Deserialize, Serialize};

/// The version of the wire format, its first byte.
const VERSION: u8 = 1;
/// Longest encoding, bytes: a record of it stays below the million that brokers and clients take by default.
const LONGEST: usize = 900_000;

/// One input partition's share of one window.
///
/// A partition writes a block for every window that it seals, in order, except for a run of windows in which nothing can
/// differ: then only the last of the run in each lane is written. So the first block of a lane at or after a window speaks
/// for it; a block of a later window stands for it with its baselines only (its sums are zero then).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    version: u8,
    /// The input partition.
    pub partition: i32,
    /// The window's end, milliseconds.
    pub end: i64,
    /// Index of the first aligned window that held an event of the partition.
    pub first_aligned: Option<i64>,
    /// All pages together. `url` is empty, `previous_views` is not used.
    pub site: Row,
    /// Pages with an event in this window or in the one before, or with a baseline. By `url`, ascending.
    pub pages: Vec<Row>,
    /// Whether the partition's next block is of the same window and has further pages.
    pub more: bool,
}

/// Sums of one page (or of the site) in one window and one input partition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Row {
    /// The page.
    pub url: String,
    /// VIEW events.
    pub views: u64,
    /// CLICK events.
    pub clicks: u64,
    /// PURCHASE events.
    pub conversions: u64,
    /// Distinct visitors with any event; 0 means that the page has no row in this window.
    pub users: u32,
    /// Visits with any event.
    pub visits: u32,
    /// Visits of those with exactly one event, on any page, before the window's end.
    pub bounces: u32,
    /// Sum of those visits' durations, milliseconds.
    pub duration: i64,
    /// Views in the window one slide before; `None` if the page had no row there.
    pub previous_views: Option<u64>,
    /// Decayed sum of the views of aligned windows: its value as of `baseline_at`.
    pub baseline: f64,
    /// Index of the aligned window that `baseline` was last added to.
    pub baseline_at: i64,
}

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Written by another version.
    #[error("block of format {0}, this version reads format {VERSION}")]
    Version(u8),
    /// Not a block at all.
    #[error("not a block: {0}")]
    Malformed(#[from] postcard::Error),
}

impl Block {
    /// An empty block.
    pub(crate) fn new(partition: i32, end: i64, first_aligned: Option<i64>) -> Self {
        Self {
            version: VERSION,
            partition,
            end,
            first_aligned,
            site: Row::default(),
            pages: Vec::new(),
            more: false,
        }
    }

    /// As bytes: one record's worth, or several in order where that would be too long for one.
    ///
    /// # Errors
    /// None in practice: every block can be written.
    pub fn encode(mut self) -> Result<Vec<Vec<u8>>, BlockError> {
        let whole = postcard::to_stdvec(&self)?;
        if whole.len() <= LONGEST || self.pages.len() < 2 {
            return Ok(vec![whole]);
        }
        let second = Self { pages: self.pages.split_off(self.pages.len() / 2), ..self.clone() };
        self.more = true;
        let mut records = self.encode()?;
        records.extend(second.encode()?);
        Ok(records)
    }

    /// From bytes.
    ///
    /// # Errors
    /// Bytes of another version, or no block.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        match bytes.first() {
            Some(&VERSION) => Ok(postcard::from_bytes(bytes)?),
            Some(&other) => Err(BlockError::Version(other)),
            None => Err(BlockError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        }
    }
}

#[cfg(test)]
mod tests;
