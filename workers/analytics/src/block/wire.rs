//! The wire format of blocks. Formats 1 to 3 are read; format 2 is written, or format 3 if a feature besides pages is on.
//!
//! Format 1 was the whole [`Block`] by postcard: every URL in full, at least nineteen bytes of numbers per row, and the whole block in
//! memory while writing. Format 2 is written row by row. A URL is stored as the length it shares with the previous one (they are sorted,
//! so it is long) and the rest; numbers that are zero are omitted:
//!
//! ```text
//! 2 flags partition end [first_aligned] pages
//! flags: 1 more, 2 first_aligned
//! pages: sums of the site, row*;  row: shared length, rest's length, rest, sums
//! sums:  flags views users visits [clicks] [conversions] [bounces] [duration] [previous_views] [baseline baseline_at]
//! ```
//! Format 3 has pages as one of its sections. Sections with an unknown tag are ignored:
//!
//! ```text
//! 3 flags partition end [first_aligned] section*
//! section: tag version length body;  tag and version one byte, length four bytes, little-endian
//! ```
//! Integers are LEB128, signed ones zig-zag, `baseline` eight bytes, little-endian.

use super::{Block, BlockError, RowSink, Sums};
use crate::section::{PAGES, SectionId};

/// The version of the format, its first byte.
pub(super) const VERSION: u8 = 2;
const POSTCARD: u8 = 1;
const SECTIONS: u8 = 3;

const MORE: u8 = 1;
const FIRST_ALIGNED: u8 = 2;

const CLICKS: u8 = 1;
const CONVERSIONS: u8 = 2;
const BOUNCES: u8 = 4;
const DURATION: u8 = 8;
const PREVIOUS_VIEWS: u8 = 16;
const BASELINE: u8 = 32;

/// Bytes of a section's header: tag, version, length.
const SECTION_BYTES: usize = 2 + LENGTH_BYTES;
const LENGTH_BYTES: usize = 4;
/// Maximum bytes of a row without its URL: eleven numbers, flags and two lengths.
const ROW_BYTES: usize = 112;

/// A block without its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Header {
    pub(crate) partition: i32,
    pub(crate) end: i64,
    pub(crate) first_aligned: Option<i64>,
    pub(crate) site: Sums,
    pub(crate) more: bool,
}

/// The format of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Pages only: format 2.
    Rows,
    /// A list of sections: format 3.
    Sections,
}

/// Writes one record of a block.
pub(crate) struct Writer {
    record: Vec<u8>,
    /// The previous page.
    last: Vec<u8>,
    is_empty: bool,
    max: usize,
    /// The open section, and where its body begins.
    open: Option<(SectionId, usize)>,
}

impl Writer {
    pub(crate) fn new(header: &Header, format: Format, max: usize) -> Self {
        let version = if format == Format::Sections { SECTIONS } else { VERSION };
        let mut record = vec![version, u8::from(header.first_aligned.is_some()) * FIRST_ALIGNED];
        unsigned(u64::from(header.partition as u32), &mut record);
        signed(header.end, &mut record);
        if let Some(first) = header.first_aligned {
            signed(first, &mut record);
        }
        let mut writer = Self { record, last: Vec::new(), is_empty: true, max, open: None };
        if format == Format::Sections {
            writer.open(PAGES);
        }
        write_sums(&header.site, &mut writer.record);
        writer
    }

    fn open(&mut self, id: SectionId) {
        self.record.extend_from_slice(&[id.tag, id.version]);
        self.record.extend_from_slice(&[0; LENGTH_BYTES]);
        self.open = Some((id, self.record.len()));
    }

    /// Closes the open section.
    fn close(&mut self) {
        if let Some((_, begin)) = self.open.take() {
            let length = (self.record.len() - begin) as u32;
            self.record[begin - LENGTH_BYTES..begin].copy_from_slice(&length.to_le_bytes());
        }
    }

    pub(crate) fn finish(mut self, more: bool) -> Vec<u8> {
        self.close();
        self.record[1] |= u8::from(more) * MORE;
        self.record
    }
}

/// The first row always fits.
impl RowSink for Writer {
    fn page(&mut self, url: &str, sums: &Sums) -> bool {
        let shared = shared(&self.last, url);
        let rest = &url.as_bytes()[shared..];
        if !self.is_empty && self.record.len() + rest.len() + ROW_BYTES > self.max {
            return false;
        }
        self.is_empty = false;
        unsigned(shared as u64, &mut self.record);
        unsigned(rest.len() as u64, &mut self.record);
        self.record.extend_from_slice(rest);
        write_sums(sums, &mut self.record);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        true
    }

    fn row(&mut self, section: SectionId, row: &[u8]) -> bool {
        debug_assert!(self.record[0] == SECTIONS, "only a feature that is on has rows");
        if !self.is_empty && self.record.len() + SECTION_BYTES + row.len() > self.max {
            return false;
        }
        self.is_empty = false;
        if self.open.is_none_or(|(open, _)| open != section) {
            self.close();
            self.open(section);
        }
        self.record.extend_from_slice(row);
        true
    }
}

