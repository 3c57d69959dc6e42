//! What is so right now: the pipeline, provisional values, where the stream stands, recent events.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_manifest::Pipeline;

use super::{
    answer::{Format, json, json_or_table},
    problem::{Otherwise, Problem},
    query::{Count, Nothing, Query, limit},
};
use crate::{
    Gateway,
    store::{
        PipelineState,
        progress::{Standing, ended, watermark},
        sample::SampledEvent,
    },
    sync::millis,
    wire::{
        csv::{Line, Row},
        values::{Open, Provisional},
    },
};

/// A pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct PipelineInfo {
    /// Its name.
    name: String,
    /// Length of a window, milliseconds.
    window_size_ms: i64,
    /// Time between the ends of two windows, milliseconds.
    window_slide_ms: i64,
    /// How much older than the newest event of its partition an event may be and still count everywhere, milliseconds.
    out_of_orderness_ms: i64,
    /// Silence after which a partition no longer holds results back, milliseconds.
    idle_timeout_ms: i64,
    /// Longest pause within a visit, milliseconds.
    session_gap_ms: i64,
    /// Length of the ranking.
    ranking_top: u32,
    /// Partitions of the events topic.
    partitions: i32,
    /// Where its events come from.
    events_topic: String,
    /// Where its results go.
    results_topic: String,
    /// Where its rankings go.
    top_pages_topic: String,
}

/// The pipelines that are shown here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pipelines {
    /// One, as things are.
    pipelines: Vec<PipelineInfo>,
}

/// The pipelines that are shown here, and what their numbers mean.
#[utoipa::path(get, path = "/api/v1/pipelines", tag = "stream", responses(
    (status = 200, description = "The pipelines", body = Pipelines),
    Otherwise,
))]
pub async fn pipelines(
    State(gateway): State<Gateway>,
    Query(Nothing {}): Query<Nothing>,
    headers: HeaderMap,
) -> Response {
    let pipelines = gateway.pipelines().map(|pipeline| info(pipeline.state.manifest())).collect();
    json(&headers, &Pipelines { pipelines })
}

fn info(pipeline: &Pipeline) -> PipelineInfo {
    let window = &pipeline.spec.window;
    PipelineInfo {
        name: pipeline.metadata.name.clone(),
        window_size_ms: window.size.as_millis(),
        window_slide_ms: window.slide.as_millis(),
        out_of_orderness_ms: window.out_of_orderness.as_millis(),
        idle_timeout_ms: window.idle_timeout.as_millis(),
        session_gap_ms: window.session_gap.as_millis(),
        ranking_top: pipeline.spec.ranking.top,
        partitions: pipeline.spec.topics.events.partitions,
        events_topic: pipeline.events_topic().to_owned(),
        results_topic: pipeline.results_topic().to_owned(),
        top_pages_topic: pipeline.top_pages_topic().to_owned(),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NowQuery {
    /// The most viewed so many pages, 1 to 1,000; 50 if not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Count<1, 1_000>>,
    #[param(inline)]
    format: Option<Format>,
}

/// A page in the open window: provisional.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageNow {
    /// The page.
    page_url: String,
    /// Its values so far.
    #[serde(flatten)]
    now: Provisional,
    /// For the table: JSON has it once.
    #[serde(skip)]
    window_end: Option<i64>,
}

impl Row for PageNow {
    const COLUMNS: &'static [&'static str] = &[
        "page_url",
        "view_count",
        "click_count",
        "cart_count",
        "conversion_count",
        "unique_users",
        "window_end",
    ];

    fn write(&self, line: &mut Line<'_>) {
        line.text(&self.page_url);
        line.number(self.now.view_count);
        line.number(self.now.click_count);
        line.number(self.now.cart_count);
        line.number(self.now.conversion_count);
        line.number(self.now.unique_users);
        line.optional(self.window_end);
    }
}

/// What the open window shows: provisional, replaced by final values when it is sealed.
#[derive(Debug, Serialize, ToSchema)]
pub struct NowValues {
    /// Always true.
    provisional: bool,
    /// Which window that is.
    #[serde(flatten)]
    open: Open,
    /// All pages together; null before anything was heard.
    site: Option<Provisional>,
    /// How many pages have an event.
    page_count: usize,
    /// Most viewed first.
    pages: Vec<PageNow>,
}

