//! `/api/v1/live`: what happens, as it happens, over a WebSocket or as server-sent events.
//!
//! Every message is whole, so a client that missed some needs nothing but the next. One that does not read holds nothing up: it
//! misses messages, and is told how many.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use weir_analytics::Live;

use crate::{
    Shared,
    api::{self, Asked},
    origin,
};

/// Time without a message after which the socket is tried.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest time that one message may take to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message to all subscribers, numbered.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) number: u64,
    /// As those get it who asked for nothing in particular: made once for all of them.
    pub(crate) text: Arc<str>,
    /// What the open window shows, if that is what it is about.
    pub(crate) open: Option<Arc<Live>>,
}

pub(crate) async fn socket(
    State(shared): State<Shared>,
    asked: Asked,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(problem) = origin::check(&headers) {
        return problem.into_response();
    }
    let news = shared.subscribe();
    upgrade.max_message_size(4_096).on_upgrade(move |socket| tell(socket, news, asked.search))
}

async fn tell(mut socket: WebSocket, mut news: Receiver<News>, search: Option<String>) {
    loop {
        let message = tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            told = tokio::time::timeout(HEARTBEAT, news.recv()) => match told {
                Err(_) => Message::Ping(axum::body::Bytes::new()),
                Ok(told) => match text(told, search.as_deref()) {
                    Some((_, text)) => Message::Text((&*text).into()),
                    None => return,
                },
            },
        };
        // One that never reads fills its buffers and is let go.
        match tokio::time::timeout(PATIENCE, socket.send(message)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

pub(crate) async fn events(State(shared): State<Shared>, asked: Asked) -> impl IntoResponse {
    let told = stream::unfold((shared.subscribe(), asked.search), |(mut news, search)| async move {
        let (number, text) = text(news.recv().await, search.as_deref())?;
        let event = Event::default().id(number.to_string()).data(&*text);
        Some((Ok::<_, Infallible>(event), (news, search)))
    });
    Sse::new(told).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

fn text(told: Result<News, RecvError>, search: Option<&str>) -> Option<(u64, Arc<str>)> {
    match told {
        Ok(News { number, text, open }) => match (open, search) {
            (Some(open), Some(_)) => {
                let mut message = api::provisional(&open, search);
                message["sequence"] = number.into();
                Some((number, message.to_string().into()))
            }
            _ => Some((number, text)),
        },
        Err(RecvError::Lagged(missed)) => Some((0, json!({"missed": missed}).to_string().into())),
        Err(RecvError::Closed) => None,
    }
}
