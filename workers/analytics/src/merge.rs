//! Stage 2: adds the partitions' blocks of a window up, once every partition has spoken. Keeps nothing else.

use std::collections::BTreeMap;

use weir_events::{PageAnalytics, SiteTotals, TopPages};

use crate::{
    block::{Block, Row},
    ranking::{ranked, top_pages},
    settings::Settings,
    trends::{Level, trending},
};

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

/// Stage 2 of one lane. Windows are independent of each other, so all there is to remember over a restart is up to where
/// windows were emitted, and the offset of the first block that a later one needs.
pub struct Merge {
    settings: Settings,
    /// Blocks with the offsets they were read at, by window end and input partition.
    blocks: BTreeMap<i64, Vec<Option<(i64, Block)>>>,
    /// The greatest end that each input partition has spoken for.
    covered: Vec<Option<i64>>,
    emitted: Option<i64>,
}

impl Merge {
    /// A lane fed by `inputs` partitions; `emitted` is what [`Merge::emitted`] said when its state was last kept.
    pub fn new(settings: Settings, inputs: i32, emitted: Option<i64>) -> Self {
        Self { settings, blocks: BTreeMap::new(), covered: vec![None; inputs.max(0) as usize], emitted }
    }

    /// Takes a block that was read at `offset`. What was emitted already is not taken again.
    pub fn add(&mut self, block: Block, offset: i64) {
        let partition = block.partition as usize;
        if partition >= self.covered.len() || self.emitted.is_some_and(|emitted| block.end <= emitted) {
            return;
        }
        let inputs = self.covered.len();
        if !block.more {
            self.covered[partition] = self.covered[partition].max(Some(block.end));
        }
        let places = self.blocks.entry(block.end).or_insert_with(|| vec![None; inputs]);
        match &mut places[partition] {
            Some((_, first)) if first.more => {
                first.pages.extend(block.pages);
                first.more = block.more;
            }
            Some(_) => {}
            place @ None => *place = Some((offset, block)),
        }
    }

    /// Completes, in order, all windows for which every input partition has spoken.
    pub fn complete(&mut self) -> Vec<WindowResult> {
        let Some(reached) = self.covered.iter().copied().min().flatten() else { return Vec::new() };
        let ends: Vec<i64> = self.blocks.range(..=reached).map(|(&end, _)| end).collect();
        let results = ends.iter().filter_map(|&end| self.window(end)).collect();
        self.blocks = self.blocks.split_off(&(reached + 1));
        self.emitted = self.emitted.max(Some(reached));
        results
    }

    /// The offset of the first block that a window to come needs. Without one, reading may go on at the next offset.
    pub fn needed(&self) -> Option<i64> {
        self.blocks.values().flatten().flatten().map(|(offset, _)| *offset).min()
    }

    /// The end up to which every input partition has spoken, and every window was emitted.
    pub fn emitted(&self) -> Option<i64> {
        self.emitted
    }

    fn window(&self, end: i64) -> Option<WindowResult> {
        let (mut rows, mut site) = (BTreeMap::<&str, Row>::new(), Row::default());
        let (mut levels, mut site_level) = (BTreeMap::<&str, Level>::new(), Level::default());
        let mut first_aligned: Option<i64> = None;
        for partition in 0..self.covered.len() {
            let mut later = self.blocks.range(end..).filter_map(|(_, places)| places[partition].as_ref());
            let Some((_, block)) = later.next() else { continue };
            first_aligned = match (first_aligned, block.first_aligned) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            site_level.add(&block.site, end, &self.settings);
            for row in &block.pages {
                levels.entry(&row.url).or_default().add(row, end, &self.settings);
            }
            // The block of a later window speaks for this one by its baselines only.
            if block.end == end {
                add(&mut site, &block.site);
                for row in &block.pages {
                    add(rows.entry(&row.url).or_default(), row);
                }
            }
        }
        if site.users == 0 {
            return None;
        }
        let start = end - self.settings.size;
        let pages: Vec<PageAnalytics> = rows
            .iter()
            .filter(|(_, row)| row.users > 0)
            .map(|(url, row)| result(url, row, start, end))
            .collect();
        let trends = trending(&rows, &levels, &site, site_level, first_aligned, end, &self.settings);
        let previous = ranked(&rows, |row| row.previous_views, self.settings.top);
        Some(WindowResult {
            end,
            top: TopPages {
                window_start: start,
                window_end: end,
                pages: top_pages(&rows, &previous, self.settings.top),
                warming_up: trends.is_none(),
                trending: trends.unwrap_or_default(),
                site: SiteTotals {
                    view_count: site.views as i64,
                    click_count: site.clicks as i64,
                    conversion_count: site.conversions as i64,
                    unique_users: site.users as i32,
                    visits: i64::from(site.visits),
                    bounces: i64::from(site.bounces),
                },
                page_count: i32::try_from(pages.len()).ok(),
            },
            pages,
        })
    }
}

fn add(sum: &mut Row, row: &Row) {
    sum.views += row.views;
    sum.clicks += row.clicks;
    sum.conversions += row.conversions;
    sum.users += row.users;
    sum.visits += row.visits;
    sum.bounces += row.bounces;
    sum.duration += row.duration;
    sum.previous_views = match (sum.previous_views, row.previous_views) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
}

fn result(url: &str, row: &Row, start: i64, end: i64) -> PageAnalytics {
    PageAnalytics {
        page_url: url.to_owned(),
        window_start: start,
        window_end: end,
        view_count: row.views as i64,
        unique_users: row.users as i32,
        click_count: row.clicks as i64,
        conversion_count: row.conversions as i64,
        engagement_rate: if row.views > 0 { row.clicks as f64 / row.views as f64 } else { 0.0 },
        bounce_rate: f64::from(row.bounces) / f64::from(row.visits),
        avg_session_duration: row.duration as f64 / (i64::from(row.visits) * 1000) as f64,
    }
}

#[cfg(test)]
mod tests;
