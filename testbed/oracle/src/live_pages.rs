//! Which pages of a partition are live, and so under which page an event counts.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Event, Kind, Settings};

/// The page of events whose own page is not counted.
pub(crate) const OTHER: &str = "(other)";

/// A page's share of the site's usual level below which its baseline is dropped.
const FORGOTTEN: f64 = 1e-50;

/// The pages of one partition.
#[derive(Default)]
pub(crate) struct LivePages<'a> {
    /// The end of the last window with an event of the page.
    last_window: HashMap<&'a str, i64>,
    /// Views by aligned window and page, as far as they were read before the window was sealed.
    views: BTreeMap<i64, HashMap<&'a str, i64>>,
    with_baseline: HashSet<&'a str>,
    live: HashSet<&'a str>,
    /// The last end that is sealed.
    sealed: Option<i64>,
}

impl<'a> LivePages<'a> {
    /// The page under which an accepted event counts, `sealed` being the last end that its partition has sealed.
    pub(crate) fn page_of(&mut self, event: &'a Event, sealed: Option<i64>, settings: &Settings) -> &'a str {
        let Some(limit) = settings.page_limit else { return &event.page };
        // Fewer pages than the limit need not be told apart.
        let own = self.last_window.len() < limit || {
            if self.sealed < sealed {
                self.sealed = sealed;
                self.seal(settings);
            }
            self.live.contains(event.page.as_str()) || self.live.len() < limit
        };
        let page = if own { event.page.as_str() } else { OTHER };
        if own {
            self.live.insert(page);
        }
        let last_window = event.timestamp.div_euclid(settings.slide) * settings.slide + settings.size;
        let last = self.last_window.entry(page).or_insert(last_window);
        *last = last_window.max(*last);
        let aligned = event.timestamp.div_euclid(settings.size);
        if event.kind == Kind::View && sealed.is_none_or(|sealed| (aligned + 1) * settings.size > sealed) {
            *self.views.entry(aligned).or_default().entry(page).or_default() += 1;
        }
        page
    }

    /// Works out what is live once `self.sealed` is sealed.
    fn seal(&mut self, settings: &Settings) {
        let Some(sealed) = self.sealed else { return };
        let Settings { size, slide, trending_half_life, .. } = *settings;
        let end = |aligned: i64| (aligned + 1) * size;
        let noted: Vec<_> = self.views.range(..).filter(|(aligned, _)| end(**aligned) <= sealed).collect();
        self.with_baseline = noted.iter().flat_map(|(_, pages)| pages.keys().copied()).collect();
        // Aligned windows that ended at or before the start of the window that ends at `sealed` are part of the usual level.
        let usual: Vec<_> = noted.iter().filter(|(aligned, _)| end(**aligned) <= sealed - size).collect();
        if let Some(newest) = usual.last().map(|(aligned, _)| **aligned) {
            let weight =
                |aligned: i64| (-((newest - aligned) * size) as f64 / trending_half_life as f64).exp2();
            let mut levels: HashMap<&str, f64> = HashMap::new();
            let mut site = 0.0;
            for (aligned, pages) in usual {
                for (page, views) in pages.iter() {
                    let weighed = weight(**aligned) * *views as f64;
                    *levels.entry(page).or_default() += weighed;
                    site += weighed;
                }
            }
            let is_new = |page: &str| {
                let newer = noted.iter().filter(|(aligned, _)| end(**aligned) > sealed - size);
                newer.into_iter().any(|(_, pages)| pages.contains_key(page))
            };
            self.with_baseline.retain(|page| is_new(page) || levels[page] >= site * FORGOTTEN);
        }
        let (last_window, with_baseline) = (&self.last_window, &self.with_baseline);
        let is_live = |page: &&str| last_window[page] >= sealed - slide || with_baseline.contains(page);
        self.live = last_window.keys().copied().filter(is_live).filter(|page| *page != OTHER).collect();
        self.last_window.retain(|page, _| *page == OTHER || self.live.contains(page));
        // A page that is not live has lost its baseline for good.
        for pages in self.views.values_mut() {
            pages.retain(|page, _| *page == OTHER || self.live.contains(page));
        }
    }
}
