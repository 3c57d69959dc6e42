//! `/api/v1/live`: what happens, as it happens, over a WebSocket or as server-sent events.
//!
//! Every message is whole, so a client that missed some needs nothing but the next. One that does not read holds nothing up: it
//! misses messages, and is told how many.

use std::{convert::Infallible, time::Duration};

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

use crate::{Shared, origin};

/// Time without a message after which the socket is tried.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest time that one message may take to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message to all subscribers, numbered.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) number: u64,
    pub(crate) text: std::sync::Arc<str>,
}

pub(crate) async fn socket(
    State(shared): State<Shared>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(problem) = origin::check(&headers) {
        return problem.into_response();
    }
    let news = shared.subscribe();
    upgrade.max_message_size(4_096).on_upgrade(move |socket| tell(socket, news))
}

async fn tell(mut socket: WebSocket, mut news: Receiver<News>) {
    loop {
        let message = tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            told = tokio::time::timeout(HEARTBEAT, news.recv()) => match told {
                Err(_) => Message::Ping(axum::body::Bytes::new()),
                Ok(told) => match text(told) {
                    Some((_, text)) => Message::Text(text.into()),
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

pub(crate) async fn events(State(shared): State<Shared>) -> impl IntoResponse {
    let told = stream::unfold(shared.subscribe(), |mut news| async move {
        let (number, text) = text(news.recv().await)?;
        let event = Event::default().id(number.to_string()).data(text);
        Some((Ok::<_, Infallible>(event), news))
    });
    Sse::new(told).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

fn text(told: Result<News, RecvError>) -> Option<(u64, String)> {
    match told {
        Ok(news) => Some((news.number, news.text.to_string())),
        Err(RecvError::Lagged(missed)) => Some((0, json!({"missed": missed}).to_string())),
        Err(RecvError::Closed) => None,
    }
}
