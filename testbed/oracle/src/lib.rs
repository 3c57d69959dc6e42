//! A slow and obvious computation of every result, to check the engine against.
//!
//! [`compute`] reads whole logs, keeps everything, and works every window out from nothing: no slices, no running sums,
//! no state that is carried from one window to the next. It shares no code with the engine and depends on none of the
//! product's crates, so that a mistake must be made twice to stay unseen; the feature `records` adds conversions from and to the
//! records of the product's topics. [`compare`] says where two lists of windows differ; [`logs`] makes random logs that are full of
//! the cases that go wrong.
//!
//! ```
//! use weir_oracle::{Entry, Event, Kind, Settings, compute};
//!
//! let settings = Settings {
//!     size: 20_000, slide: 10_000, out_of_orderness: 0, session_gap: 1_800_000,
//!     top: 10, trending_half_life: 7_200_000, warm_up: 2, duplicate_slack: 60_000,
//!     page_limit: Some(100_000), visits_span_users: false,
//! };
//! let view = Event {
//!     user: "ann".into(),
//!     session: "s1".into(),
//!     kind: Kind::View,
//!     page: "/".into(),
//!     timestamp: 12_000,
//!     session_duration: None,
//!     event_id: Some("e1".into()),
//! };
//! let again = view.clone();
//! let log = vec![Entry::Event(view), Entry::Event(again), Entry::AdvanceWatermark(30_000)];
//! let outcome = compute(&[log], &settings);
//! let ends: Vec<i64> = outcome.windows.iter().map(|window| window.end).collect();
//! assert_eq!(ends, [20_000, 30_000]);
//! assert_eq!(outcome.windows[0].pages[0].view_count, 1);
//! assert_eq!(outcome.duplicates, [vec![1]]);
//! ```
//!
//! # What is computed
//! All times are milliseconds of event time. S is [`Settings::size`], L is [`Settings::slide`].
//!
//! **Windows.** Ends are the multiples of L; the window that ends at `b` covers `[a, b)` with `a = b - S`. A partition's
//! *watermark* is the greatest timestamp read so far less the out-of-orderness, or a greater logged advance. The partition
//! has *sealed* `b` once its watermark is at least `b`; the pipeline has once every partition has. A partition without any
//! entry has no watermark and seals nothing, and a watermark below zero seals ends below zero.
//!
//! **Lateness.** An event counts in those of its S/L windows that its partition had not sealed just before it was read;
//! its own effect on the watermark never closes its own windows. An event with no such window is *late* and changes nothing,
//! neither visits nor the watermark (its timestamp is below that anyway). All others are *accepted*, except duplicates. An
//! accepted event that misses some of its windows is *partly late*, and the windows that it misses are *not whole*.
//!
//! **Duplicates.** The *identity* of an event is its user and its event id; an event without an id, or with an empty one, has
//! none. Per partition, an accepted event has its identity *held*: let `w` be the partition's watermark right after the
//! event was read, the event's own effect included, and `H = S + out-of-orderness +` [`Settings::duplicate_slack`]. The
//! identity is held while the watermark is less than `w + H`, and no longer once it is `w + H` or more. An event that is not
//! late and whose identity is held just before it is read is a *duplicate*: it changes nothing else, neither a window, a
//! visit, the watermark nor how long the identity is held, and is not partly late. Once an identity is no longer held,
//! the next event with it is accepted and has it held again. A copy with the same timestamp is then late: the end of its
//! last window is at most `w + H`.
//!
//! **Caps.** A partition counts an accepted event under its own page if that page is *live* just before the event is read, or if fewer
//! than [`Settings::page_limit`] of its pages are; else under the page `(other)`, which is never live. Let `E` be the last end that the
//! partition has sealed by then. A page is live if an event was counted under it whose last window ends at `E - L` or later. It is live, too,
//! while it has a baseline: views in an aligned window (see trending) that ends at `E` or before, unless all such windows end at `E - S` or
//! before, and the page's part in the weighted sum of the site's views is less than 1e-50.
//!
//! **Known events.** To window `b` are known: the accepted events that were read before their partition sealed `b`. Later ones
//! change nothing about `b`, but count fully (as members, in `t1`, ages and a visit's number of events) for every later
//! window. Known events with `a <= timestamp < b` are the window's *members*.
//!
//! **Visits.** For window `b`, take the known events with `timestamp < b` of one user and session id in one partition, in
//! timestamp order, and split where the gap is greater than the session gap. `t1` is a visit's first timestamp. Its age at an
//! event is the event's session duration where present and within `[0, 86,400]` s, else `timestamp - t1`. Its duration is the
//! greatest age over its events. It is a bounce if it has exactly one event, on whatever page. So a visit that began before
//! the window is no bounce merely because its earlier events fell outside.
//!
//! **Pages.** One row for each page with a member. A page's visits are those with a member on that page.
//! `avg_session_duration = duration_sum_ms / (visits * 1000)`, `bounce_rate = bounces / visits`,
//! `engagement_rate = clicks / views`, or 0.0 without views; each a single division of two integers made `f64`.
//! Users are counted in one set over all partitions.
//!
//! **Top pages.** All pages with a row, those without views too, by views descending, then URL ascending (bytes), the
//! first [`Settings::top`]. The previous rank is the page's rank in that list of the window one slide before, as emitted.
//!
//! **Trending.** *Aligned* windows are `[k*S, (k+1)*S)`; those with `(k+1)*S <= a` lie behind `W = [a, b)`, and E is the end of the
//! last of them. Their views are the sealed ones. They are counted from the first that contains an event known to W;
//! those without events count as zeros. With fewer than [`Settings::warm_up`] of them, W is `warming_up` and nothing trends.
//! Window k weighs `2^(-(E - (k+1)*S) / half_life)`, `m = sum(weight * views) / sum(weight)`, for each page and for the site.
//! `x` being the views in W, `e = m * (site x / site m)`, or 0 where site m is 0;
//! `score = (x - e) / sqrt(e + 1 + (0.15 e)^2)`. A page trends when `x >= 10`, it has at least 5 users,
//! `(x + 3) / (e + 3) >= 1.5` and `score >= 4`. Order: score descending, then URL ascending.

