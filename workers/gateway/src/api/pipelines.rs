//! The pipelines that are shown.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use utoipa::ToSchema;
use weir_manifest::Pipeline;

use super::{
    answer::json,
    problem::CommonErrors,
    query::{NoParameters, Query},
};
use crate::Gateway;

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
    CommonErrors,
))]
pub async fn pipelines(
    State(gateway): State<Gateway>,
    Query(NoParameters {}): Query<NoParameters>,
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
