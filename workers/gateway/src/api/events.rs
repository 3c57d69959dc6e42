//! A sample of recent events.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{Format, json_or_table},
    error::RequestError,
    problem::CommonErrors,
    query::{Count, Query, limit},
};
use crate::{
    Gateway,
    store::sample::SampledEvent,
    wire::csv::{Line, Row},
};

/// Maximum number of an event in a request: the greatest that every reader of JSON has exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events whose number is greater.
    #[param(inline)]
    after: Option<Count<0, { MAX_NUMBER }>>,
    /// The newest so many, 1 to 200; 50 if not said.
    #[param(inline)]
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
    const COLUMNS: &'static [&'static str] = &[
        "number",
        "timestamp",
        "event_type",
        "page_url",
        "product_id",
        "visitor",
        "browser",
        "site_id",
        "event_name",
        "revenue_micros",
        "currency",
    ];

    fn write(&self, line: &mut Line<'_>) {
        line.number(self.number);
        line.number(self.timestamp);
        line.text(serde_json::to_value(self.event_type).unwrap_or_default().as_str().unwrap_or_default());
        line.text(&self.page_url);
        line.text(self.product_id.as_deref().unwrap_or_default());
        line.text(&self.visitor);
        line.text(&self.browser);
        line.text(self.site_id.as_deref().unwrap_or_default());
        line.text(self.event_name.as_deref().unwrap_or_default());
        line.optional(self.revenue_micros);
        line.text(self.currency.as_deref().unwrap_or_default());
    }
}

/// A sample of recent events, at most 20 a second, with visitors masked. Each gateway draws its own.
#[utoipa::path(get, path = "/api/v1/events", tag = "stream", params(EventsQuery), responses(
    (status = 200, description = "The sample", content((Events = "application/json"), (String = "text/csv"))),
    CommonErrors,
))]
pub async fn events(
    State(gateway): State<Gateway>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let EventsQuery { after, limit: asked, format } = query;
    let limit = limit(asked, 50);
    let events = gateway.shared.default.state.events(after.map_or(0, |after| after.0), limit);
    let events = Events { instance: gateway.shared.instance.clone(), events };
    Ok(json_or_table(&headers, format, &events, &events.events))
}
