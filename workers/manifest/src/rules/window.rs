//! Rules about windows and durations.

use crate::{Duration, PipelineSpec, Problem};

/// Slices per window that the engine keeps: a day of windows every ten seconds.
const MAX_SLICES: i64 = 8_640;

/// More than a day's events wait for is a mistake.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// Identities of so much more event time than the window's are part of the state.
const MAX_SLACK: Duration = Duration::from_secs(3_600);

pub(super) fn slide_is_a_tick(spec: &PipelineSpec) -> Vec<Problem> {
    let slide = spec.window.slide;
    if slide.as_millis() >= 100 {
        return Vec::new();
    }
    let message = format!("found {slide}, expected at least 100ms: each slide costs a transaction");
    vec![Problem::new("spec.window.slide", message)]
}

pub(super) fn size_is_a_multiple_of_slide(spec: &PipelineSpec) -> Vec<Problem> {
    let (size, slide) = (spec.window.size, spec.window.slide);
    let path = "spec.window.size";
    if size.as_millis() == 0 {
        return vec![Problem::new(path, "found 0s, expected more: a window without length holds no event")];
    }
    if slide.as_millis() == 0 {
        return Vec::new();
    }
    if size.as_millis() % slide.as_millis() != 0 {
        let message = format!(
            "found {size}, expected a multiple of window.slide ({slide}): windows are made of whole slides, such as {}",
            Duration::from_millis((size.as_millis() / slide.as_millis() + 1) * slide.as_millis()),
        );
        return vec![Problem::new(path, message)];
    }
    let slices = size.as_millis() / slide.as_millis();
    if slices > MAX_SLICES {
        let message = format!(
            "found {size}, which is {slices} slides of {slide}, expected at most {MAX_SLICES} (here {}): each slide \
             of a window is kept apart",
            Duration::from_millis(slide.as_millis() * MAX_SLICES),
        );
        return vec![Problem::new(path, message)];
    }
    Vec::new()
}

pub(super) fn spans_are_positive(spec: &PipelineSpec) -> Vec<Problem> {
    [
        ("spec.window.sessionGap", spec.window.session_gap, "without it every event is a visit"),
        (
            "spec.window.idleTimeout",
            spec.window.idle_timeout,
            "without it every pause seals windows too early",
        ),
    ]
    .into_iter()
    .filter(|(_, span, _)| span.as_millis() == 0)
    .map(|(path, _, why)| Problem::new(path, format!("found 0s, expected more: {why}")))
    .collect()
}

pub(super) fn half_life_is_a_second(spec: &PipelineSpec) -> Vec<Problem> {
    let half_life = spec.ranking.trending_half_life;
    if half_life.as_millis() >= 1_000 {
        return Vec::new();
    }
    let message = format!("found {half_life}, expected at least 1s: a shorter memory knows no usual level");
    vec![Problem::new("spec.ranking.trendingHalfLife", message)]
}

pub(super) fn spans_are_bounded(spec: &PipelineSpec) -> Vec<Problem> {
    let window = &spec.window;
    [
        (
            "spec.window.outOfOrderness",
            window.out_of_orderness,
            MAX_WAIT,
            "results wait that long, and the windows of that time are kept in memory",
        ),
        (
            "spec.window.maxFuture",
            window.max_future,
            MAX_WAIT,
            "one event that far ahead of the clock makes all events before it late",
        ),
        (
            "spec.window.duplicateSlack",
            window.duplicate_slack,
            MAX_SLACK,
            "the ids of all events of that time are kept in memory",
        ),
    ]
    .into_iter()
    .filter(|(_, span, most, _)| span > most)
    .map(|(path, span, most, why)| {
        Problem::new(path, format!("found {span}, expected at most {most}: {why}"))
    })
    .collect()
}
