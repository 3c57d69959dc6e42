//! What stage 1 sends to stage 2 per input partition and window: sums, which are additive over partitions.

mod wire;

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

pub(crate) use wire::{Format, Header, Reader, Writer, read, write_sums};

use crate::section::{self, Section, SectionError, SectionId};

/// Maximum bytes of a block's record, unless a single row is longer: below the 1 MB that brokers and clients accept by
/// default.
pub const MAX_RECORD_BYTES: usize = 900_000;

/// Bytes of a section that are written to a record at once.
const CHUNK_BYTES: usize = 4 << 10;

/// The sums of one window in one input partition.
///
/// A partition writes a block for every window that it seals, in order, except for a run of windows without changes: of those
/// only the last one in each lane is written. So a window is covered by the lane's first block at or after it; a block of a
/// later window covers it by its baselines only (its sums of the earlier window are zero).
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
    /// Whether the partition's next block continues this window with further pages.
    pub more: bool,
    /// The sections of features other than pages.
    #[serde(skip)]
    pub sections: Vec<Section>,
}

/// Receives the rows of a block: a record of bounded size, or the whole block.
pub trait RowSink {
    /// Adds a page. Returns false if the record is full: the page then begins the next record.
    fn page(&mut self, url: &str, sums: &Sums) -> bool;

    /// Adds a row of another feature's section, after the pages. Returns false if the record is full.
    fn row(&mut self, section: SectionId, row: &[u8]) -> bool;
}

/// One page (or the site) in one window and one input partition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Row {
    /// The page.
    pub url: String,
    /// Its sums.
    pub sums: Sums,
}

/// Sums of one page (or of the site) in one window and one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sums {
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
    /// Visits with exactly one event, on any page, before the window's end.
    pub bounces: u32,
    /// Sum of the visits' durations, milliseconds.
    pub duration: i64,
    /// Views in the window one slide before; `None` if the page had no row there.
    pub previous_views: Option<u64>,
    /// Decayed sum of the views of aligned windows: its value as of `baseline_at`.
    pub baseline: f64,
    /// Index of the aligned window that `baseline` was last added to.
    pub baseline_at: i64,
}

/// A part of a block, as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The window's end, milliseconds.
    pub end: i64,
    /// Rows of the block written so far, including this part.
    pub rows: u64,
    /// Whether the block has further rows.
    pub more: bool,
    /// The encoded record.
    pub record: Vec<u8>,
}

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Written by another version.
    #[error("block of format {0}, this version reads formats 1 to 3")]
    Version(u8),
    /// Not a block of the first format.
    #[error("not a block: {0}")]
    Malformed(#[from] postcard::Error),
    /// Not a block of a later format.
    #[error("not a block: {0} bytes before its end is no row")]
    Broken(usize),
    /// One of its sections cannot be read.
    #[error("block: {0}")]
    Section(#[from] SectionError),
}

impl Deref for Row {
    type Target = Sums;

    fn deref(&self) -> &Sums {
        &self.sums
    }
}

impl DerefMut for Row {
    fn deref_mut(&mut self) -> &mut Sums {
        &mut self.sums
    }
}

impl Sums {
    /// Adds another partition's sums, except the baseline. They saturate: what exceeds its type is no sum of events, and must neither end the
    /// process nor look like a small number.
    pub(crate) fn add(&mut self, other: &Self) {
        self.views = self.views.saturating_add(other.views);
        self.clicks = self.clicks.saturating_add(other.clicks);
        self.conversions = self.conversions.saturating_add(other.conversions);
        self.users = self.users.saturating_add(other.users);
        self.visits = self.visits.saturating_add(other.visits);
        self.bounces = self.bounces.saturating_add(other.bounces);
        self.duration = self.duration.saturating_add(other.duration);
        self.previous_views = match (self.previous_views, other.previous_views) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Block {
    /// An empty block.
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            version: wire::VERSION,
            partition: header.partition,
            end: header.end,
            first_aligned: header.first_aligned,
            site: Row { url: String::new(), sums: header.site },
            pages: Vec::new(),
            more: header.more,
            sections: Vec::new(),
        }
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            partition: self.partition,
            end: self.end,
            first_aligned: self.first_aligned,
            site: self.site.sums,
            more: self.more,
        }
    }

    /// Encodes the block as one record, or as several in order if it is too long for one.
    ///
    /// # Errors
    /// None: every block can be written.
    pub fn encode(self) -> Result<Vec<Vec<u8>>, BlockError> {
        let format = if self.sections.is_empty() { Format::Rows } else { Format::Sections };
        // Readers concatenate the parts of a section, so it may be cut anywhere.
        let mut chunks: Vec<(SectionId, &[u8])> = Vec::new();
        for section in &self.sections {
            chunks.extend(section.body.chunks(CHUNK_BYTES).map(|chunk| (section.id, chunk)));
        }
        let (mut records, mut next, mut chunks) = (Vec::new(), 0, &chunks[..]);
        loop {
            let mut writer = Writer::new(&self.header(), format, MAX_RECORD_BYTES);
            next += self.pages[next..].iter().take_while(|row| writer.page(&row.url, &row.sums)).count();
            if next == self.pages.len() {
                let fit = chunks.iter().take_while(|&&(id, chunk)| writer.row(id, chunk)).count();
                chunks = &chunks[fit..];
            }
            let more = next < self.pages.len() || !chunks.is_empty();
            records.push(writer.finish(more || self.more));
            if !more {
                return Ok(records);
            }
        }
    }

    /// Decodes a block.
    ///
    /// # Errors
    /// Bytes of an unsupported version, or not a block.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut rows = Rows::default();
        let header = read(bytes, &mut rows)?;
        let Rows { pages, sections } = rows;
        Ok(Self { pages, sections, ..Self::new(&header) })
    }
}

/// The rows of a record.
#[derive(Default)]
struct Rows {
    pages: Vec<Row>,
    sections: Vec<Section>,
}

impl RowSink for Rows {
    fn page(&mut self, url: &str, sums: &Sums) -> bool {
        self.pages.push(Row { url: url.to_owned(), sums: *sums });
        true
    }

    fn row(&mut self, section: SectionId, row: &[u8]) -> bool {
        section::append(&mut self.sections, section, row);
        true
    }
}

impl RowSink for Block {
    fn page(&mut self, url: &str, sums: &Sums) -> bool {
        self.pages.push(Row { url: url.to_owned(), sums: *sums });
        true
    }

    fn row(&mut self, section: SectionId, row: &[u8]) -> bool {
        section::append(&mut self.sections, section, row);
        true
    }
}

#[cfg(test)]
mod tests;