mod comparison;
mod input;
mod intake;
mod live_pages;
pub mod logs;
mod outcome;
mod ranking;
#[cfg(feature = "records")]
mod records;
mod trending;
mod visits;
mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use comparison::compare;
pub use input::{Entry, Event, Kind, Settings};
pub use outcome::{Outcome, Page, Ranked, Site, Trend, Window};

/// Everything the pipeline has to say about these logs, each partition's in reading order.
///
/// # Panics
/// If a setting makes no sense: see [`Settings`].
pub fn compute(partitions: &[Vec<Entry>], settings: &Settings) -> Outcome {
    compute_between(partitions, settings, None, None)
}

/// As [`compute`], with only those of the windows that end after `after` and up to `until`; the others are not worked out where they
/// have no part in these.
///
/// # Panics
/// As [`compute`].
pub fn compute_between(
    partitions: &[Vec<Entry>],
    settings: &Settings,
    after: Option<i64>,
    until: Option<i64>,
) -> Outcome {
    settings.check();
    let intake = intake::Intake::read(partitions, settings);
    let sealed = intake.sealed(settings.slide);
    let last = until.map_or(sealed, |until| sealed.map(|sealed| sealed.min(until)));
    let mut done: BTreeMap<i64, Window> = BTreeMap::new();
    for end in intake.ends(settings) {
        // The one before the first gives the previous ranks, and aligned ones the usual level.
        let has_part = Some(end + settings.slide) > after || end % settings.size == 0;
        if last.is_none_or(|last| end > last) || !has_part {
            continue;
        }
        if let Some(mut window) = window::count(&intake, settings, end) {
            window.top = ranking::rank(&window, done.get(&(end - settings.slide)), settings.top);
            (window.warming_up, window.trending) = trending::find(&intake, settings, &window, &done);
            done.insert(end, window);
        }
    }
    Outcome {
        windows: done.into_values().filter(|window| Some(window.end) > after).collect(),
        sealed,
        late: intake.late,
        partly_late: intake.partly_late,
        duplicates: intake.duplicates,
        other_pages: intake.other_pages,
        not_whole: intake.not_whole,
    }
}
