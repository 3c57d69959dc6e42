//! Live values: provisional values of the open window, for display. Final values never depend on them.
//!
//! They are computed on demand by a walk over the live state, so that they cost nothing per event. They have no bounces and
//! durations: a visit in progress has neither.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use crate::{
    event::{InternedEvent, Names, SITE},
    pages::{Counts, PageWindow, SeenPages},
    settings::Settings,
};

/// The version of the wire format, its first byte.
const VERSION: u8 = 1;
/// Maximum number of pages in a value and their maximum bytes; pages with the most views are kept. A record must stay below the 1 MB
/// that brokers and clients accept by default.
const MAX_PAGES: usize = 1_000;
const MAX_PAGES_BYTES: usize = 800_000;
/// Maximum bytes of a row without its URL: six numbers and a length.
const ROW_BYTES: usize = 60;

/// The open window of one input partition, or of all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    version: u8,
    /// The input partition; `None`: all of them merged.
    pub partition: Option<i32>,
    /// First millisecond that is counted.
    pub start: i64,
    /// First millisecond after the window: the end of the newest event's slice, or of the current slice without newer events, or of the
    /// last sealed window if later.
    pub end: i64,
    /// The greatest event time read, milliseconds.
    pub as_of: i64,
    /// All pages together. `url` is empty.
    pub site: LiveRow,
    /// Pages with an event, by views, then URL; at most 1,000 per partition, and fewer if long URLs would not fit into one
    /// record.
    pub pages: Vec<LiveRow>,
    /// Start of the first slice with an event; `None` without one, or from a version without this field. Encoded last.
    #[serde(skip)]
    pub earliest: Option<i64>,
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

/// Why bytes are not live values.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Written by another version.
    #[error("live values of format {0}, this version reads format {VERSION}")]
    Version(u8),
    /// Not live values at all.
    #[error("not live values: {0}")]
    Malformed(#[from] postcard::Error),
}

impl Live {
    /// Encodes the values.
    ///
    /// # Errors
    /// None in practice: all values can be written.
    pub fn encode(&self) -> Result<Vec<u8>, LiveError> {
        Ok(postcard::to_extend(&self.earliest, postcard::to_stdvec(self)?)?)
    }

    /// Decodes values.
    ///
    /// # Errors
    /// Bytes of an unsupported version, or not live values.
    pub fn decode(bytes: &[u8]) -> Result<Self, LiveError> {
        match bytes.first() {
            Some(&VERSION) => {
                let (live, rest) = postcard::take_from_bytes::<Self>(bytes)?;
                let earliest = if rest.is_empty() { None } else { postcard::from_bytes(rest)? };
                Ok(Self { earliest, ..live })
            }
            Some(&other) => Err(LiveError::Version(other)),
            None => Err(LiveError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        }
    }

    /// Merges the latest values of all partitions. A partition whose newest event is older than the window counts as empty.
    /// `None` without any partition.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
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
        Some(Self {
            version: VERSION,
            partition: None,
            start: newest.start,
            end: newest.end,
            as_of: parts.iter().map(|part| part.as_of).max()?,
            site,
            pages: by_views(pages.collect()),
            earliest: parts.iter().filter_map(|part| part.earliest).min(),
        })
    }
}

impl LiveRow {
    /// Clicks per view; 0 without views.
    pub fn engagement_rate(&self) -> f64 {
        if self.views > 0 { self.clicks as f64 / self.views as f64 } else { 0.0 }
    }

    fn add(&mut self, other: &Self) {
        // What others wrote to the topic may be beyond all bounds.
        self.views = self.views.saturating_add(other.views);
        self.clicks = self.clicks.saturating_add(other.clicks);
        self.carts = self.carts.saturating_add(other.carts);
        self.conversions = self.conversions.saturating_add(other.conversions);
        self.users = self.users.saturating_add(other.users);
    }

    fn count(&mut self, counts: &Counts) {
        self.views += counts.views;
        self.clicks += counts.clicks;
        self.carts += counts.carts;
        self.conversions += counts.conversions;
    }
}

/// The end of the open window at event time `at`. It is past the newest event's slice if the watermark was advanced for idleness, or
/// if only time has passed: events that left the window are no longer shown.
pub(crate) fn end(newest: i64, sealed: Option<i64>, at: i64, settings: &Settings) -> i64 {
    ((settings.slice_of(newest.max(at)) + 1) * settings.slide).max(sealed.unwrap_or(i64::MIN))
}

