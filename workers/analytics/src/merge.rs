//! Stage 2: adds up the blocks of a window once every partition has covered it. Keeps no other state.
//!
//! Waiting blocks are packed, a dozen bytes per row, and each page's URL is stored once for all of them. A window is then emitted
//! row by row, in page order, which all blocks have: so memory holds only the waiting blocks and one row.

mod held;
mod pass;

use std::collections::BTreeMap;

use weir_events::{PageAnalytics, TopPages};

use crate::{
    block::{self, BlockError},
    feature::{Extras, Feature},
    intern::Interner,
    settings::Settings,
};
use held::{Held, Packing};
use pass::Pass;

/// Instead of the offset of a block that was read from another lane.
const OF_ANOTHER_LANE: i64 = i64::MAX;

/// The complete result of one sealed window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowResult {
    /// The window's end, milliseconds.
    pub end: i64,
    /// A row for each page with an event, by page.
    pub pages: Vec<PageAnalytics>,
    /// Ranking, trends, totals.
    pub top: TopPages,
}

/// A piece of a sealed window's result.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// A page with an event. Pages come in order.
    Page(PageAnalytics),
    /// Ranking, trends, totals, after the last page.
    Top(TopPages),
}

/// Stage 2 of one lane. Windows are independent of each other, so a restart needs only the end of the last emitted window and
/// the offset of the first block that a later one needs.
pub struct Merge<F: Feature = Extras> {
    settings: Settings,
    /// The pages of all waiting blocks.
    names: Interner,
    /// Blocks by window end and input partition.
    blocks: BTreeMap<i64, Vec<Option<Held>>>,
    /// The greatest window end that each input partition has covered.
    covered: Vec<Option<i64>>,
    emitted: Option<i64>,
    /// The window being emitted.
    pass: Option<Pass>,
    /// The end of a partly emitted window, and the number of its pages that were emitted before.
    begun: Option<(i64, u64)>,
    /// Merged sections of features besides pages, by window end, from complete blocks.
    merged: BTreeMap<i64, F::Merged>,
    /// The same for the last completed window.
    last_merged: Option<F::Merged>,
}

impl Merge {
    /// A lane fed by `inputs` partitions; `emitted` is what [`Merge::emitted`] returned at the last commit.
    pub fn new(settings: Settings, inputs: i32, emitted: Option<i64>) -> Self {
        Self::with_features(settings, inputs, emitted)
    }
}

impl<F: Feature> Merge<F> {
    /// A lane with other features than [`Extras`].
    pub(crate) fn with_features(settings: Settings, inputs: i32, emitted: Option<i64>) -> Self {
        Self {
            settings,
            names: Interner::default(),
            blocks: BTreeMap::new(),
            covered: vec![None; inputs.max(0) as usize],
            emitted,
            pass: None,
            begun: None,
            merged: BTreeMap::new(),
            last_merged: None,
        }
    }

    /// Resumes within a window: `begun` is what [`Merge::begun`] returned at the last commit.
    #[must_use]
    pub fn within(self, begun: Option<(i64, u64)>) -> Self {
        Self { begun, ..self }
    }

    /// Adds a record of a block, read at `offset`. Blocks of emitted windows are ignored.
    ///
    /// # Errors
    /// Bytes of an unsupported version, or not a block.
    pub fn read(&mut self, record: &[u8], offset: i64) -> Result<(), BlockError> {
        let mut packing = Packing::new(&mut self.names);
        let header = block::read(record, &mut packing)?;
        let block = packing.finish(&header, offset);
        self.hold(header.partition, header.end, block)
    }

    /// Adds a record of a block of another lane, which covers the windows of this one before it as one of its own does.
    ///
    /// # Errors
    /// As [`Merge::read`].
    pub fn cover(&mut self, record: &[u8]) -> Result<(), BlockError> {
        self.read(record, OF_ANOTHER_LANE)
    }

    /// The end up to which a partition has covered the lane, by the blocks read.
    pub fn covered(&self, partition: i32) -> Option<i64> {
        self.covered.get(partition as usize).copied().flatten()
    }

