//! The seam of the engine: what it computes per window is a list of features, composed at compile time.
//!
//! Pages are the first feature; the others are [`Extras`]. A feature is a file that implements [`Feature`], and its name in that
//! list. It sees each accepted event once, when its slice closes, and sees the slice again when it leaves the window. Per window it
//! writes a section of the block, which stage 2 merges over partitions; its state is a section of the snapshot. As long as it is off,
//! neither blocks nor snapshots differ by a byte from those of an engine without it.

use std::ops::Range;

use crate::{
    block::RowSink,
    event::{InternedEvent, Names},
    section::{Section, SectionError},
    settings::Settings,
    snapshot::{Sections, SnapshotError, SnapshotWriter},
};

/// The features beside pages: one, or pairs of them, such as `(One, (Two, Three))`.
pub type Extras = ();

/// Something that is computed per window. A pair of features is one too: the first one's rows come first.
pub trait Feature: Sized {
    /// What its sections of one window add up to. It must not depend on the order in which partitions are merged.
    type Merged: Default;

    /// Before the first event.
    fn new(settings: &Settings) -> Self;

    /// Whether it has a part in blocks and snapshots. Constant for a pipeline.
    fn is_on(&self) -> bool;

    /// Counts the events of a slice that has closed. Strings that it refers to later it must hold in `names`.
    fn take_in(&mut self, slice: i64, events: &[InternedEvent], names: &mut Names, settings: &Settings);

    /// Forgets everything up to and including a slice that has left the window, and releases the strings.
    fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings);

    /// Whether the section of another window without an event would not differ from the last one.
    fn is_at_rest(&self) -> bool;

    /// Chooses the rows of its section of the window that ends at `end`. They do not change until [`sealed`](Self::sealed).
    fn begin(&mut self, end: i64, names: &mut Names, settings: &Settings);

    /// How many rows its section has.
    fn rows(&self) -> usize;

    /// Writes its rows from a row on, as many as the sink takes, and returns the first that is not written.
    fn section(&mut self, from: usize, names: &Names, sink: &mut impl RowSink) -> usize;

    /// Rows that were written before a restart.
    fn pass_over(&mut self, rows: Range<usize>);

    /// All rows of the window are written. `skipped`: it was one of a run in which nothing differs.
    fn sealed(&mut self, end: i64, skipped: bool, names: &mut Names, settings: &Settings);

    /// Writes its section of a snapshot: [`SnapshotWriter::section`], then its state.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError>;

    /// Its state from its section of a snapshot. Without one, it begins there.
    ///
    /// # Errors
    /// A section of a later version, or a damaged one.
    fn restore(sections: &Sections<'_>, settings: &Settings) -> Result<Self, SnapshotError>;

    /// Adds the section of one partition to those of the others; leaves sections of other features alone.
    ///
    /// # Errors
    /// A section of a later version, or a damaged one.
    fn merge(merged: &mut Self::Merged, section: &Section) -> Result<(), SectionError>;
}

/// No feature.
impl Feature for () {
    type Merged = ();

    fn new(_: &Settings) -> Self {}

    fn is_on(&self) -> bool {
        false
    }

    fn take_in(&mut self, _: i64, _: &[InternedEvent], _: &mut Names, _: &Settings) {}

    fn leave(&mut self, _: i64, _: &mut Names, _: &Settings) {}

    fn is_at_rest(&self) -> bool {
        true
    }

    fn begin(&mut self, _: i64, _: &mut Names, _: &Settings) {}

    fn rows(&self) -> usize {
        0
    }

    fn section(&mut self, from: usize, _: &Names, _: &mut impl RowSink) -> usize {
        from
    }

    fn pass_over(&mut self, _: Range<usize>) {}

    fn sealed(&mut self, _: i64, _: bool, _: &mut Names, _: &Settings) {}

    fn save(&self, _: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn restore(_: &Sections<'_>, _: &Settings) -> Result<Self, SnapshotError> {
        Ok(())
    }

    fn merge((): &mut (), _: &Section) -> Result<(), SectionError> {
        Ok(())
    }
}

impl<A: Feature, B: Feature> Feature for (A, B) {
    type Merged = (A::Merged, B::Merged);

    fn new(settings: &Settings) -> Self {
        (A::new(settings), B::new(settings))
    }

    fn is_on(&self) -> bool {
        self.0.is_on() || self.1.is_on()
    }

    fn take_in(&mut self, slice: i64, events: &[InternedEvent], names: &mut Names, settings: &Settings) {
        self.0.take_in(slice, events, names, settings);
        self.1.take_in(slice, events, names, settings);
    }

    fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings) {
        self.0.leave(slice, names, settings);
        self.1.leave(slice, names, settings);
    }

    fn is_at_rest(&self) -> bool {
        self.0.is_at_rest() && self.1.is_at_rest()
    }

    fn begin(&mut self, end: i64, names: &mut Names, settings: &Settings) {
        self.0.begin(end, names, settings);
        self.1.begin(end, names, settings);
    }

    fn rows(&self) -> usize {
        self.0.rows() + self.1.rows()
    }

    fn section(&mut self, from: usize, names: &Names, sink: &mut impl RowSink) -> usize {
        let first = self.0.rows();
        let next = if from < first { self.0.section(from, names, sink) } else { from };
        if next < first { next } else { first + self.1.section(next - first, names, sink) }
    }

    fn pass_over(&mut self, rows: Range<usize>) {
        let first = self.0.rows();
        self.0.pass_over(rows.start.min(first)..rows.end.min(first));
        self.1.pass_over(rows.start.max(first) - first..rows.end.max(first) - first);
    }

    fn sealed(&mut self, end: i64, skipped: bool, names: &mut Names, settings: &Settings) {
        self.0.sealed(end, skipped, names, settings);
        self.1.sealed(end, skipped, names, settings);
    }

    fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        self.0.save(out)?;
        self.1.save(out)
    }

    fn restore(sections: &Sections<'_>, settings: &Settings) -> Result<Self, SnapshotError> {
        Ok((A::restore(sections, settings)?, B::restore(sections, settings)?))
    }

    fn merge(merged: &mut Self::Merged, section: &Section) -> Result<(), SectionError> {
        A::merge(&mut merged.0, section)?;
        B::merge(&mut merged.1, section)
    }
}

#[cfg(test)]
mod tests;