/// What the open window shows right now. Provisional: final values never depend on it.
#[utoipa::path(get, path = "/api/v1/now", tag = "live", params(NowQuery), responses(
    (status = 200, description = "Provisional values", content((NowValues = "application/json"), (String = "text/csv"))),
    Otherwise,
))]
pub async fn now(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<NowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let NowQuery { limit: asked, format } = query;
    let limit = limit(asked, 50);
    let sum = state.live();
    let window_end = sum.as_ref().map(|sum| sum.end);
    let page =
        |row: &weir_analytics::LiveRow| PageNow { page_url: row.url.clone(), now: row.into(), window_end };
    let pages = sum.as_ref().map_or(&[][..], |sum| &sum.pages);
    let values = NowValues {
        provisional: true,
        open: Open::of(&state, sum.as_ref()),
        site: sum.as_ref().map(|sum| (&sum.site).into()),
        page_count: pages.len(),
        pages: pages.iter().take(limit).map(page).collect(),
    };
    Ok(json_or_table(&headers, format, &values, &values.pages))
}

/// One input partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartitionHealth {
    /// Its number.
    partition: i32,
    /// Its watermark.
    watermark: Option<i64>,
    /// The end up to which its windows are sealed.
    sealed: Option<i64>,
    /// Read to its end, and silent since.
    idle: bool,
    /// Records that are there and not read yet.
    lag: i64,
    /// Records read.
    read: u64,
    /// Events counted.
    counted: u64,
    /// Events that missed all their windows.
    late: u64,
    /// Records that are no valid event.
    dead_letters: u64,
    /// Counted events that missed some of their windows, because those were sealed.
    partly_late: u64,
    /// The windows that those events missed, which are not whole. At most eight ranges: windows between two may be in one without reason.
    not_whole: Vec<Ends>,
    /// Records whose visitor belongs into another partition: he is counted once in each that he appears in.
    misplaced: u64,
    /// The log was declared to end (`weir process --until-end`), and its last windows were sealed ahead of the clock.
    ended: bool,
}

/// Windows in a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ends {
    /// The end of the first.
    first: i64,
    /// The end of the last.
    last: i64,
}

/// What this gateway holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Held {
    /// Sealed windows.
    windows: usize,
    /// Distinct pages.
    pages: usize,
    /// Bytes of the windows, without the pages' URLs.
    bytes: usize,
    /// Records that could not be read or held.
    unreadable: u64,
    /// Clients that are pushed to.
    clients: usize,
    /// Clients that were let go, since the start.
    let_go: u64,
}

/// Where the stream stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Whether the results and rankings were read, not long ago, to an end that was asked for since the last trouble.
    ready: bool,
    /// Why not, if not.
    reason: Option<String>,
    /// What it does without: topics that cannot be read and are not needed to be ready.
    warnings: Vec<String>,
    /// This process's clock, milliseconds since the epoch.
    at: i64,
    /// The smallest watermark of the partitions that are not idle; null while one has none.
    watermark: Option<i64>,
    /// How far the watermark is behind the clock, milliseconds. It includes the wait for events that come out of order. Negative where it
    /// is ahead: the log was declared to end, or a sender's clock is fast.
    watermark_lag_ms: Option<i64>,
    /// The end of the newest complete window.
    window_end: Option<i64>,
    /// How long ago by this process's clock the newest complete window ended, milliseconds; null before there is one. Negative where it was sealed
    /// ahead of the clock.
    window_age_ms: Option<i64>,
    /// Milliseconds since provisional values last came; null before any did.
    silent_ms: Option<i64>,
    /// How many times faster than the clock event time runs, where the events are a demo's; null otherwise.
    simulated: Option<f64>,
    /// Records that are there and not read yet.
    lag: i64,
    /// How many partitions the events topic has.
    expected_partitions: i32,
    /// Events that missed all their windows.
    late: u64,
    /// Records that are no valid event.
    dead_letters: u64,
    /// Counted events that missed some of their windows, because those were sealed: where it is not 0, some final window is not whole.
    partly_late: u64,
    /// Records whose visitor belongs into another partition: he is counted once in each that he appears in.
    misplaced: u64,
    /// The log was declared to end (`weir process --until-end`): its last windows are sealed ahead of the clock, in some partition.
    ended: bool,
    /// The end of the last window whose results went with their topic, because that was deleted and made anew; null where none did.
    results_lost_up_to: Option<i64>,
    /// Those partitions that something was committed for.
    partitions: Vec<PartitionHealth>,
    /// What this gateway holds.
    held: Held,
}