    fn hold(&mut self, partition: i32, end: i64, mut block: Held) -> Result<(), BlockError> {
        let inputs = self.covered.len();
        let known = usize::try_from(partition).ok().filter(|&partition| partition < inputs);
        let Some(partition) = known.filter(|_| self.emitted.is_none_or(|emitted| end > emitted)) else {
            block.release(&mut self.names);
            return Ok(());
        };
        if !block.more {
            self.covered[partition] = self.covered[partition].max(Some(end));
        }
        let slots = self.blocks.entry(end).or_insert_with(|| (0..inputs).map(|_| None).collect());
        let held = match &mut slots[partition] {
            Some(first) if first.more => {
                first.append(block);
                first
            }
            Some(_) => {
                block.release(&mut self.names);
                return Ok(());
            }
            slot @ None => {
                block.shrink();
                slot.insert(block)
            }
        };
        if !held.more && !held.sections.is_empty() {
            let merged = self.merged.entry(end).or_default();
            for section in std::mem::take(&mut held.sections) {
                F::merge(merged, &section)?;
            }
        }
        Ok(())
    }

    /// Completes, in order, all windows that every input partition has covered.
    pub fn complete(&mut self) -> Vec<WindowResult> {
        let (mut results, mut pages) = (Vec::new(), Vec::new());
        while let Some(piece) = self.next_piece() {
            match piece {
                Piece::Page(page) => pages.push(page),
                Piece::Top(top) => {
                    results.push(WindowResult {
                        end: top.window_end,
                        pages: std::mem::take(&mut pages),
                        top,
                    });
                }
            }
        }
        results
    }

    /// The next piece of the next window that every input partition has covered, if any.
    pub fn next_piece(&mut self) -> Option<Piece> {
        loop {
            if self.pass.is_none() && !self.begin() {
                return None;
            }
            let pass = self.pass.as_mut()?;
            let end = pass.end;
            if let Some(page) = pass.next_page(&self.blocks, &self.names, &self.settings) {
                if self.begun.is_some_and(|(begun, pages)| begun == end && pass.pages() <= pages) {
                    continue;
                }
                return Some(Piece::Page(page));
            }
            let top = self.pass.take()?.top(&self.names, &self.settings);
            self.evict(end);
            return Some(Piece::Top(top));
        }
    }

    /// Whether [`next_piece`](Self::next_piece) has work to do.
    pub fn is_behind(&self) -> bool {
        self.pass.is_some() || self.reached() > self.emitted
    }

    /// The end up to which every input partition has covered all windows.
    fn reached(&self) -> Option<i64> {
        self.covered.iter().copied().min().flatten()
    }

    /// Begins the next window with an event; false if there is none yet.
    fn begin(&mut self) -> bool {
        let Some(reached) = self.reached() else { return false };
        while let Some((&end, _)) = self.blocks.range(..=reached).next() {
            self.pass = Pass::begin(end, self.covered.len(), &self.blocks, &self.settings);
            if self.pass.is_some() {
                return true;
            }
            self.evict(end);
        }
        self.emitted = self.emitted.max(Some(reached));
        false
    }

    /// Drops the blocks of the window that ends at `end`: it is emitted.
    fn evict(&mut self, end: i64) {
        for block in self.blocks.remove(&end).into_iter().flatten().flatten() {
            block.release(&mut self.names);
        }
        self.last_merged = self.merged.remove(&end);
        self.emitted = self.emitted.max(Some(end));
        self.begun = self.begun.filter(|&(begun, _)| begun > end);
    }

    /// The offset of the first block that a later window needs. `None`: a restart may continue at the next offset.
    pub fn needed(&self) -> Option<i64> {
        let offsets = self.blocks.values().flatten().flatten().map(|block| block.offset);
        offsets.filter(|&offset| offset != OF_ANOTHER_LANE).min()
    }

    /// The end up to which every window is emitted.
    pub fn emitted(&self) -> Option<i64> {
        self.emitted
    }

    /// The end of the partly emitted window, and how many of its pages were emitted.
    pub fn begun(&self) -> Option<(i64, u64)> {
        let begun = self.pass.as_ref().map(|pass| (pass.end, pass.pages()));
        // While the pages emitted before a restart are passed over, they still count.
        begun.max(self.begun).filter(|&(_, pages)| pages > 0)
    }

    /// Merged sections of features besides pages for the window whose ranking was the last piece; `None` if no block had one.
    pub fn merged(&self) -> Option<&F::Merged> {
        self.last_merged.as_ref()
    }

    /// Bytes of the waiting blocks.
    pub fn held_bytes(&self) -> usize {
        self.blocks.values().flatten().flatten().map(Held::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
