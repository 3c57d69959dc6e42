//! The most viewed pages of a window.

use std::collections::BTreeMap;

use weir_events::TopPage;

use crate::block::Row;

/// Maximum bytes of the pages of one list, the ranking or the trends, counting [`ENTRY_BYTES`] for each beside its URL. Both lists
/// are in one record, which must stay below the million bytes that brokers and clients take by default.
const MAX_LIST_BYTES: usize = 400_000;
const ENTRY_BYTES: usize = 40;

/// How many of these pages go into one list.
pub(crate) fn fitting<'a>(urls: impl Iterator<Item = &'a str>) -> usize {
    let mut left = MAX_LIST_BYTES;
    urls.take_while(|url| {
        let bytes = url.len() + ENTRY_BYTES;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    })
    .count()
}

/// The first `top` pages by `views` (pages without any are left out), ties by page.
pub(crate) fn ranked<'a>(
    rows: &BTreeMap<&'a str, Row>,
    views: impl Fn(&Row) -> Option<u64>,
    top: usize,
) -> Vec<&'a str> {
    let mut pages: Vec<(u64, &str)> =
        rows.iter().filter_map(|(&url, row)| Some((views(row)?, url))).collect();
    pages.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    pages.truncate(top);
    pages.truncate(fitting(pages.iter().map(|(_, url)| *url)));
    pages.into_iter().map(|(_, url)| url).collect()
}

/// The ranking, with each page's place in the one before.
pub(crate) fn top_pages(rows: &BTreeMap<&str, Row>, previous: &[&str], top: usize) -> Vec<TopPage> {
    let place = |url: &str| previous.iter().position(|&p| p == url).map(|i| i as i32 + 1);
    ranked(rows, |row| (row.users > 0).then_some(row.views), top)
        .into_iter()
        .zip(1..)
        .map(|(url, rank)| TopPage {
            rank,
            page_url: url.to_owned(),
            view_count: rows[url].views as i64,
            unique_users: rows[url].users as i32,
            previous_rank: place(url),
        })
        .collect()
}