/// Where the stream stands: watermark, lag, late events, dead letters.
#[utoipa::path(get, path = "/api/v1/health", tag = "stream", responses(
    (status = 200, description = "Where the stream stands", body = Health),
    Otherwise,
))]
pub async fn health(
    State(gateway): State<Gateway>,
    Query(Nothing {}): Query<Nothing>,
    headers: HeaderMap,
) -> Response {
    let state = &gateway.shared.default.state;
    let (at, reason, heard) = (millis(), state.unready(), state.live_received_at());
    let (standings, results_lost_up_to) = {
        let progress = state.progress();
        (progress.partitions.clone(), progress.lost_up_to)
    };
    let watermark = watermark(&standings);
    let partition = |standing: &Standing| PartitionHealth {
        partition: standing.partition,
        watermark: standing.watermark,
        sealed: standing.sealed,
        idle: standing.idle,
        lag: standing.lag,
        read: standing.read,
        counted: standing.counted,
        late: standing.late,
        dead_letters: standing.dead_letters,
        partly_late: standing.partly_late,
        not_whole: standing.not_whole.as_slice().iter().map(|&(first, last)| Ends { first, last }).collect(),
        misplaced: standing.misplaced,
        ended: standing.ended,
    };
    let unreadable = state.unreadable();
    let (window_end, (windows, pages, bytes, _)) = {
        let store = state.windows();
        (store.latest().map(|window| window.end()), store.held())
    };
    let health = Health {
        ready: reason.is_none(),
        reason,
        warnings: state.warnings(),
        at,
        watermark,
        watermark_lag_ms: watermark.map(|watermark| at - watermark),
        window_end,
        window_age_ms: state.window_age(at),
        silent_ms: heard.map(|heard| (at - heard).max(0)),
        simulated: state.simulated(),
        lag: standings.iter().map(|standing| standing.lag).sum(),
        expected_partitions: state.manifest().spec.topics.events.partitions,
        late: standings.iter().map(|standing| standing.late).sum(),
        dead_letters: standings.iter().map(|standing| standing.dead_letters).sum(),
        partly_late: standings.iter().map(|standing| standing.partly_late).sum(),
        misplaced: standings.iter().map(|standing| standing.misplaced).sum(),
        ended: ended(&standings),
        results_lost_up_to,
        partitions: standings.iter().map(partition).collect(),
        held: Held {
            windows,
            pages,
            bytes,
            unreadable,
            clients: gateway.shared.clients.load(Ordering::Relaxed),
            let_go: gateway.shared.let_go.load(Ordering::Relaxed),
        },
    };
    json(&headers, &health)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events whose number is greater.
    #[param(value_type = Option<u32>, minimum = 0)]
    after: Option<Count<0, { u32::MAX }>>,
    /// The newest so many, 1 to 200; 50 if not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<Count<1, 200>>,
    #[param(inline)]
    format: Option<Format>,
}

/// Recent events.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// Tells the numbers of this gateway process from those of others.
    instance: String,
    /// Oldest first.
    events: Vec<SampledEvent>,
}

impl Row for SampledEvent {
    const COLUMNS: &'static [&'static str] =
        &["number", "timestamp", "event_type", "page_url", "product_id", "visitor", "browser"];

    fn write(&self, line: &mut Line<'_>) {
        line.number(self.number);
        line.number(self.timestamp);
        line.text(serde_json::to_value(self.event_type).unwrap_or_default().as_str().unwrap_or_default());
        line.text(&self.page_url);
        line.text(self.product_id.as_deref().unwrap_or_default());
        line.text(&self.visitor);
        line.text(&self.browser);
    }
}

/// A sample of recent events, at most 20 a second, with visitors masked. Each gateway draws its own.
#[utoipa::path(get, path = "/api/v1/events", tag = "stream", params(EventsQuery), responses(
    (status = 200, description = "The sample", content((Events = "application/json"), (String = "text/csv"))),
    Otherwise,
))]
pub async fn events(
    State(gateway): State<Gateway>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let EventsQuery { after, limit: asked, format } = query;
    let limit = limit(asked, 50);
    let events = gateway.shared.default.state.events(after.map_or(0, |after| after.0.into()), limit);
    let events = Events { instance: gateway.shared.instance.clone(), events };
    Ok(json_or_table(&headers, format, &events, &events.events))
}

/// Whether the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether it can answer with everything that was there a moment ago.
pub async fn readyz(State(state): State<Arc<PipelineState>>) -> Response {
    match state.unready() {
        None => "ready\n".into_response(),
        Some(why) => Problem::not_ready(why).into_response(),
    }
}
