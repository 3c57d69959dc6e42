//! Says where two lists of windows differ.

use std::{collections::BTreeMap, fmt::Debug};

use crate::{Page, Ranked, Trend, Window, trending};

/// Relative error that two orders of adding up the same floats may make.
const TOLERANCE: f64 = 1e-9;
/// A level that has decayed to this is none: the engine forgets pages whose level is too small a part of the site's to matter.
const VANISHED: f64 = 1e-40;
/// So many differences are told; one mistake makes thousands.
const TOLD: usize = 20;

/// Compares what the engine says with what it should say.
///
/// Integers and rates must be equal, `expected` and `score` within a relative 1e-9, or below 1e-40 both. A page that trends on one side only is an
/// error unless its ratio or score is within a relative 1e-9 of the threshold, and trends must be in the order
/// of their own side's scores.
///
/// # Errors
/// The first differences, one a line, by window, `expected` before `actual`.
pub fn compare(expected: &[Window], actual: &[Window]) -> Result<(), String> {
    let mut differences = Differences::default();
    let ends = differences.pairs("windows", expected, actual, |window| window.end);
    for (expected, actual) in ends {
        differences.of_window(expected, actual);
    }
    differences.into_result()
}

#[derive(Default)]
struct Differences {
    told: Vec<String>,
    untold: usize,
}

impl Differences {
    fn tell(&mut self, difference: String) {
        if self.told.len() < TOLD {
            self.told.push(difference);
        } else {
            self.untold += 1;
        }
    }

    fn into_result(mut self) -> Result<(), String> {
        if self.told.is_empty() {
            return Ok(());
        }
        if self.untold > 0 {
            self.told.push(format!("and {} more", self.untold));
        }
        Err(self.told.join("\n"))
    }

    fn equal<T: PartialEq + Debug>(&mut self, place: &str, field: &str, expected: T, actual: T) {
        if expected != actual {
            self.tell(format!("{place}: {field} should be {expected:?}, is {actual:?}"));
        }
    }

    fn near(&mut self, place: &str, field: &str, expected: f64, actual: f64) {
        if !near(expected, actual) {
            self.tell(format!("{place}: {field} should be {expected:?}, is {actual:?}"));
        }
    }

    /// What both lists have under one key; what only one has, has a key twice, or stands elsewhere in the order is told.
    fn pairs<'a, T, K: Ord + Debug>(
        &mut self,
        place: &str,
        expected: &'a [T],
        actual: &'a [T],
        key: impl Fn(&'a T) -> K,
    ) -> Vec<(&'a T, &'a T)> {
        if !actual.iter().map(&key).is_sorted_by(|a, b| a < b) {
            self.tell(format!("{place}: not in order, or one twice"));
        }
        let mut rest: BTreeMap<K, &T> = actual.iter().map(|item| (key(item), item)).collect();
        let mut pairs = Vec::new();
        for item in expected {
            match rest.remove(&key(item)) {
                Some(other) => pairs.push((item, other)),
                None => self.tell(format!("{place}: {:?} is missing", key(item))),
            }
        }
        for key in rest.keys() {
            self.tell(format!("{place}: {key:?} should not be there"));
        }
        pairs
    }

    fn of_window(&mut self, expected: &Window, actual: &Window) {
        let place = format!("window [{}, {})", expected.start, expected.end);
        self.equal(&place, "start", expected.start, actual.start);
        self.equal(&place, "site", expected.site, actual.site);
        let pages =
            self.pairs(&format!("{place} pages"), &expected.pages, &actual.pages, |page| page.page.as_str());
        for (expected, actual) in pages {
            self.of_page(&format!("{place} {}", expected.page), expected, actual);
        }
        let ranks = self.pairs(&format!("{place} top"), &expected.top, &actual.top, |ranked| ranked.rank);
        for (expected, actual) in ranks {
            self.of_rank(&format!("{place} rank {}", expected.rank), expected, actual);
        }
        self.equal(&place, "warming_up", expected.warming_up, actual.warming_up);
        self.of_trending(&format!("{place} trending"), &expected.trending, &actual.trending);
    }

    fn of_page(&mut self, place: &str, expected: &Page, actual: &Page) {
        self.equal(place, "view_count", expected.view_count, actual.view_count);
        self.equal(place, "unique_users", expected.unique_users, actual.unique_users);
        self.equal(place, "click_count", expected.click_count, actual.click_count);
        self.equal(place, "conversion_count", expected.conversion_count, actual.conversion_count);
        self.equal(place, "visits", expected.visits, actual.visits);
        self.equal(place, "bounces", expected.bounces, actual.bounces);
        self.equal(place, "duration_sum_ms", expected.duration_sum_ms, actual.duration_sum_ms);
        self.equal(place, "engagement_rate", expected.engagement_rate, actual.engagement_rate);
        self.equal(place, "bounce_rate", expected.bounce_rate, actual.bounce_rate);
        self.equal(place, "avg_session_duration", expected.avg_session_duration, actual.avg_session_duration);
    }

    fn of_rank(&mut self, place: &str, expected: &Ranked, actual: &Ranked) {
        self.equal(place, "page", &expected.page, &actual.page);
        self.equal(place, "view_count", expected.view_count, actual.view_count);
        self.equal(place, "unique_users", expected.unique_users, actual.unique_users);
        self.equal(place, "previous_rank", expected.previous_rank, actual.previous_rank);
    }

    fn of_trending(&mut self, place: &str, expected: &[Trend], actual: &[Trend]) {
        let in_order = |a: &Trend, b: &Trend| a.score > b.score || (a.score == b.score && a.page < b.page);
        if !actual.is_sorted_by(in_order) {
            self.tell(format!("{place}: not in order of score and page, or one twice"));
        }
        for trend in expected {
            match actual.iter().find(|other| other.page == trend.page) {
                Some(other) => {
                    let place = format!("{place} {}", trend.page);
                    self.equal(&place, "view_count", trend.view_count, other.view_count);
                    self.equal(&place, "unique_users", trend.unique_users, other.unique_users);
                    self.near(&place, "expected", trend.expected, other.expected);
                    self.near(&place, "score", trend.score, other.score);
                }
                None if on_the_edge(trend) => {}
                None => self.tell(format!("{place}: missing {trend:?}")),
            }
        }
        for trend in actual {
            if !expected.iter().any(|other| other.page == trend.page) && !on_the_edge(trend) {
                self.tell(format!("{place}: should not be there: {trend:?}"));
            }
        }
    }
}

fn near(a: f64, b: f64) -> bool {
    let greater = a.abs().max(b.abs());
    greater < VANISHED || (a - b).abs() <= TOLERANCE * greater
}

/// Whether rounding alone may decide that it trends.
fn on_the_edge(trend: &Trend) -> bool {
    let ratio = trending::ratio(trend.view_count, trend.expected);
    let score = trending::score(trend.view_count, trend.expected);
    near(ratio, trending::LEAST_RATIO) || near(score, trending::LEAST_SCORE)
}
