//! The pipeline's progress, and whether this gateway is ready.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::json,
    error::RequestError,
    problem::CommonErrors,
    query::{NoParameters, Query},
};
use weir_telemetry::millis;

use crate::{
    Gateway,
    store::{
        PipelineState,
        progress::{ProgressView, ended, watermark},
        windows::StoreStats,
    },
};

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
    /// Events that were counted before and have been sent again: they change nothing.
    duplicates: u64,
    /// Counted events whose page was one too many (`limits.pages`): they count under the page `(other)`.
    other_pages: u64,
    /// Records whose visitor belongs into another partition: such a visitor is counted once in each partition with such records.
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
    /// Clients that were disconnected because they did not read or broke the rules, since the start.
    evicted: u64,
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
    /// Events that were counted before and have been sent again: they change nothing.
    duplicates: u64,
    /// Counted events whose page was one too many (`limits.pages`): they count under the page `(other)`.
    other_pages: u64,
    /// Records whose visitor belongs into another partition: such a visitor is counted once in each partition with such records.
    misplaced: u64,
    /// The log was declared to end (`weir process --until-end`): its last windows are sealed ahead of the clock, in some partition.
    ended: bool,
    /// The end of the last window whose results went with their topic, because that was deleted and made anew; null where none did.
    results_lost_up_to: Option<i64>,
    /// The number of the pipeline's generation: the next one begins where settings change that decide results.
    generation: u32,
    /// After the first generation: windows up to this end are not of this one. They were told before, or cannot be told, because events in their
    /// reach were no longer there. Null in the first, and until it is known.
    told_after: Option<i64>,
    /// Those partitions that something was committed for.
    partitions: Vec<PartitionHealth>,
    /// What this gateway holds.
    held: Held,
}

/// Where the stream stands: watermark, lag, late events, dead letters.
#[utoipa::path(get, path = "/api/v1/health", tag = "stream", responses(
    (status = 200, description = "Where the stream stands", body = Health),
    CommonErrors,
))]
pub async fn health(
    State(gateway): State<Gateway>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
) -> Response {
    let state = &gateway.shared.default.state;
    let (at, reason, received_at) = (millis(), state.unready(), state.live_received_at());
    let (partitions, results_lost_up_to) = {
        let progress = state.progress();
        (progress.partitions.clone(), progress.lost_up_to)
    };
    let watermark = watermark(&partitions);
    let partition = |partition: &ProgressView| PartitionHealth {
        partition: partition.partition,
        watermark: partition.watermark,
        sealed: partition.sealed,
        idle: partition.idle,
        lag: partition.lag,
        read: partition.read,
        counted: partition.counted,
        late: partition.late,
        dead_letters: partition.dead_letters,
        partly_late: partition.partly_late,
        not_whole: partition.not_whole.as_slice().iter().map(|&(first, last)| Ends { first, last }).collect(),
        duplicates: partition.duplicates,
        other_pages: partition.other_pages,
        misplaced: partition.misplaced,
        ended: partition.ended,
    };
    let unreadable = state.unreadable();
    let (window_end, StoreStats { windows, pages, bytes, .. }) = {
        let store = state.windows();
        (store.latest().map(|window| window.end()), store.stats())
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
        silent_ms: received_at.map(|received_at| (at - received_at).max(0)),
        simulated: state.simulated(),
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        expected_partitions: state.manifest().spec.topics.events.partitions,
        late: partitions.iter().map(|partition| partition.late).sum(),
        dead_letters: partitions.iter().map(|partition| partition.dead_letters).sum(),
        partly_late: partitions.iter().map(|partition| partition.partly_late).sum(),
        duplicates: partitions.iter().map(|partition| partition.duplicates).sum(),
        other_pages: partitions.iter().map(|partition| partition.other_pages).sum(),
        misplaced: partitions.iter().map(|partition| partition.misplaced).sum(),
        ended: ended(&partitions),
        results_lost_up_to,
        generation: state.generation(),
        told_after: partitions.iter().map(|partition| partition.told_after).max().flatten(),
        partitions: partitions.iter().map(partition).collect(),
        held: Held {
            windows,
            pages,
            bytes,
            unreadable,
            clients: gateway.shared.clients.load(Ordering::Relaxed),
            evicted: gateway.shared.evicted.load(Ordering::Relaxed),
        },
    };
    json(&headers, &health)
}

/// Whether the process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the results and rankings were recently read to their ends.
pub async fn readyz(State(state): State<Arc<PipelineState>>) -> Response {
    match state.unready() {
        None => "ready\n".into_response(),
        Some(why) => RequestError::NotReady(why).into_response(),
    }
}
