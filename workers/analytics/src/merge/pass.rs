//! One pass over a window's blocks, row by row.

use std::collections::BTreeMap;

use weir_events::{PageAnalytics, SiteTotals, TopPages};

use super::held::Held;
use crate::{
    block::Sums,
    intern::Interner,
    ranking::{Best, top_pages},
    settings::Settings,
    trends::{Level, Trends},
};

/// Iterates over the blocks of one window, and the later ones that cover it, in page order.
pub(super) struct Pass {
    pub(super) end: i64,
    /// The input partitions that have a block.
    sources: Vec<Source>,
    site: Sums,
    trends: Trends,
    ranked: Best,
    /// The ranking one slide before.
    previous: Best,
    pages: u64,
}

/// A partition's first block at or after the window's end.
struct Source {
    partition: usize,
    /// The block's end. The block of a later window covers this one by its baselines only.
    end: i64,
    /// The next row, and the position of the one after it.
    head: Option<(u32, Sums)>,
    next: usize,
}

type Blocks = BTreeMap<i64, Vec<Option<Held>>>;

impl Pass {
    /// `None` for a window without an event.
    pub(super) fn begin(end: i64, inputs: usize, blocks: &Blocks, settings: &Settings) -> Option<Self> {
        let (mut sources, mut site, mut level) = (Vec::new(), Sums::default(), Level::default());
        let mut first_aligned: Option<i64> = None;
        for partition in 0..inputs {
            let mut later =
                blocks.range(end..).filter_map(|(&end, slots)| Some((end, slots[partition].as_ref()?)));
            let Some((own, block)) = later.next() else { continue };
            first_aligned = match (first_aligned, block.first_aligned) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            level.add(&block.site, end, settings);
            if own == end {
                site.add(&block.site);
            }
            let mut source = Source { partition, end: own, head: None, next: 0 };
            source.advance(blocks);
            sources.push(source);
        }
        let trends = Trends::new(&site, level, first_aligned, end, settings);
        let best = || Best::new(settings.top);
        (site.users > 0).then(|| Self {
            end,
            sources,
            site,
            trends,
            ranked: best(),
            previous: best(),
            pages: 0,
        })
    }

    /// Number of pages returned so far.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The next page with an event.
    pub(super) fn next_page(
        &mut self,
        blocks: &Blocks,
        names: &Interner,
        settings: &Settings,
    ) -> Option<PageAnalytics> {
        loop {
            let heads = self.sources.iter().filter_map(|source| source.head.map(|(page, _)| page));
            let page =
                heads.min_by(|&a, &b| if a == b { a.cmp(&b) } else { names.text(a).cmp(names.text(b)) })?;
            let (mut sums, mut level, mut is_own) = (Sums::default(), Level::default(), false);
            for source in &mut self.sources {
                let Some((_, row)) = source.head.filter(|&(other, _)| other == page) else { continue };
                level.add(&row, self.end, settings);
                if source.end == self.end {
                    sums.add(&row);
                    is_own = true;
                }
                source.advance(blocks);
            }
            if !is_own {
                continue;
            }
            if let Some(views) = sums.previous_views {
                self.previous.offer(page, views, 0);
            }
            if sums.users == 0 {
                continue;
            }
            self.ranked.offer(page, sums.views, sums.users);
            self.trends.offer(page, &sums, level);
            self.pages += 1;
            return Some(result(names.text(page), &sums, self.end - settings.size, self.end));
        }
    }

    /// The window's ranking, trends and totals, once all pages were returned.
    pub(super) fn top(self, names: &Interner, settings: &Settings) -> TopPages {
        let (warming_up, trending) = match self.trends.list(names) {
            None => (true, Vec::new()),
            Some(trending) => (false, trending),
        };
        let site = &self.site;
        TopPages {
            window_start: self.end - settings.size,
            window_end: self.end,
            pages: top_pages(&self.ranked, &self.previous, names),
            warming_up,
            trending,
            site: SiteTotals {
                view_count: bounded(site.views),
                click_count: bounded(site.clicks),
                conversion_count: bounded(site.conversions),
                unique_users: i32::try_from(site.users).unwrap_or(i32::MAX),
                visits: i64::from(site.visits),
                bounces: i64::from(site.bounces),
            },
            page_count: i32::try_from(self.pages).ok(),
        }
    }
}

impl Source {
    fn advance(&mut self, blocks: &Blocks) {
        let block = blocks.get(&self.end).and_then(|slots| slots[self.partition].as_ref());
        let row = block.and_then(|block| block.rows.at(self.next));
        self.head = row.map(|(page, sums, _)| (page, sums));
        self.next = row.map_or(self.next, |(_, _, next)| next);
    }
}

/// A count as results have it. What exceeds that stays at the limit, as sums do.
fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn result(url: &str, row: &Sums, start: i64, end: i64) -> PageAnalytics {
    PageAnalytics {
        page_url: url.to_owned(),
        window_start: start,
        window_end: end,
        view_count: bounded(row.views),
        unique_users: i32::try_from(row.users).unwrap_or(i32::MAX),
        click_count: bounded(row.clicks),
        conversion_count: bounded(row.conversions),
        engagement_rate: if row.views > 0 { row.clicks as f64 / row.views as f64 } else { 0.0 },
        bounce_rate: f64::from(row.bounces) / f64::from(row.visits),
        avg_session_duration: row.duration as f64 / (i64::from(row.visits) * 1000) as f64,
    }
}
