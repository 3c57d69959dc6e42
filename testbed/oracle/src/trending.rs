//! Pages with more views than their usual level lets expect.

use std::collections::BTreeMap;

use crate::{Settings, Trend, Window, intake::Intake, ranking::fit};

pub(crate) const LEAST_VIEWS: i64 = 10;
pub(crate) const LEAST_USERS: i32 = 5;
pub(crate) const LEAST_RATIO: f64 = 1.5;
pub(crate) const LEAST_SCORE: f64 = 4.0;

/// Whether `window` is warming up, and what trends in it. `done` holds all sealed windows with rows before it, by end.
pub(crate) fn find(
    intake: &Intake<'_>,
    settings: &Settings,
    window: &Window,
    done: &BTreeMap<i64, Window>,
) -> (bool, Vec<Trend>) {
    // Aligned window k is [k * size, (k + 1) * size); those from `first` up to but not including `now` lie behind.
    let now = window.start.div_euclid(settings.size);
    let known = intake.events.iter().find(|accepted| accepted.known_to(window.end));
    let first = known.map_or(now, |oldest| oldest.event.timestamp.div_euclid(settings.size));
    if (now - first).max(0) < i64::from(settings.warm_up) {
        return (true, Vec::new());
    }

    // Only windows with views add to a sum of weight * views.
    let aligned = |window: &&Window| window.end % settings.size == 0 && window.site.views > 0;
    let behind: Vec<&Window> =
        done.range(..=window.start).map(|(_, window)| window).filter(aligned).collect();
    let usual = |views: &dyn Fn(&Window) -> i64| -> f64 {
        // In e = m * (site x / site m) the sums of weights cancel out, and so does the choice of the window that weighs 1.
        // It is the last one with views, so that no silence, however long, makes all weights vanish.
        let last = behind.last().map_or(0, |window| window.end);
        let weight = |end: i64| (-((last - end) as f64) / settings.trending_half_life as f64).exp2();
        behind.iter().map(|window| weight(window.end) * views(window) as f64).sum()
    };
    let usual_of_site = usual(&|window| window.site.views);

    let mut trending = Vec::new();
    for page in &window.pages {
        let (x, users) = (page.view_count, page.unique_users);
        if x < LEAST_VIEWS || users < LEAST_USERS {
            continue;
        }
        let expected = if usual_of_site == 0.0 {
            0.0
        } else {
            usual(&|window| views_of(window, &page.page)) * (window.site.views as f64 / usual_of_site)
        };
        let score = score(x, expected);
        if ratio(x, expected) >= LEAST_RATIO && score >= LEAST_SCORE {
            let page = page.page.clone();
            trending.push(Trend { page, view_count: x, expected, score, unique_users: users });
        }
    }
    trending.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.page.cmp(&b.page)));
    trending.truncate(fit(&mut trending.iter().map(|trend| trend.page.len())));
    (false, trending)
}

pub(crate) fn ratio(x: i64, expected: f64) -> f64 {
    (x as f64 + 3.0) / (expected + 3.0)
}

pub(crate) fn score(x: i64, expected: f64) -> f64 {
    (x as f64 - expected) / (expected + 1.0 + (0.15 * expected).powi(2)).sqrt()
}

fn views_of(window: &Window, page: &str) -> i64 {
    let place = window.pages.binary_search_by(|row| row.page.as_str().cmp(page));
    place.map_or(0, |place| window.pages[place].view_count)
}
