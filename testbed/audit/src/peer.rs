//! Compares another engine's results with a pipeline's.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use weir_kafka::{MemberOptions, TopicInspector};

use crate::Audit;

/// The values of a page in a window that every engine can compute: one JSON object per record.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    page_url: String,
    window_end: i64,
    view_count: i64,
    click_count: i64,
    unique_users: i32,
}

impl Audit {
    /// Compares every row of `topic` with this pipeline's row for the page and window: views, clicks, exact unique users. Both
    /// must have the same rows, once each. That is equivalent to a comparison with the oracle if [`compare`](Self::compare) found
    /// no differences in the pipeline's own results. Returns the number of rows.
    ///
    /// # Errors
    /// The topics cannot be read; the first difference.
    pub fn peer(&self, brokers: &str, topic: &str) -> anyhow::Result<usize> {
        let own = self.results()?;
        let mut outstanding = BTreeMap::new();
        for (end, window) in &own.windows {
            outstanding.extend(window.pages.iter().map(|page| ((*end, page.page.clone()), page)));
        }
        let (rows, mut refused) = (outstanding.len(), None);
        let mut check = |value: &[u8]| -> anyhow::Result<()> {
            let row: Row = serde_json::from_slice(value).context("not a row")?;
            let Some(page) = outstanding.remove(&(row.window_end, row.page_url.clone())) else {
                bail!("a row too many, or twice: {row:?}");
            };
            let same = row.view_count == page.view_count
                && row.click_count == page.click_count
                && row.unique_users == page.unique_users;
            ensure!(same, "{row:?}, expected {page:?}");
            Ok(())
        };
        let theirs =
            TopicInspector::connect(&MemberOptions::new(brokers, "weir-audit", topic, "weir-audit"))?;
        for partition in 0..theirs.partition_count()? {
            theirs.read(topic, partition, 0, &mut |record| {
                refused = refused.take().or_else(|| check(record.value.unwrap_or_default()).err());
            })?;
        }
        if let Some(difference) = refused {
            return Err(difference);
        }
        ensure!(outstanding.is_empty(), "{} of {rows} rows are missing from {topic}", outstanding.len());
        Ok(rows)
    }
}
