//! Trending pages: over-dispersed Poisson z of their views against a decayed baseline.

use weir_events::TrendingPage;

use crate::{
    block::Sums,
    intern::Interner,
    ranking::fitting,
    settings::{Settings, power},
};

/// A weight too small to change any sum of weights.
const NEGLIGIBLE: f64 = 1e-18;

/// The decayed views of a page's aligned windows, summed over partitions in order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Level(f64);

impl Level {
    /// Adds a partition's baseline, as of the window that ends at `end`.
    pub(crate) fn add(&mut self, row: &Sums, end: i64, settings: &Settings) {
        if row.baseline > 0.0 {
            self.0 += row.baseline * power(settings.decay(), settings.last_aligned(end) - row.baseline_at);
        }
    }
}

/// The trending pages of a window among those offered.
pub(crate) struct Trends {
    /// The usual level; `None` while warming up.
    usual: Option<Usual>,
    found: Vec<Trend>,
}

struct Usual {
    weights: f64,
    /// The site's views in the window over its usual level; `None` without one.
    site: Option<f64>,
}

struct Trend {
    page: u32,
    views: u64,
    users: u32,
    expected: f64,
    score: f64,
}

impl Trends {
    /// From the whole site's present and usual views, before any page.
    pub(crate) fn new(
        site: &Sums,
        level: Level,
        first_aligned: Option<i64>,
        end: i64,
        settings: &Settings,
    ) -> Self {
        let behind = first_aligned.map_or(0, |first| settings.last_aligned(end) - first + 1).max(0);
        let usual = (behind >= i64::from(settings.warm_up)).then(|| {
            let weights = weights(behind, settings.decay());
            let mean = level.0 / weights;
            Usual { weights, site: (level.0 > 0.0).then(|| site.views as f64 / mean) }
        });
        Self { usual, found: Vec::new() }
    }

    /// Adds a page, if it is trending.
    pub(crate) fn offer(&mut self, page: u32, row: &Sums, level: Level) {
        let Some(usual) = self.usual.as_ref().filter(|_| row.views >= 10 && row.users >= 5) else { return };
        let mean = level.0 / usual.weights;
        let expected = usual.site.map_or(0.0, |site| mean * site);
        let excess = row.views as f64 - expected;
        let score = excess / (expected + 1.0 + (0.15 * expected) * (0.15 * expected)).sqrt();
        if (row.views as f64 + 3.0) / (expected + 3.0) >= 1.5 && score >= 4.0 {
            self.found.push(Trend { page, views: row.views, users: row.users, expected, score });
        }
    }

    /// The trending pages, highest score first; `None` while warming up.
    pub(crate) fn list(mut self, names: &Interner) -> Option<Vec<TrendingPage>> {
        self.usual.as_ref()?;
        self.found.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| names.text(a.page).cmp(names.text(b.page)))
        });
        self.found.truncate(fitting(self.found.iter().map(|trend| names.text(trend.page))));
        let page = |trend: &Trend| TrendingPage {
            page_url: names.text(trend.page).to_owned(),
            view_count: trend.views as i64,
            expected: trend.expected,
            score: trend.score,
            unique_users: trend.users as i32,
        };
        Some(self.found.iter().map(page).collect())
    }
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
