//! One sealed window, packed.

use weir_events::{PageAnalytics, SiteTotals, TopPages};

use super::urls::{PageId, UrlInterner};

/// One page's numbers in 40 bytes. What can be computed from the rest is not kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PackedRow {
    pub(super) page: PageId,
    pub(super) views: u32,
    pub(super) users: u32,
    pub(super) clicks: u32,
    pub(super) conversions: u32,
    pub(super) bounce_rate: f64,
    pub(super) duration: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PackedRank {
    pub(super) page: PageId,
    pub(super) views: i64,
    pub(super) users: i32,
    pub(super) rank: i32,
    pub(super) previous_rank: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PackedTrend {
    pub(super) page: PageId,
    pub(super) views: i64,
    pub(super) users: i32,
    pub(super) expected: f64,
    pub(super) score: f64,
}

#[derive(Debug)]
pub(super) struct Ranking {
    pub(super) ranks: Box<[PackedRank]>,
    pub(super) trends: Box<[PackedTrend]>,
    pub(super) warming_up: bool,
    pub(super) site: SiteTotals,
    /// How many pages the window has; `None` in a record of the first version.
    pub(super) page_count: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct StoredWindow {
    pub(super) start: i64,
    /// By page once flushed.
    pub(super) rows: Vec<PackedRow>,
    pub(super) ranking: Option<Box<Ranking>>,
    pub(super) complete: bool,
}

impl StoredWindow {
    /// `None` where a count is more than a window can hold: 4,294,967,295.
    pub(super) fn row(urls: &mut UrlInterner, row: &PageAnalytics) -> Option<PackedRow> {
        let views = u32::try_from(row.view_count).ok()?;
        let users = u32::try_from(row.unique_users).ok()?;
        let clicks = u32::try_from(row.click_count).ok()?;
        let conversions = u32::try_from(row.conversion_count).ok()?;
        let page = urls.acquire(&row.page_url);
        Some(PackedRow {
            page,
            views,
            users,
            clicks,
            conversions,
            bounce_rate: row.bounce_rate,
            duration: row.avg_session_duration,
        })
    }

    pub(super) fn rank(&mut self, urls: &mut UrlInterner, top: &TopPages) {
        let ranks = top.pages.iter().map(|rank| PackedRank {
            page: urls.acquire(&rank.page_url),
            views: rank.view_count,
            users: rank.unique_users,
            rank: rank.rank,
            previous_rank: rank.previous_rank,
        });
        let ranks = ranks.collect();
        let trends = top.trending.iter().map(|trend| PackedTrend {
            page: urls.acquire(&trend.page_url),
            views: trend.view_count,
            users: trend.unique_users,
            expected: trend.expected,
            score: trend.score,
        });
        let trends = trends.collect();
        let page_count = top.page_count.and_then(|count| usize::try_from(count).ok());
        let ranking = Ranking { ranks, trends, warming_up: top.warming_up, site: top.site, page_count };
        if let Some(before) = self.ranking.replace(Box::new(ranking)) {
            before.release(urls);
        }
    }

    /// Sorts the rows, keeps the last of each page, and determines whether the window is complete.
    pub(super) fn flush(&mut self, urls: &mut UrlInterner) {
        self.rows.sort_by_key(|row| row.page);
        self.rows.dedup_by(|later, earlier| {
            let same = later.page == earlier.page;
            if same {
                *earlier = *later;
                urls.release(later.page);
            }
            same
        });
        let Some(ranking) = &self.ranking else { return };
        let (mut views, mut clicks, mut conversions) = (0, 0, 0);
        for row in &self.rows {
            views += i64::from(row.views);
            clicks += i64::from(row.clicks);
            conversions += i64::from(row.conversions);
        }
        let site = &ranking.site;
        // Rows of pages with nothing but searches change no sum.
        self.complete = !self.rows.is_empty()
            && ranking.page_count.is_none_or(|count| count == self.rows.len())
            && (views, clicks, conversions) == (site.view_count, site.click_count, site.conversion_count);
        if self.complete {
            self.rows.shrink_to_fit();
        }
    }

    pub(super) fn find(&self, page: PageId) -> Option<&PackedRow> {
        self.rows.binary_search_by_key(&page, |row| row.page).ok().map(|index| &self.rows[index])
    }

    pub(super) fn release(mut self, urls: &mut UrlInterner) {
        self.forget_rows(urls);
        self.forget_ranking(urls);
    }

    pub(super) fn forget_rows(&mut self, urls: &mut UrlInterner) {
        self.complete = false;
        std::mem::take(&mut self.rows).iter().for_each(|row| urls.release(row.page));
    }

    pub(super) fn forget_ranking(&mut self, urls: &mut UrlInterner) {
        self.complete = false;
        if let Some(ranking) = self.ranking.take() {
            ranking.release(urls);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranking.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        let ranking = self.ranking.as_ref().map_or(0, |ranking| {
            size_of::<Ranking>() + size_of_val(&*ranking.ranks) + size_of_val(&*ranking.trends)
        });
        size_of::<Self>() + self.rows.capacity() * size_of::<PackedRow>() + ranking
    }
}

impl Ranking {
    fn release(&self, urls: &mut UrlInterner) {
        self.ranks.iter().for_each(|rank| urls.release(rank.page));
        self.trends.iter().for_each(|trend| urls.release(trend.page));
    }
}
