//! The engine's extension point: what it computes per window is a list of features, composed at compile time.
//!
//! Pages are the first feature; the others are [`Extras`]. To add a feature, implement [`Feature`] in a file of its own and add it
//! to that list. It receives each accepted event once, when its slice closes, and the slice again when it leaves the window. Per
//! window it writes a section of the block, which stage 2 merges over partitions; its state is a section of the snapshot. While a
//! feature is off, blocks and snapshots are byte-identical to those of an engine without it.

use std::ops::Range;

use crate::{
    block::RowSink,
    event::{InternedEvent, Names},
    section::{Section, SectionError},
    settings::Settings,
    snapshot::{Sections, SnapshotError, SnapshotWriter},
};

/// The features other than pages: one, or nested pairs such as `(One, (Two, Three))`.
pub type Extras = ();

/// Something that is computed per window. A pair of features is a feature: the first one's rows come first.
pub trait Feature: Sized {
    /// The merged sections of one window. Must not depend on the order in which partitions are merged.
    type Merged: Default;

    /// The state before the first event.
    fn new(settings: &Settings) -> Self;

    /// Whether it writes sections to blocks and snapshots. Constant for a pipeline.
    fn is_on(&self) -> bool;

    /// Counts the events of a closed slice. Strings that it refers to later must be held in `names`.
    fn take_in(&mut self, slice: i64, events: &[InternedEvent], names: &mut Names, settings: &Settings);

    /// Drops everything up to and including a slice that has left the window, and releases the strings.
    fn leave(&mut self, slice: i64, names: &mut Names, settings: &Settings);

    /// Whether the section of a next window without events would equal the last one.
    fn is_at_rest(&self) -> bool;

    /// Selects the rows of its section of the window that ends at `end`. They are fixed until [`sealed`](Self::sealed).
    fn begin(&mut self, end: i64, names: &mut Names, settings: &Settings);

    /// Number of rows in its section.
    fn rows(&self) -> usize;

    /// Writes its rows starting at `from` until the sink is full, and returns the first row that is not written.
    fn section(&mut self, from: usize, names: &Names, sink: &mut impl RowSink) -> usize;

    /// Skips rows that were written before a restart.
    fn pass_over(&mut self, rows: Range<usize>);

    /// Called when all rows of the window are written. `skipped`: it ends a run of windows without changes.
    fn sealed(&mut self, end: i64, skipped: bool, names: &mut Names, settings: &Settings);

    /// Writes its section of a snapshot: [`SnapshotWriter::section`], then its state.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    fn save(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError>;

    /// Restores its state from its section of a snapshot; a snapshot without one gives an empty state.
    ///
    /// # Errors
    /// The section has a later version, or is damaged.
    fn restore(sections: &Sections<'_>, names: &Names, settings: &Settings) -> Result<Self, SnapshotError>;

    /// Adds the section of one partition to those of the others; ignores sections of other features.
    ///
    /// # Errors
    /// The section has a later version, or is damaged.
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

    fn restore(_: &Sections<'_>, _: &Names, _: &Settings) -> Result<Self, SnapshotError> {
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

    fn restore(sections: &Sections<'_>, names: &Names, settings: &Settings) -> Result<Self, SnapshotError> {
        Ok((A::restore(sections, names, settings)?, B::restore(sections, names, settings)?))
    }

    fn merge(merged: &mut Self::Merged, section: &Section) -> Result<(), SectionError> {
        A::merge(&mut merged.0, section)?;
        B::merge(&mut merged.1, section)
    }
}

#[cfg(test)]
mod tests;
