//! The format of live values. To be replaced by `weir_analytics::{Live, LiveRow}`, which write it, once they are in this branch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// The open window of one input partition, or of all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    version: u8,
    /// The input partition; `None`: all together.
    pub partition: Option<i32>,
    /// First millisecond that is counted.
    pub start: i64,
    /// First millisecond after.
    pub end: i64,
    /// The newest event time read, milliseconds.
    pub as_of: i64,
    /// All pages together. `url` is empty.
    pub site: LiveRow,
    /// Pages with an event, by views, then URL.
    pub pages: Vec<LiveRow>,
}

/// A page, or the site, in the open window so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveRow {
    /// The page.
    pub url: String,
    /// VIEW events.
    pub views: u64,
    /// CLICK events.
    pub clicks: u64,
    /// ADD_TO_CART events.
    pub carts: u64,
    /// PURCHASE events.
    pub conversions: u64,
    /// Distinct visitors.
    pub users: u32,
}

impl Live {
    /// From bytes; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match bytes.first() {
            Some(&VERSION) => postcard::from_bytes(bytes),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }

    /// All partitions together. A partition whose newest event is older than the window counts as empty.
    pub fn together<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut parts: Vec<&Self> = parts.into_iter().collect();
        let newest = parts.iter().copied().max_by_key(|part| part.end)?;
        parts.retain(|part| part.end > newest.start);
        let (mut site, mut pages) = (LiveRow::default(), BTreeMap::<&str, LiveRow>::new());
        for part in &parts {
            site.add(&part.site);
            for row in &part.pages {
                pages.entry(&row.url).or_default().add(row);
            }
        }
        let pages = pages.into_iter().map(|(url, row)| LiveRow { url: url.to_owned(), ..row });
        let mut pages: Vec<LiveRow> = pages.collect();
        pages.sort_unstable_by(|a, b| b.views.cmp(&a.views).then_with(|| a.url.cmp(&b.url)));
        let as_of = parts.iter().map(|part| part.as_of).max()?;
        Some(Self {
            version: VERSION,
            partition: None,
            start: newest.start,
            end: newest.end,
            as_of,
            site,
            pages,
        })
    }
}

impl LiveRow {
    fn add(&mut self, other: &Self) {
        self.views += other.views;
        self.clicks += other.clicks;
        self.carts += other.carts;
        self.conversions += other.conversions;
        self.users += other.users;
    }
}