/// Counts a partition's open window: events of closed slices, and pending ones.
pub(crate) fn snapshot(
    partition: i32,
    (newest, end): (i64, i64),
    window: &PageWindow,
    pending: &BTreeMap<i64, Vec<InternedEvent>>,
    names: &Names,
    settings: &Settings,
) -> Live {
    let first = settings.first_slice(end);
    // Indexed by page: all live state is walked over, so finding a row must be cheap.
    let mut rows = vec![LiveRow::default(); names.pages.len()];
    for (page, counts) in window.counts_since(first) {
        for page in [page, SITE] {
            rows[page as usize].count(&counts);
        }
    }
    for seen_pages in window.users() {
        let mut on_any_page = false;
        for page in seen_pages.pages_since(first) {
            rows[page as usize].users += 1;
            on_any_page = true;
        }
        rows[SITE as usize].users += u32::from(on_any_page);
    }
    let mut seen = HashSet::new();
    for event in pending.range(first..).flat_map(|(_, events)| events) {
        let mut counts = Counts::default();
        counts.count(event.kind);
        for page in [event.page, SITE] {
            let row = &mut rows[page as usize];
            row.count(&counts);
            row.users += u32::from(
                is_new(page, window.users().get(event.user as usize), first)
                    && seen.insert((page, event.user)),
            );
        }
    }
    let waiting = pending.range(first..).next().map(|(&slice, _)| slice);
    let earliest = window.first_slice_since(first).into_iter().chain(waiting).min();
    let site = std::mem::take(&mut rows[SITE as usize]);
    let mut pages: Vec<LiveRow> = most_viewed(&rows, names)
        .into_iter()
        .map(|page| LiveRow {
            url: names.pages.text(page).to_owned(),
            ..std::mem::take(&mut rows[page as usize])
        })
        .collect();
    pages.truncate(fitting(&pages));
    Live {
        version: VERSION,
        partition: Some(partition),
        start: end - settings.size,
        end,
        as_of: newest,
        site,
        pages,
        earliest: earliest.map(|slice| slice * settings.slide),
    }
}

/// The pages with an event, by views, then URL, up to the maximum. The others are neither copied nor sorted.
fn most_viewed(rows: &[LiveRow], names: &Names) -> Vec<u32> {
    // Every page with an event has a visitor.
    let mut pages: Vec<u32> =
        (0..).zip(rows).filter(|(_, row)| row.users > 0).map(|(page, _)| page).collect();
    let order = |a: &u32, b: &u32| {
        let views = |page: u32| rows[page as usize].views;
        views(*b).cmp(&views(*a)).then_with(|| names.pages.text(*a).cmp(names.pages.text(*b)))
    };
    if pages.len() > MAX_PAGES {
        pages.select_nth_unstable_by(MAX_PAGES, order);
        pages.truncate(MAX_PAGES);
    }
    pages.sort_unstable_by(order);
    pages
}

/// How many of the pages fit into one value.
fn fitting(pages: &[LiveRow]) -> usize {
    let mut left = MAX_PAGES_BYTES;
    let fits = |row: &&LiveRow| {
        let bytes = row.url.len() + ROW_BYTES;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    pages.iter().take(MAX_PAGES).take_while(fits).count()
}

fn is_new(page: u32, seen_pages: Option<&SeenPages>, first: i64) -> bool {
    !seen_pages.is_some_and(|seen_pages| match page {
        SITE => seen_pages.pages_since(first).next().is_some(),
        _ => seen_pages.has_since(page, first),
    })
}

fn by_views(mut pages: Vec<LiveRow>) -> Vec<LiveRow> {
    pages.sort_unstable_by(|a, b| b.views.cmp(&a.views).then_with(|| a.url.cmp(&b.url)));
    pages
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Written by version 0.1, without `earliest`.
    const BEFORE: &[u8] = &[1, 1, 4, 0, 20, 18, 0, 3, 0, 0, 0, 2, 1, 2, b'/', b'a', 3, 0, 0, 0, 2];

    #[test]
    fn values_with_and_without_the_earliest_slice_are_compatible() {
        let before = Live::decode(BEFORE).unwrap();
        assert_eq!((before.partition, before.end, before.earliest), (Some(2), 10, None));
        assert_eq!(before.pages[0].url, "/a");
        let now = Live { earliest: Some(5), ..before.clone() };
        let bytes = now.encode().unwrap();
        assert_eq!(Live::decode(&bytes).unwrap(), now);
        // Version 0.1 reads its fields and ignores the rest.
        assert_eq!(postcard::from_bytes::<Live>(&bytes).unwrap(), before);
        assert_eq!(bytes[..BEFORE.len()], *BEFORE);
    }
}
