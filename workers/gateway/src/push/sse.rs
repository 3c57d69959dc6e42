//! `/api/v1/stream`: the same as server-sent events, for curl. Values always come whole.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, RefOr,
        schema::{Schema, Type},
    },
};

use super::{
    session::{Session, Update},
    socket::named,
};
use crate::{
    Gateway,
    api::{
        error::RequestError,
        problem::Problem,
        query::{PageUrl, Query, Time},
    },
    wire::{frame::Frame, topic::Topic},
};

/// Time without an event after which a comment is sent as a heartbeat.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Of `site`, `top`, `health`, `windows`, separated by commas; all of them if not said.
    #[param(value_type = Option<TopicNames>, inline, style = Form, explode = false, example = json!(["site", "windows"]))]
    topics: Option<String>,
    /// One page to watch besides, exactly as in its events.
    #[param(inline)]
    page: Option<PageUrl>,
    /// End of the last sealed window that the client has: it gets those since then. A `Last-Event-ID` says the same.
    #[param(inline)]
    after: Option<Time>,
}

/// What the document says of `topics`.
enum TopicNames {}

impl PartialSchema for TopicNames {
    fn schema() -> RefOr<Schema> {
        let names = Topic::NAMED.map(|topic| topic.name());
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        ArrayBuilder::new().items(name).min_items(Some(1)).into()
    }
}

impl ToSchema for TopicNames {}

/// Live values as server-sent events: `event` names the topic, `data` is the whole value.
#[utoipa::path(get, path = "/api/v1/stream", tag = "live", params(StreamQuery), responses(
    (status = 200, description = "Events, until the client leaves", content_type = "text/event-stream", body = String),
    (status = 400, description = "A parameter is not understood", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many clients", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn stream(
    State(gateway): State<Gateway>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let StreamQuery { topics, page, after } = query;
    let names = topics.unwrap_or_else(|| "site,top,health,windows".to_owned());
    let names = names.split(',').map(str::to_owned).collect();
    let topics = named(names, page.into_iter().map(|page| page.0).collect())?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let mut session = Session::open(&gateway)?;
    session.subscribe(topics, after.map(|after| after.0).or(last))?;
    let mut frames = session.frames();
    frames.mark_changed();
    let heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
    let events = Events { session, frames, waiting: VecDeque::new(), gateway, heartbeat_due };
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events.into_stream())).into_response())
}

struct Events {
    session: Session,
    frames: watch::Receiver<Arc<Frame>>,
    waiting: VecDeque<String>,
    gateway: Gateway,
    /// When a heartbeat comment is due: a frame may have no event for this client.
    heartbeat_due: Instant,
}

impl Events {
    /// The connection pulls the next event once it has room: a slow client misses frames and fills no queue.
    fn into_stream(self) -> impl futures_util::Stream<Item = Result<String, Infallible>> {
        futures_util::stream::unfold(
            self,
            |mut events| async move { Some((Ok(events.next().await?), events)) },
        )
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
                return Some(event);
            }
            tokio::select! {
                changed = self.frames.changed() => {
                    changed.ok()?;
                    let frame = self.frames.borrow_and_update().clone();
                    self.waiting = self.session.updates(&frame).iter().map(event).collect();
                }
                () = time::sleep_until(self.heartbeat_due) => {
                    self.heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
                    return Some(":\n\n".to_owned());
                }
                () = self.gateway.shared.stopping.cancelled() => return None,
            }
        }
    }
}

/// JSON has no line breaks of its own, so one `data` line holds it.
fn event(update: &Update) -> String {
    let written = |name: &str, value: &Value| format!("event: {name}\ndata: {value}\n");
    match update {
        Update::Value { topic: Topic::Page(url), value, .. } => {
            let mut value = value.value.clone();
            value["page"] = Value::from(url.as_str());
            written("page", &value) + "\n"
        }
        Update::Value { topic, value, .. } => written(topic.name(), &value.value) + "\n",
        Update::Sealed(window) => format!("{}id: {}\n\n", written("sealed", &window.value), window.end),
    }
}
