//! Joins the rankings and the rows of windows.

use std::collections::{BTreeMap, BTreeSet};

use weir_events::{PageAnalytics, TopPages};

use super::Sealed;

/// Maximum pages of windows without a ranking, and maximum windows; the oldest are evicted. When two topics of a whole day are read
/// from the beginning, they are at times hours of event time apart, so time cannot be the bound.
const MAX_HELD: Bounds = Bounds { pages: 1_000_000, windows: 50_000 };

/// Maximum complete windows that wait for an earlier incomplete one. More would leave the screen empty whenever reading
/// begins in the middle of a window.
const MAX_WAITING_WINDOWS: usize = 3;

/// Collects the records of windows from two topics, in any order and possibly twice, and emits each window once, when its
/// ranking and the rows of all pages in it have arrived.
///
/// Windows are emitted in order, except that at most three complete ones wait for an incomplete one before them. The fourth
/// overtakes it; if it is completed later, it is emitted then. The number of held windows and pages is bounded.
#[derive(Debug, Default)]
pub struct Assembler {
    windows: BTreeMap<Key, WindowState>,
    bounds: Bounds,
    /// Pages of windows without a ranking.
    pages: usize,
    /// The latest evicted window: records of it and of earlier ones are ignored.
    evicted: Option<Key>,
    /// The latest emitted window: incomplete ones before it hold back no others.
    last_emitted: Option<Key>,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    pages: usize,
    windows: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        MAX_HELD
    }
}

/// End and start, so that the order of keys is that of windows.
type Key = (i64, i64);

#[derive(Debug)]
enum WindowState {
    /// Without its ranking: any page may be in it.
    Unranked(BTreeMap<String, PageAnalytics>),
    /// With its ranking; the rows of these pages are missing.
    Ranked { sealed: Sealed, missing: BTreeSet<String> },
    /// Emitted; kept so that a record read twice does not start it again.
    Emitted,
}

impl Assembler {
    /// Adds a window's ranking; returns the windows that this completes.
    pub fn top(&mut self, top: TopPages) -> Vec<Sealed> {
        let key = (top.window_end, top.window_start);
        if self.is_evicted(key) {
            return Vec::new();
        }
        let window = self.windows.entry(key).or_insert_with(|| WindowState::Unranked(BTreeMap::new()));
        let WindowState::Unranked(rows) = window else { return Vec::new() };
        self.pages -= rows.len();
        let urls = top.pages.iter().map(|p| &p.page_url).chain(top.trending.iter().map(|p| &p.page_url));
        let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
        for url in urls.collect::<BTreeSet<_>>() {
            match rows.remove(url) {
                Some(row) => found.push(row),
                None => drop(missing.insert(url.clone())),
            }
        }
        let complete = missing.is_empty();
        *window = WindowState::Ranked { sealed: Sealed { top, rows: found }, missing };
        let ready = if complete { self.take_ready() } else { Vec::new() };
        self.evict();
        ready
    }

    /// Adds a page's row; returns the windows that this completes.
    pub fn row(&mut self, row: PageAnalytics) -> Vec<Sealed> {
        let key = (row.window_end, row.window_start);
        if self.is_evicted(key) {
            return Vec::new();
        }
        match self.windows.entry(key).or_insert_with(|| WindowState::Unranked(BTreeMap::new())) {
            WindowState::Unranked(rows) => {
                self.pages += usize::from(rows.insert(row.page_url.clone(), row).is_none());
            }
            WindowState::Ranked { sealed, missing } => {
                if missing.remove(&row.page_url) {
                    sealed.rows.push(row);
                    if missing.is_empty() {
                        return self.take_ready();
                    }
                }
            }
            WindowState::Emitted => {}
        }
        self.evict();
        Vec::new()
    }

    fn is_evicted(&self, key: Key) -> bool {
        self.evicted.is_some_and(|evicted| key <= evicted)
    }

    /// Evicts the oldest windows until the bounds hold.
    fn evict(&mut self) {
        while self.pages > self.bounds.pages || self.windows.len() > self.bounds.windows {
            let Some((key, window)) = self.windows.pop_first() else { return };
            if let WindowState::Unranked(rows) = window {
                self.pages -= rows.len();
            }
            self.evicted = Some(key);
        }
    }

    /// Takes the complete windows that nothing holds back.
    fn take_ready(&mut self) -> Vec<Sealed> {
        let complete = |window: &WindowState| matches!(window, WindowState::Ranked { missing, .. } if missing.is_empty());
        let mut waiting = self.windows.values().filter(|window| complete(window)).count();
        let mut held_back = false;
        let mut ready = Vec::new();
        for (key, window) in &mut self.windows {
            if complete(window) {
                if held_back && waiting <= MAX_WAITING_WINDOWS {
                    break;
                }
                if let WindowState::Ranked { sealed, .. } = std::mem::replace(window, WindowState::Emitted) {
                    ready.push(sealed);
                }
                waiting -= 1;
                held_back = false;
                self.last_emitted = self.last_emitted.max(Some(*key));
            } else if matches!(window, WindowState::Ranked { .. }) {
                held_back |= self.last_emitted < Some(*key);
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests;
