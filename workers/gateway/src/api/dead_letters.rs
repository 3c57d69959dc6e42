//! Records that are no valid event, or came too late.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::{Format, json_or_table},
    error::RequestError,
    problem::CommonErrors,
    query::{Count, Query, Rows, limit},
};
use crate::{
    store::{
        PipelineState,
        dead_letters::{DeadLetter, MAX_DEAD_LETTERS},
    },
    wire::csv::{Line, Row},
};

/// The newest dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewestDeadLetters {
    /// The topic that has them, with the records as they came unless the pipeline leaves those out.
    topic: String,
    /// When that was last read to its end, milliseconds since the epoch; null where it has not been yet.
    read_at: Option<i64>,
    /// Oldest first.
    dead_letters: Vec<DeadLetter>,
}

impl Row for DeadLetter {
    const COLUMNS: &'static [&'static str] =
        &["number", "timestamp", "reason", "detail", "topic", "partition", "offset"];

    fn write(&self, line: &mut Line<'_>) {
        line.number(self.number);
        line.number(self.timestamp);
        line.text(&self.reason);
        line.text(&self.detail);
        line.text(&self.topic);
        line.optional(self.partition);
        line.optional(self.offset);
    }
}

/// The newest dead letters: why records are not counted, and where they are. Looked for every five seconds.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "stream", params(
    ("limit" = inline(Option<Count<1, { MAX_DEAD_LETTERS as u64 }>>), Query, description = "The newest so many, 1 to 200; 50 if not said."),
    ("format" = inline(Option<Format>), Query),
), responses(
    (status = 200, description = "The newest dead letters", content((NewestDeadLetters = "application/json"), (String = "text/csv"))),
    CommonErrors,
))]
pub async fn dead_letters(
    State(state): State<Arc<PipelineState>>,
    Query(query): Query<Rows<{ MAX_DEAD_LETTERS as u64 }>>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let Rows { limit: asked, format } = query;
    let (dead_letters, read_at) = state.dead_letters(limit(asked, 50));
    let answer =
        NewestDeadLetters { topic: state.in_generation().dead_letters_topic(), read_at, dead_letters };
    Ok(json_or_table(&headers, format, &answer, &answer.dead_letters))
}
