//! The result topics, window by window.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_oracle::{Page, Ranked, Site, Trend, Window};
use weir_stream::log::Record;

use crate::with_sums;

/// What the result topics hold.
#[derive(Default)]
pub struct Results {
    /// By end.
    pub windows: BTreeMap<i64, Window>,
    /// Bytes of rankings (no page) and rows, by window end and page.
    bytes: BTreeMap<(i64, Option<String>), Vec<u8>>,
    /// When each ranking was written, by its writer's clock in milliseconds, by window end.
    written: BTreeMap<i64, i64>,
}

/// The longest time in which no window came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Milliseconds, from one ranking's being written to the next one's.
    pub millis: i64,
    /// End of the window that it ended with.
    pub before: i64,
}

impl Results {
    /// Takes a record of the rankings' topic.
    ///
    /// # Errors
    /// It is no ranking, or the second of its window.
    pub fn ranking(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let value = record.value.context("a ranking without a value")?;
        let top = decode_top_pages(value)?;
        let second = self.bytes.insert((top.window_end, None), value.to_vec());
        ensure!(second.is_none(), "a second ranking for the window that ends at {}", top.window_end);
        self.written.insert(top.window_end, record.timestamp);
        let ranked = top.pages.into_iter().map(|page| Ranked {
            rank: page.rank,
            page: page.page_url,
            view_count: page.view_count,
            unique_users: page.unique_users,
            previous_rank: page.previous_rank,
        });
        let trending = top.trending.into_iter().map(|trend| Trend {
            page: trend.page_url,
            view_count: trend.view_count,
            expected: trend.expected,
            score: trend.score,
            unique_users: trend.unique_users,
        });
        let window = Window {
            start: top.window_start,
            end: top.window_end,
            pages: Vec::new(),
            top: ranked.collect(),
            warming_up: top.warming_up,
            trending: trending.collect(),
            site: Site {
                views: top.site.view_count,
                clicks: top.site.click_count,
                conversions: top.site.conversion_count,
                unique_users: top.site.unique_users,
                visits: top.site.visits,
                bounces: top.site.bounces,
            },
        };
        self.windows.insert(window.end, window);
        Ok(())
    }

    /// Takes a record of the results' topic, after all rankings were taken.
    ///
    /// # Errors
    /// It is no row, or the second of its page and window.
    pub fn row(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let value = record.value.context("a row without a value")?;
        let row = decode_page_analytics(value)?;
        let place = (row.window_end, Some(row.page_url.clone()));
        let second = self.bytes.insert(place, value.to_vec());
        ensure!(
            second.is_none(),
            "a second row for {} and the window that ends at {}",
            row.page_url,
            row.window_end
        );
        // A row whose ranking was not written when that topic was read is of a window after the last.
        let Some(window) = self.windows.get_mut(&row.window_end) else { return Ok(()) };
        window.pages.push(Page {
            page: row.page_url,
            view_count: row.view_count,
            unique_users: row.unique_users,
            click_count: row.click_count,
            conversion_count: row.conversion_count,
            engagement_rate: row.engagement_rate,
            bounce_rate: row.bounce_rate,
            avg_session_duration: row.avg_session_duration,
            visits: 0,
            bounces: 0,
            duration_sum_ms: 0,
        });
        Ok(())
    }

    /// The windows as the oracle tells them. The sums behind the ratios are not in the topics: they are taken from `expected`.
    #[must_use]
    pub fn with_sums(&self, expected: &[Window]) -> Vec<Window> {
        let expected: BTreeMap<i64, &Window> = expected.iter().map(|window| (window.end, window)).collect();
        let complete = self.windows.values().cloned().map(|mut window| {
            window.pages.sort_by(|a, b| a.page.cmp(&b.page));
            let expected = expected.get(&window.end).copied();
            with_sums(window, expected)
        });
        complete.collect()
    }

    /// The longest pause between two windows; `None` where there are not two.
    #[must_use]
    pub fn longest_pause(&self) -> Option<Pause> {
        let pairs = self.written.iter().zip(self.written.iter().skip(1));
        pairs
            .map(|((_, earlier), (&before, later))| Pause { millis: later - earlier, before })
            .max_by_key(|pause| pause.millis)
    }

    /// Hash of all bytes, by window and page.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for ((end, page), value) in &self.bytes {
            hasher.update(&end.to_be_bytes());
            hasher.update(page.as_deref().unwrap_or_default().as_bytes());
            hasher.update(&(value.len() as u64).to_be_bytes());
            hasher.update(value);
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}
