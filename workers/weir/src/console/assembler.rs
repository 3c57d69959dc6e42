//! Puts together what belongs to one window.

use std::collections::{BTreeMap, BTreeSet};

use weir_events::{PageAnalytics, TopPages};

use super::Sealed;

/// Pages of windows whose ranking has not come, and windows: so many are held, of which the oldest are forgotten. Two topics of a
/// whole day are hours of event time apart at times when they are read from the beginning, so that time is no bound.
const MAX_HELD: Bounds = Bounds { pages: 1_000_000, windows: 50_000 };

/// How many complete windows wait for an earlier one whose pages are not all there. More would leave the screen empty
/// whenever reading began in the middle of a window.
const PATIENCE: usize = 3;

/// Collects the records of windows as they arrive from two topics, in any order and possibly twice, and gives out each
/// window once, when its ranking and the numbers of all pages in it are there.
///
/// Windows come out in their order, except that at most three complete ones wait for an incomplete one before them. The
/// fourth passes it over; if it is completed later, it comes out then. What is held has a bound.
#[derive(Debug, Default)]
pub struct Assembler {
    windows: BTreeMap<Key, Window>,
    bounds: Bounds,
    /// Pages of windows whose ranking has not come.
    pages: usize,
    /// The latest window that was forgotten: it and those before it are not begun anew.
    forgotten: Option<Key>,
    /// The latest window given out: what is incomplete before it holds nothing back any more.
    passed: Option<Key>,
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
enum Window {
    /// Its ranking has not come: any page may be in it.
    Unranked(BTreeMap<String, PageAnalytics>),
    /// These pages are missing still.
    Ranked { sealed: Sealed, missing: BTreeSet<String> },
    /// Given out; stays so that a record that comes twice does not begin it anew.
    Done,
}

impl Assembler {
    /// Takes a window's ranking; returns the windows that this completes.
    pub fn top(&mut self, top: TopPages) -> Vec<Sealed> {
        let key = (top.window_end, top.window_start);
        if self.is_forgotten(key) {
            return Vec::new();
        }
        let window = self.windows.entry(key).or_insert_with(|| Window::Unranked(BTreeMap::new()));
        let Window::Unranked(rows) = window else { return Vec::new() };
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
        *window = Window::Ranked { sealed: Sealed { top, rows: found }, missing };
        let ready = if complete { self.ready() } else { Vec::new() };
        self.bound();
        ready
    }

    /// Takes a page's numbers; returns the windows that this completes.
    pub fn row(&mut self, row: PageAnalytics) -> Vec<Sealed> {
        let key = (row.window_end, row.window_start);
        if self.is_forgotten(key) {
            return Vec::new();
        }
        match self.windows.entry(key).or_insert_with(|| Window::Unranked(BTreeMap::new())) {
            Window::Unranked(rows) => {
                self.pages += usize::from(rows.insert(row.page_url.clone(), row).is_none());
            }
            Window::Ranked { sealed, missing } => {
                if missing.remove(&row.page_url) {
                    sealed.rows.push(row);
                    if missing.is_empty() {
                        return self.ready();
                    }
                }
            }
            Window::Done => {}
        }
        self.bound();
        Vec::new()
    }

    fn is_forgotten(&self, key: Key) -> bool {
        self.forgotten.is_some_and(|forgotten| key <= forgotten)
    }

    /// Forgets the oldest windows until the bounds hold.
    fn bound(&mut self) {
        while self.pages > self.bounds.pages || self.windows.len() > self.bounds.windows {
            let Some((key, window)) = self.windows.pop_first() else { return };
            if let Window::Unranked(rows) = window {
                self.pages -= rows.len();
            }
            self.forgotten = Some(key);
        }
    }

    /// Gives out the complete windows that nothing holds back.
    fn ready(&mut self) -> Vec<Sealed> {
        let complete =
            |window: &Window| matches!(window, Window::Ranked { missing, .. } if missing.is_empty());
        let mut waiting = self.windows.values().filter(|window| complete(window)).count();
        let mut held_back = false;
        let mut ready = Vec::new();
        for (key, window) in &mut self.windows {
            if complete(window) {
                if held_back && waiting <= PATIENCE {
                    break;
                }
                if let Window::Ranked { sealed, .. } = std::mem::replace(window, Window::Done) {
                    ready.push(sealed);
                }
                waiting -= 1;
                held_back = false;
                self.passed = self.passed.max(Some(*key));
            } else if matches!(window, Window::Ranked { .. }) {
                held_back |= self.passed < Some(*key);
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests;
