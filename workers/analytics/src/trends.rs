//! Pages with unusually many views: over-dispersed Poisson z against a decayed baseline.

use std::collections::BTreeMap;

use weir_events::TrendingPage;

use crate::{
    block::Row,
    ranking::fitting,
    settings::{Settings, power},
};

/// A weight so small that no sum of weights changes by it.
const NEGLIGIBLE: f64 = 1e-18;

/// The decayed views of a page's aligned windows, added up over partitions in their order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Level(f64);

impl Level {
    /// Adds a partition's baseline, as of the window that ends at `end`.
    pub(crate) fn add(&mut self, row: &Row, end: i64, settings: &Settings) {
        if row.baseline > 0.0 {
            self.0 += row.baseline * power(settings.decay(), settings.last_aligned(end) - row.baseline_at);
        }
    }
}

/// The trending pages, highest score first; `None` while warming up.
pub(crate) fn trending(
    rows: &BTreeMap<&str, Row>,
    levels: &BTreeMap<&str, Level>,
    site: &Row,
    site_level: Level,
    first_aligned: Option<i64>,
    end: i64,
    settings: &Settings,
) -> Option<Vec<TrendingPage>> {
    let behind = first_aligned.map_or(0, |first| settings.last_aligned(end) - first + 1).max(0);
    if behind < i64::from(settings.warm_up) {
        return None;
    }
    let weights = weights(behind, settings.decay());
    let site_mean = site_level.0 / weights;
    let mut pages: Vec<TrendingPage> = rows
        .iter()
        .filter(|(_, row)| row.views >= 10 && row.users >= 5)
        .map(|(&url, row)| {
            let mean = levels.get(url).map_or(0.0, |level| level.0) / weights;
            let expected = if site_level.0 > 0.0 { mean * (site.views as f64 / site_mean) } else { 0.0 };
            let excess = row.views as f64 - expected;
            let score = excess / (expected + 1.0 + (0.15 * expected) * (0.15 * expected)).sqrt();
            TrendingPage {
                page_url: url.to_owned(),
                view_count: row.views as i64,
                expected,
                score,
                unique_users: row.users as i32,
            }
        })
        .filter(|page| (page.view_count as f64 + 3.0) / (page.expected + 3.0) >= 1.5 && page.score >= 4.0)
        .collect();
    pages.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.page_url.cmp(&b.page_url)));
    pages.truncate(fitting(pages.iter().map(|page| &*page.page_url)));
    Some(pages)
}

/// The sum of the weights of `behind` aligned windows, the newest weighing one.
fn weights(behind: i64, decay: f64) -> f64 {
    let (mut sum, mut weight) = (0.0, 1.0);
    for _ in 0..behind {
        if weight < NEGLIGIBLE {
            break;
        }
        sum += weight;
        weight *= decay;
    }
    sum
}
