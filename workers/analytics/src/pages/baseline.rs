//! A page's baseline: the decayed views of its aligned windows.

use serde::{Deserialize, Serialize};

use crate::{
    event::SITE,
    settings::{Settings, power},
};

/// A page's baseline is dropped when its share of the site's level falls below this: after 166 half-lives without views while
/// others have some, two weeks by default. Shares, not levels: a silent site must not drop all of its pages.
const FORGOTTEN: f64 = 1e-50;

/// A page's decayed sum of views, and the aligned window that is not yet part of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// The sum as of aligned window `at`.
    pub(crate) sum: f64,
    pub(crate) at: i64,
    /// The newest aligned window with views: added to the sum for windows that start after its end.
    next: Option<(i64, u64)>,
}

/// The baselines of all pages and of the site.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Baselines {
    /// By page.
    pages: Vec<Option<Baseline>>,
}

impl Baselines {
    /// All baselines, by page.
    pub(crate) fn all(&self) -> &[Option<Baseline>] {
        &self.pages
    }

    /// Advances the baselines to the window that ends at `end`. Returns the pages whose baselines were dropped.
    pub(crate) fn advance(&mut self, end: i64, settings: &Settings) -> Vec<u32> {
        let usable = settings.last_aligned(end);
        let decay = settings.decay();
        let mut forgotten = Vec::new();
        for baseline in self.pages.iter_mut().flatten() {
            if let Some((window, views)) = baseline.next
                && window <= usable
            {
                baseline.sum = baseline.sum * power(decay, window - baseline.at) + views as f64;
                baseline.at = window;
                baseline.next = None;
            }
        }
        let level = |baseline: Baseline| baseline.sum * power(decay, usable - baseline.at);
        let least = self.get(SITE).map_or(0.0, level) * FORGOTTEN;
        for (page, slot) in (0..).zip(&mut self.pages) {
            let is_over = |baseline: Baseline| baseline.next.is_none() && level(baseline) < least;
            if page != SITE && slot.is_some_and(is_over) {
                *slot = None;
                forgotten.push(page);
            }
        }
        forgotten
    }

    /// Records the views of a sealed aligned window. True if the page had no baseline.
    pub(crate) fn note(&mut self, page: u32, window: i64, views: u64) -> bool {
        if page as usize >= self.pages.len() {
            self.pages.resize(page as usize + 1, None);
        }
        let slot = &mut self.pages[page as usize];
        let new = slot.is_none();
        slot.get_or_insert(Baseline { sum: 0.0, at: window, next: None }).next = Some((window, views));
        new
    }

    /// Whether an aligned window is still to be added to a baseline.
    pub(crate) fn pending(&self) -> bool {
        self.pages.iter().flatten().any(|baseline| baseline.next.is_some())
    }

    /// A page's baseline.
    pub(crate) fn get(&self, page: u32) -> Option<Baseline> {
        self.pages.get(page as usize).copied().flatten()
    }

    /// The pages that have a baseline.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.pages).filter(|(_, baseline)| baseline.is_some()).map(|(page, _)| page)
    }
}
