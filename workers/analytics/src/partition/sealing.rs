//! Seals due windows one by one, and writes their blocks in pieces.

use super::Partition;
use crate::{
    block::{Block, Format, Header, Part, Writer},
    event::InternedEvent,
    feature::Feature,
};

/// A window of which some rows are written.
#[derive(Clone, Copy)]
pub(super) struct Sealing {
    pub(super) end: i64,
    /// Rows of its block that are written.
    pub(super) rows: usize,
    /// Ends a run of windows without changes.
    pub(super) skipped: bool,
}

impl<F: Feature> Partition<F> {
    /// Writes the next record, of at most `max_bytes`, of the windows that are due; `None` if none is due. So memory is bounded, however
    /// far the watermark has jumped and however many pages there are.
    pub fn seal(&mut self, max_bytes: usize) -> Option<Part> {
        let sealing = self.begin()?;
        let format = if self.features.1.is_on() { Format::Sections } else { Format::Rows };
        let mut writer = Writer::new(&self.header(sealing.end), format, max_bytes);
        let rows = self.features.section(sealing.rows, &self.names, &mut writer);
        let more = self.reach(sealing, rows);
        Some(Part { end: sealing.end, rows: rows as u64, more, record: writer.finish(more) })
    }

    /// Seals due windows up to the one that ends at `end`, and the first `rows` rows of the one after it, without writing them: they were
    /// written before a restart. True once all of that is passed over and rows are left to write.
    pub fn pass_over(&mut self, end: Option<i64>, rows: u64) -> bool {
        while let Some(sealing) = self.begin() {
            let known = end.is_some_and(|end| sealing.end <= end);
            let to = if known { self.features.rows() } else { self.features.rows().min(rows as usize) };
            self.features.pass_over(sealing.rows..to.max(sealing.rows));
            if !known {
                // Not all rows were written, or the window would be sealed.
                self.sealing = Some(Sealing { rows: to.max(sealing.rows), ..sealing });
                return true;
            }
            self.reach(sealing, to);
        }
        false
    }

    /// Number of rows written of the window after [`sealed`](Self::sealed).
    pub fn rows_written(&self) -> u64 {
        self.sealing.map_or(0, |sealing| sealing.rows as u64)
    }

    /// The complete blocks of the windows that have become due since the last call, in order.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        self.seal_due();
        std::mem::take(&mut self.blocks)
    }

    pub(super) fn seal_due(&mut self) {
        while let Some(sealing) = self.begin() {
            let mut block = Block::new(&self.header(sealing.end));
            let rows = self.features.section(sealing.rows, &self.names, &mut block);
            self.blocks.push(block);
            self.reach(sealing, rows);
        }
    }

    /// The window to seal now, if one is due; begins it unless some of its rows are written.
    fn begin(&mut self) -> Option<Sealing> {
        if self.sealing.is_none() && self.is_behind() {
            let sealing = if self.features.is_at_rest() { self.begin_skipped() } else { self.begin_next() };
            self.features.begin(sealing.end, &mut self.names, &self.settings);
            self.sealing = Some(sealing);
        }
        self.sealing
    }

    /// Skips windows without changes, up to the last due one or the next slice with an event. The last of them in each lane gets a
    /// block, which covers the others for stage 2.
    fn begin_skipped(&mut self) -> Sealing {
        let slide = self.settings.slide;
        let next_event = self.pending.keys().next().map(|slice| slice * slide);
        let to = next_event.map_or(self.due, |start| self.due.min(start));
        if self.progress.sealed == Some(to) {
            return self.begin_next();
        }
        let lanes = i64::from(self.settings.lanes);
        let from = to - (lanes - 1) * slide;
        let end = self.progress.sealed.map_or(from, |sealed| from.max(sealed + slide));
        Sealing { end, rows: 0, skipped: true }
    }

    /// Evicts the slice before the next window, and takes in the window's newest slice.
    fn begin_next(&mut self) -> Sealing {
        // If nothing was sealed yet, there are no events before the first due window.
        let end = self.progress.sealed.unwrap_or(self.due - self.settings.slide) + self.settings.slide;
        self.features.leave(self.settings.first_slice(end) - 1, &mut self.names, &self.settings);
        let slice = self.settings.slice_of(end) - 1;
        if let Some(events) = self.pending.remove(&slice) {
            self.take_in(slice, &events);
        }
        Sealing { end, rows: 0, skipped: false }
    }

    /// Records that `rows` rows of the window are written, and seals it after the last. Returns whether rows are left.
    fn reach(&mut self, sealing: Sealing, rows: usize) -> bool {
        if rows < self.features.rows() {
            self.sealing = Some(Sealing { rows, ..sealing });
            return true;
        }
        let end = sealing.end;
        self.sealing = None;
        self.progress.sealed = Some(end);
        // Bounds the memory also while no event has an id.
        if let Some(watermark) = self.progress.watermark {
            self.held.expire(watermark);
            self.held.shrink();
        }
        self.features.sealed(end, sealing.skipped, &mut self.names, &self.settings);
        if !self.is_behind()
            && let Some(aligned) = self.next_aligned.take()
        {
            self.progress.first_aligned =
                Some(self.progress.first_aligned.map_or(aligned, |first| first.min(aligned)));
        }
        false
    }

    pub(super) fn take_in(&mut self, slice: i64, events: &[InternedEvent]) {
        self.features.take_in(slice, events, &mut self.names, &self.settings);
        for event in events {
            self.names.pages.release(event.page);
            self.names.users.release(event.user);
            self.names.sessions.release(event.session);
        }
    }

    fn header(&self, end: i64) -> Header {
        Header {
            partition: self.number,
            end,
            first_aligned: self.progress.first_aligned,
            site: self.features.0.site(),
            more: false,
        }
    }
}
