//! A block that waits for those of the other partitions, packed.

use crate::{
    block::{Header, Reader, RowSink, Sums, write_sums},
    intern::Interner,
    section::{self, Section, SectionId},
};

/// A partition's block of one window.
#[derive(Debug)]
pub(super) struct Held {
    /// Where its first record was read.
    pub(super) offset: i64,
    pub(super) first_aligned: Option<i64>,
    pub(super) site: Sums,
    pub(super) rows: Rows,
    /// Further records of it are to come.
    pub(super) more: bool,
    /// Sections beside pages, until it is whole.
    pub(super) sections: Vec<Section>,
}

/// Packs the rows of a record while it is read.
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

/// Rows by page: its number, four bytes, and its sums as on the wire.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<u8>);

impl Rows {
    fn push(&mut self, page: u32, sums: &Sums) {
        self.0.extend_from_slice(&page.to_le_bytes());
        write_sums(sums, &mut self.0);
    }

    /// The row at a place, and the place of the one after it.
    pub(super) fn at(&self, place: usize) -> Option<(u32, Sums, usize)> {
        let mut reader = Reader { rest: self.0.get(place..)? };
        let page = u32::from_le_bytes(*reader.take(4)?.first_chunk()?);
        let sums = reader.sums()?;
        Some((page, sums, self.0.len() - reader.rest.len()))
    }
}

impl Held {
    /// Takes the next record's rows.
    pub(super) fn append(&mut self, next: Self) {
        self.rows.0.extend_from_slice(&next.rows.0);
        for Section { id, body } in next.sections {
            section::append(&mut self.sections, id, &body);
        }
        self.more = next.more;
        self.shrink();
    }

    /// Once it is whole it stays as it is.
    pub(super) fn shrink(&mut self) {
        if !self.more {
            self.rows.0.shrink_to_fit();
        }
    }

    /// Its pages are no longer needed for it.
    pub(super) fn release(self, names: &mut Interner) {
        let mut place = 0;
        while let Some((page, _, next)) = self.rows.at(place) {
            names.release(page);
            place = next;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.0.capacity()
    }
}
