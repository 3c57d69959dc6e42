//! A block that waits for those of the other partitions, packed.

use crate::{
    block::{Header, Reader, RowSink, Sums, write_sums},
    intern::Interner,
    section::{self, Section, SectionId},
};

/// A partition's block of one window.
#[derive(Debug)]
pub(super) struct Held {
    /// Offset of its first record.
    pub(super) offset: i64,
    pub(super) first_aligned: Option<i64>,
    pub(super) site: Sums,
    pub(super) rows: Rows,
    /// Whether further records of it follow.
    pub(super) more: bool,
    /// Sections of other features, until the block is complete.
    pub(super) sections: Vec<Section>,
}

/// Packs the rows of a record while reading it.
pub(super) struct Packing<'a> {
    names: &'a mut Interner,
    rows: Rows,
    sections: Vec<Section>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(names: &'a mut Interner) -> Self {
        Self { names, rows: Rows::default(), sections: Vec::new() }
    }

    pub(super) fn finish(self, header: &Header, offset: i64) -> Held {
        Held {
            offset,
            first_aligned: header.first_aligned,
            site: header.site,
            rows: self.rows,
            more: header.more,
            sections: self.sections,
        }
    }
}

impl RowSink for Packing<'_> {
    fn page(&mut self, url: &str, sums: &Sums) -> bool {
        self.rows.push(self.names.acquire(url), sums);
        true
    }

    fn row(&mut self, section: SectionId, row: &[u8]) -> bool {
        section::append(&mut self.sections, section, row);
        true
    }
}

/// Packed rows: the page's number, four bytes, and its sums in the wire format.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<u8>);

impl Rows {
    fn push(&mut self, page: u32, sums: &Sums) {
        self.0.extend_from_slice(&page.to_le_bytes());
        write_sums(sums, &mut self.0);
    }

    /// The row at a position, and the position of the next one.
    pub(super) fn at(&self, position: usize) -> Option<(u32, Sums, usize)> {
        let mut reader = Reader { rest: self.0.get(position..)? };
        let page = u32::from_le_bytes(*reader.take(4)?.first_chunk()?);
        let sums = reader.sums()?;
        Some((page, sums, self.0.len() - reader.rest.len()))
    }
}

impl Held {
    /// Appends the next record's rows.
    pub(super) fn append(&mut self, next: Self) {
        self.rows.0.extend_from_slice(&next.rows.0);
        for Section { id, body } in next.sections {
            section::append(&mut self.sections, id, &body);
        }
        self.more = next.more;
        self.shrink();
    }

    /// Shrinks a complete block, which does not grow any more.
    pub(super) fn shrink(&mut self) {
        if !self.more {
            self.rows.0.shrink_to_fit();
        }
    }

    /// Releases its pages.
    pub(super) fn release(self, names: &mut Interner) {
        let mut position = 0;
        while let Some((page, _, next)) = self.rows.at(position) {
            names.release(page);
            position = next;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.0.capacity()
    }
}
