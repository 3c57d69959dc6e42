//! The result topics, window by window.

use std::{collections::BTreeMap, ops::Range};

use anyhow::{Context, ensure};
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_log::Record;
use weir_oracle::Window;

/// The contents of the result topics.
#[derive(Default)]
pub struct Results {
    /// By end.
    pub windows: BTreeMap<i64, Window>,
    /// Bytes of rankings (no page) and rows, by window end and page.
    bytes: BTreeMap<(i64, Option<String>), Vec<u8>>,
    /// When each ranking was written, by its writer's clock in milliseconds, by window end.
    written: BTreeMap<i64, i64>,
}

/// A time without a new window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it began: the first ranking was written, in milliseconds since the epoch.
    pub since: i64,
    /// Milliseconds until the next one was written.
    pub millis: i64,
    /// End of the window that it ended with.
    pub before: i64,
}

impl Pause {
    /// The longest pause that overlaps `span`.
    #[must_use]
    pub fn longest_within(pauses: &[Self], span: &Range<i64>) -> Option<Self> {
        let within = |pause: &&Self| pause.since < span.end && span.start < pause.since + pause.millis;
        pauses.iter().filter(within).max_by_key(|pause| pause.millis).copied()
    }
}

impl Results {
    /// Adds a record of the rankings' topic.
    ///
    /// # Errors
    /// It is no ranking, or the second of its window.
    pub fn ranking(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let value = record.value.context("a ranking without a value")?;
        let top = decode_top_pages(value)?;
        let second = self.bytes.insert((top.window_end, None), value.to_vec());
        ensure!(second.is_none(), "a second ranking for the window that ends at {}", top.window_end);
        self.written.insert(top.window_end, record.timestamp);
        self.windows.insert(top.window_end, top.into());
        Ok(())
    }

    /// Adds a record of the results' topic, after all rankings.
    ///
    /// # Errors
    /// It is no row, or the second of its page and window.
    pub fn row(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let value = record.value.context("a row without a value")?;
        let row = decode_page_analytics(value)?;
        let key = (row.window_end, Some(row.page_url.clone()));
        let second = self.bytes.insert(key, value.to_vec());
        ensure!(
            second.is_none(),
            "a second row for {} and the window that ends at {}",
            row.page_url,
            row.window_end
        );
        // A row without a ranking is of a window after the last one read.
        let Some(window) = self.windows.get_mut(&row.window_end) else { return Ok(()) };
        window.pages.push(row.into());
        Ok(())
    }

    /// The windows whose ends are `compared`, in the oracle's form. The sums behind the ratios are not in the topics: they are taken from
    /// `expected`.
    #[must_use]
    pub fn with_sums(&self, expected: &[Window], compared: impl Fn(i64) -> bool) -> Vec<Window> {
        let expected: BTreeMap<i64, &Window> = expected.iter().map(|window| (window.end, window)).collect();
        let windows = self.windows.values().filter(|window| compared(window.end));
        let complete = windows.cloned().map(|mut window| {
            window.pages.sort_by(|a, b| a.page.cmp(&b.page));
            let expected = expected.get(&window.end).copied();
            window.with_sums(expected)
        });
        complete.collect()
    }

    /// The pauses between one window and the next.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        let pairs = self.written.iter().zip(self.written.iter().skip(1));
        pairs.map(|((_, &since), (&before, later))| Pause { since, millis: later - since, before }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_within_a_span_overlaps_it() {
        let written = [(10, 100), (20, 110), (30, 150), (40, 160), (50, 190)];
        let pauses = Results { written: written.into(), ..Results::default() }.pauses();
        let longest = |span| Pause::longest_within(&pauses, &span).map(|pause| (pause.millis, pause.before));
        assert_eq!(longest(0..i64::MAX), Some((40, 30)));
        assert_eq!(longest(149..161), Some((40, 30)));
        assert_eq!(longest(150..161), Some((30, 50)));
        assert_eq!(longest(150..160), Some((10, 40)));
        assert_eq!(longest(190..200), None);
    }
}