/// Bytes that a URL shares with the previous one, whole characters only.
fn shared(last: &[u8], url: &str) -> usize {
    let url_bytes = url.as_bytes();
    // Eight at a time: URLs of one site share long prefixes.
    let (eights, _) = last.as_chunks::<8>();
    let whole = 8 * eights.iter().zip(url_bytes.as_chunks::<8>().0).take_while(|(a, b)| a == b).count();
    let mut shared =
        whole + last[whole..].iter().zip(&url_bytes[whole..]).take_while(|(a, b)| a == b).count();
    while !url.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

/// Reads a record, row by row.
pub(crate) fn read(bytes: &[u8], rows: &mut dyn RowSink) -> Result<Header, BlockError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            let mut reader = Reader { rest };
            let header = read_header(&mut reader).and_then(|header| {
                let site = read_pages(&mut reader, rows)?;
                Some(Header { site, ..header })
            });
            header.ok_or(BlockError::Broken(reader.rest.len()))
        }
        Some((&SECTIONS, rest)) => {
            let mut reader = Reader { rest };
            let header = read_header(&mut reader).ok_or(BlockError::Broken(reader.rest.len()))?;
            let site = read_sections(&mut reader, rows)?;
            Ok(Header { site, ..header })
        }
        Some((&POSTCARD, _)) => {
            let block: Block = postcard::from_bytes(bytes)?;
            if block.partition < 0 {
                return Err(BlockError::Broken(bytes.len()));
            }
            for page in &block.pages {
                rows.page(&page.url, &page.sums);
            }
            Ok(block.header())
        }
        Some((&other, _)) => Err(BlockError::Version(other)),
        None => Err(BlockError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

/// Reads the header, without the site's sums.
fn read_header(reader: &mut Reader<'_>) -> Option<Header> {
    let flags = reader.byte()?;
    Some(Header {
        partition: i32::try_from(reader.unsigned()?).ok()?,
        end: reader.signed()?,
        first_aligned: if flags & FIRST_ALIGNED > 0 { Some(reader.signed()?) } else { None },
        site: Sums::default(),
        more: flags & MORE > 0,
    })
}

/// Returns the site's sums.
fn read_pages(reader: &mut Reader<'_>, rows: &mut dyn RowSink) -> Option<Sums> {
    let site = reader.sums()?;
    let mut url = String::new();
    while !reader.rest.is_empty() {
        let shared =
            usize::try_from(reader.unsigned()?).ok().filter(|&shared| url.is_char_boundary(shared))?;
        let length = usize::try_from(reader.unsigned()?).ok()?;
        let rest = std::str::from_utf8(reader.take(length)?).ok()?;
        url.truncate(shared);
        url.push_str(rest);
        rows.page(&url, &reader.sums()?);
    }
    Some(site)
}

/// Returns the site's sums, which are in the section of pages.
fn read_sections(reader: &mut Reader<'_>, rows: &mut dyn RowSink) -> Result<Sums, BlockError> {
    let mut site = None;
    while !reader.rest.is_empty() {
        let broken = BlockError::Broken(reader.rest.len());
        let Some((id, body)) = reader.section() else { return Err(broken) };
        if PAGES.is(id)? {
            if site.is_some() {
                return Err(broken);
            }
            site = Some(read_pages(&mut Reader { rest: body }, rows).ok_or(broken)?);
        } else if !body.is_empty() {
            // Without rows it says nothing, and is not written.
            rows.row(id, body);
        }
    }
    site.ok_or(BlockError::Broken(0))
}

/// Writes the sums of a row: usually a dozen bytes.
pub(crate) fn write_sums(sums: &Sums, out: &mut Vec<u8>) {
    let has_baseline = sums.baseline.to_bits() != 0 || sums.baseline_at != 0;
    out.push(
        (u8::from(sums.clicks > 0) * CLICKS)
            | (u8::from(sums.conversions > 0) * CONVERSIONS)
            | (u8::from(sums.bounces > 0) * BOUNCES)
            | (u8::from(sums.duration != 0) * DURATION)
            | (u8::from(sums.previous_views.is_some()) * PREVIOUS_VIEWS)
            | (u8::from(has_baseline) * BASELINE),
    );
    unsigned(sums.views, out);
    unsigned(u64::from(sums.users), out);
    unsigned(u64::from(sums.visits), out);
    for some in [sums.clicks, sums.conversions, u64::from(sums.bounces)] {
        if some > 0 {
            unsigned(some, out);
        }
    }
    if sums.duration != 0 {
        signed(sums.duration, out);
    }
    if let Some(views) = sums.previous_views {
        unsigned(views, out);
    }
    if has_baseline {
        out.extend_from_slice(&sums.baseline.to_le_bytes());
        signed(sums.baseline_at, out);
    }
}

fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(value: i64, out: &mut Vec<u8>) {
    unsigned(((value << 1) ^ (value >> 63)) as u64, out);
}

/// Reads what the functions above wrote; `None` for anything else.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn section(&mut self) -> Option<(SectionId, &'a [u8])> {
        let id = SectionId { tag: self.byte()?, version: self.byte()? };
        let length = u32::from_le_bytes(*self.take(LENGTH_BYTES)?.first_chunk()?);
        Some((id, self.take(usize::try_from(length).ok()?)?))
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.unsigned()?).ok()
    }

    pub(crate) fn sums(&mut self) -> Option<Sums> {
        let flags = self.byte()?;
        let mut sums =
            Sums { views: self.unsigned()?, users: self.small()?, visits: self.small()?, ..Sums::default() };
        if flags & CLICKS > 0 {
            sums.clicks = self.unsigned()?;
        }
        if flags & CONVERSIONS > 0 {
            sums.conversions = self.unsigned()?;
        }
        if flags & BOUNCES > 0 {
            sums.bounces = self.small()?;
        }
        if flags & DURATION > 0 {
            sums.duration = self.signed()?;
        }
        if flags & PREVIOUS_VIEWS > 0 {
            sums.previous_views = Some(self.unsigned()?);
        }
        if flags & BASELINE > 0 {
            sums.baseline = f64::from_le_bytes(*self.take(8)?.first_chunk()?);
            sums.baseline_at = self.signed()?;
        }
        Some(sums)
    }
}
