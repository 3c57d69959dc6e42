//! Tiny logs, worked out by hand. The numbers in the comments are seconds.
#![allow(clippy::unwrap_used)]

mod comparing;
mod duplicates;
mod lateness;
mod live_pages;
mod making_logs;
mod pages;
mod ranks;
mod trends;
mod visiting;

use crate::{Entry, Event, Kind, Outcome, Page, Settings, Site, Window, compute};

/// Windows of 20 s every 10 s, nothing out of order, visits end after 30 s.
fn settings() -> Settings {
    Settings {
        size: 20_000,
        slide: 10_000,
        out_of_orderness: 0,
        session_gap: 30_000,
        top: 3,
        trending_half_life: 20_000,
        warm_up: 2,
        duplicate_slack: 0,
        page_limit: None,
        visits_span_users: false,
    }
}

/// A view; the session is the user's one.
fn view(user: &str, page: &str, seconds: i64) -> Event {
    event(user, Kind::View, page, seconds)
}

fn event(user: &str, kind: Kind, page: &str, seconds: i64) -> Event {
    Event {
        user: user.into(),
        session: format!("{user}-session"),
        kind,
        page: page.into(),
        timestamp: seconds * 1000,
        session_duration: None,
        event_id: None,
    }
}

/// One partition's log, after which it is idle up to `idle` seconds.
fn log(events: impl IntoIterator<Item = Event>, idle: i64) -> Vec<Entry> {
    let entries = events.into_iter().map(Entry::Event);
    entries.chain([Entry::AdvanceWatermark(idle * 1000)]).collect()
}

/// The outcome for one partition that is idle for ever afterwards.
fn outcome(events: impl IntoIterator<Item = Event>) -> Outcome {
    compute(&[log(events, 1_000)], &settings())
}

fn ends(outcome: &Outcome) -> Vec<i64> {
    outcome.windows.iter().map(|window| window.end / 1000).collect()
}

fn window(outcome: &Outcome, end: i64) -> &Window {
    outcome.windows.iter().find(|window| window.end == end * 1000).unwrap()
}

fn page<'a>(outcome: &'a Outcome, end: i64, page: &str) -> &'a Page {
    window(outcome, end).pages.iter().find(|row| row.page == page).unwrap()
}
