//! A minimal feature: counts searches per slice.

use std::{collections::BTreeMap, ops::Range};

use weir_events::EventType;

use crate::{
    block::RowSink,
    event::{InternedEvent, Names},
    feature::Feature,
    section::{Section, SectionError, SectionId},
    settings::Settings,
    snapshot::{Sections, SnapshotError, SnapshotWriter},
};

pub(super) const SEARCHES: SectionId = SectionId { tag: 200, version: 1 };

/// Searches in the window, by slice.
#[derive(Default)]
pub(super) struct Searches {
    slices: BTreeMap<i64, u64>,
}

impl Feature for Searches {
    type Merged = BTreeMap<i64, u64>;

    fn new(_: &Settings) -> Self {
        Self::default()
    }

    fn is_on(&self) -> bool {
        true
    }

    fn take_in(&mut self, slice: i64, events: &[InternedEvent], _: &mut Names, _: &Settings) {
        let searches = events.iter().filter(|event| event.kind == EventType::Search).count() as u64;
        if searches > 0 {
            *self.slices.entry(slice).or_default() += searches;
        }
    }

    fn leave(&mut self, slice: i64, _: &mut Names, _: &Settings) {
        self.slices = self.slices.split_off(&(slice + 1));
    }

    fn is_at_rest(&self) -> bool {
        self.slices.is_empty()
    }

    fn begin(&mut self, _: i64, _: &mut Names, _: &Settings) {}

    fn rows(&self) -> usize {
        self.slices.len()
    }

    fn section(&mut self, from: usize, _: &Names, sink: &mut impl RowSink) -> usize {
        let rows = self.slices.iter().skip(from);
        from + rows.take_while(|&(slice, searches)| sink.row(SEARCHES, &row(*slice, *searches))).count()
    }

    fn pass_over(&mut self, _: Range<usize>) {}

    fn sealed(&mut self, _: i64, _: bool, _: &mut Names, _: &Settings) {}

    fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        out.section(SEARCHES);
        Ok(out.value(&self.slices)?)
    }

    fn restore(sections: &Sections<'_>, _: &Names, _: &Settings) -> Result<Self, SnapshotError> {
        let body = sections.find(SEARCHES)?;
        Ok(Self { slices: body.map_or(Ok(BTreeMap::new()), postcard::from_bytes)? })
    }

    fn merge(merged: &mut Self::Merged, section: &Section) -> Result<(), SectionError> {
        if SEARCHES.is(section.id)? {
            let (rows, rest) = section.body.as_chunks::<ROW_BYTES>();
            for row in rows {
                let (slice, searches) = row.split_at(ROW_BYTES / 2);
                let number = |bytes: &[u8]| bytes.iter().rfold(0, |sum, &byte| sum << 8 | u64::from(byte));
                *merged.entry(number(slice) as i64).or_default() += number(searches);
            }
            if !rest.is_empty() {
                return Err(SectionError::Malformed(SEARCHES.tag));
            }
        }
        Ok(())
    }
}

const ROW_BYTES: usize = 16;

fn row(slice: i64, searches: u64) -> [u8; ROW_BYTES] {
    (u128::from(slice as u64) | u128::from(searches) << 64).to_le_bytes()
}
