//! Stage 2: adds the partitions' blocks of a window up, once every partition has spoken. Keeps nothing else.
//!
//! Blocks wait packed, a dozen bytes a row, and each page's URL is kept once for all of them. A window is then made row by row, in
//! the order of pages, which all blocks have: so what is in memory at a time is what waits, and one row.

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

/// Everything that is said about one sealed window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowResult {
    /// The window's end, milliseconds.
    pub end: i64,
    /// A row for each page with an event, by page.
    pub pages: Vec<PageAnalytics>,
    /// Ranking, trends, totals.
    pub top: TopPages,
}

/// A piece of what is said about a sealed window.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// A page with an event. Pages come in their order.
    Page(PageAnalytics),
    /// Ranking, trends, totals, after the last page.
    Top(TopPages),
}

/// Stage 2 of one lane. Windows are independent of each other, so all there is to remember over a restart is up to where
/// windows were emitted, and the offset of the first block that a later one needs.
pub struct Merge<F: Feature = Extras> {
    settings: Settings,
    /// The pages of all blocks that wait.
    names: Interner,
    /// Blocks by window end and input partition.
    blocks: BTreeMap<i64, Vec<Option<Held>>>,
    /// The greatest end that each input partition has spoken for.
    covered: Vec<Option<i64>>,
    emitted: Option<i64>,
    /// The window that is being made.
    pass: Option<Pass>,
    /// A window of which so many pages were emitted before.
    begun: Option<(i64, u64)>,
    /// What features beside pages add up to, by window end, of the blocks that are whole.
    merged: BTreeMap<i64, F::Merged>,
    /// The same of the last window that was completed.
    last_merged: Option<F::Merged>,
}

impl Merge {
    /// A lane fed by `inputs` partitions; `emitted` is what [`Merge::emitted`] returned when its state was last kept.
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

    /// Goes on within a window: `begun` is what [`Merge::begun`] said when the state was last kept.
    #[must_use]
    pub fn within(self, begun: Option<(i64, u64)>) -> Self {
        Self { begun, ..self }
    }

    /// Takes a record of a block that was read at `offset`. What was emitted already is not taken again.
    ///
    /// # Errors
    /// Bytes of another version, or no block.
    pub fn read(&mut self, record: &[u8], offset: i64) -> Result<(), BlockError> {
        let mut packing = Packing::new(&mut self.names);
        let header = block::read(record, &mut packing)?;
        let block = packing.finish(&header, offset);
        self.hold(header.partition, header.end, block)
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

    /// Completes, in order, all windows for which every input partition has spoken.
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

    /// The next piece of the next window for which every input partition has spoken; `None` where there is none.
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

    /// Whether [`next_piece`](Self::next_piece) has something to say or to do.
    pub fn is_behind(&self) -> bool {
        self.pass.is_some() || self.reached() > self.emitted
    }

    /// The end up to which every input partition has spoken.
    fn reached(&self) -> Option<i64> {
        self.covered.iter().copied().min().flatten()
    }

    /// Begins with the next window that has an event; false where there is none yet.
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

    /// The window that ends at `end` is emitted, and nothing needs its blocks any more.
    fn evict(&mut self, end: i64) {
        for block in self.blocks.remove(&end).into_iter().flatten().flatten() {
            block.release(&mut self.names);
        }
        self.last_merged = self.merged.remove(&end);
        self.emitted = self.emitted.max(Some(end));
        self.begun = self.begun.filter(|&(begun, _)| begun > end);
    }

    /// The offset of the first block that a window to come needs. Without one, reading may go on at the next offset.
    pub fn needed(&self) -> Option<i64> {
        self.blocks.values().flatten().flatten().map(|block| block.offset).min()
    }

    /// The end up to which every input partition has spoken, and every window was emitted.
    pub fn emitted(&self) -> Option<i64> {
        self.emitted
    }

    /// The end of the window of which some pages were emitted, and how many.
    pub fn begun(&self) -> Option<(i64, u64)> {
        let begun = self.pass.as_ref().map(|pass| (pass.end, pass.pages()));
        // What was emitted before a restart is not forgotten while it is gone over again.
        begun.max(self.begun).filter(|&(_, pages)| pages > 0)
    }

    /// What features beside pages add up to in the window whose ranking was the last piece; `None` where no block had a section of them.
    pub fn merged(&self) -> Option<&F::Merged> {
        self.last_merged.as_ref()
    }

    /// Bytes of the blocks that wait.
    pub fn held_bytes(&self) -> usize {
        self.blocks.values().flatten().flatten().map(Held::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
