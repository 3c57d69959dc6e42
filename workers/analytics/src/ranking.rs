//! The most viewed pages of a window.

use weir_events::TopPage;

use crate::intern::Interner;

/// Maximum bytes of the pages of one list, the ranking or the trends, with [`ENTRY_BYTES`] per page added to its URL. Both lists
/// are in one record, which must stay below the 1 MB that brokers and clients accept by default.
const MAX_LIST_BYTES: usize = 400_000;
const ENTRY_BYTES: usize = 40;

/// How many of these pages fit into one list.
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

/// The pages with the most views among those offered, ties by page.
pub(crate) struct Best {
    top: usize,
    /// Page, views, users; most views first.
    entries: Vec<(u32, u64, u32)>,
}

impl Best {
    pub(crate) fn new(top: usize) -> Self {
        Self { top, entries: Vec::new() }
    }

    /// Pages must be offered in their order.
    pub(crate) fn offer(&mut self, page: u32, views: u64, users: u32) {
        if self.entries.len() == self.top {
            if self.entries.last().is_none_or(|&(_, least, _)| least >= views) {
                return;
            }
            self.entries.pop();
        }
        let index = self.entries.partition_point(|&(_, other, _)| other >= views);
        self.entries.insert(index, (page, views, users));
    }

    /// The entries that fit into a list.
    fn fitting(&self, names: &Interner) -> &[(u32, u64, u32)] {
        &self.entries[..fitting(self.entries.iter().map(|&(page, ..)| names.text(page)))]
    }
}

/// The ranking, with each page's rank in the previous one.
pub(crate) fn top_pages(ranked: &Best, previous: &Best, names: &Interner) -> Vec<TopPage> {
    let previous = previous.fitting(names);
    let previous_rank =
        |page: u32| previous.iter().position(|&(other, ..)| other == page).map(|i| i as i32 + 1);
    ranked
        .fitting(names)
        .iter()
        .zip(1..)
        .map(|(&(page, views, users), rank)| TopPage {
            rank,
            page_url: names.text(page).to_owned(),
            view_count: views as i64,
            unique_users: users as i32,
            previous_rank: previous_rank(page),
        })
        .collect()
}
