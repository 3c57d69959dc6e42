//! The most viewed pages.

use std::cmp::Reverse;

use crate::{Ranked, Window};

/// The first `top` pages by views, then URL, with their ranks in the window one slide before.
pub(crate) fn rank(window: &Window, before: Option<&Window>, top: usize) -> Vec<Ranked> {
    let mut pages: Vec<_> = window.pages.iter().collect();
    pages.sort_by_key(|page| (Reverse(page.view_count), page.page.as_str()));
    let previous_rank = |page: &str| {
        let ranking = &before?.top;
        ranking.iter().find(|ranked| ranked.page == page).map(|ranked| ranked.rank)
    };
    pages.truncate(top);
    pages.truncate(fit(&mut pages.iter().map(|page| page.page.len())));
    (1..)
        .zip(pages)
        .map(|(rank, page)| Ranked {
            rank,
            page: page.page.clone(),
            view_count: page.view_count,
            unique_users: page.unique_users,
            previous_rank: previous_rank(&page.page),
        })
        .collect()
}

/// How many pages with URLs of these lengths fit into a list: 400,000 bytes, 40 of each page beside its URL.
pub(crate) fn fit(lengths: &mut dyn Iterator<Item = usize>) -> usize {
    let (mut bytes, mut pages) = (0, 0);
    for length in lengths {
        bytes += length + 40;
        if bytes > 400_000 {
            break;
        }
        pages += 1;
    }
    pages
}
