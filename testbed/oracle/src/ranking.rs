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
    (1..)
        .zip(pages)
        .take(top)
        .map(|(rank, page)| Ranked {
            rank,
            page: page.page.clone(),
            view_count: page.view_count,
            unique_users: page.unique_users,
            previous_rank: previous_rank(&page.page),
        })
        .collect()
}
