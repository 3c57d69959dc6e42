//! `/api/v1/live`: the WebSocket.

use std::time::Duration;

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{self, Instant};
use weir_events::looks_like;

use super::session::Session;
use weir_telemetry::millis;

use crate::{
    Gateway,
    api::{error::RequestError, problem::Problem, query},
    wire::topic::Topic,
};

/// Maximum bytes of a message from a client.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Maximum bytes of one that are read, so that the client can still be sent the reason.
const MAX_READ_BYTES: usize = 4 * MAX_MESSAGE_BYTES;
/// Maximum messages from a client within [`MESSAGE_PERIOD`].
const MAX_MESSAGES_PER_PERIOD: u32 = 50;
const MESSAGE_PERIOD: Duration = Duration::from_secs(10);
/// Time without any message after which a heartbeat is sent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a connection is read after its close frame, so that its client receives the reason.
const CLOSE_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How long sending the reason may take.
const CLOSE_SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum bytes of a close frame's reason (RFC 6455, 5.5): a client drops the connection for a longer one, without any reason.
const MAX_REASON_BYTES: usize = 123;

/// A message from a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ClientMessage {
    /// Subscribes to these topics.
    Subscribe {
        #[serde(default)]
        topics: Vec<String>,
        #[serde(default)]
        pages: Vec<String>,
        /// The end of the last sealed window that it has.
        after: Option<i64>,
    },
    /// Unsubscribes from these.
    Unsubscribe {
        #[serde(default)]
        topics: Vec<String>,
        #[serde(default)]
        pages: Vec<String>,
    },
}

/// An error in a client's message.
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the message names nothing: expected `topics`, such as [\"site\"], or `pages`")]
    Empty,
    #[error("after is {after}, expected milliseconds since the epoch; it looks like {unit}")]
    Unit { after: i64, unit: &'static str },
    #[error(transparent)]
    Topics(#[from] RequestError),
}

/// Why a connection is closed: code and text.
struct CloseReason(u16, String);

impl CloseReason {
    /// 1008: the client breaks the protocol.
    fn protocol(why: impl Into<String>) -> Self {
        Self(1008, why.into())
    }

    /// The frame; messages of clients may be quoted in the reason, so it is cut to what fits.
    fn frame(self) -> CloseFrame {
        let Self(code, mut reason) = self;
        if reason.len() > MAX_REASON_BYTES {
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES - '…'.len_utf8()));
            reason.push('…');
        }
        CloseFrame { code, reason: reason.into() }
    }

    /// 1009: a message is too long.
    fn too_long() -> Self {
        Self(1009, format!("a message has at most {MAX_MESSAGE_BYTES} bytes"))
    }

    /// 1013: the client reads too slowly and may reconnect.
    fn slow(write_timeout: Duration) -> Self {
        Self(1013, format!("too slow: nothing taken for {write_timeout:?}; reconnect and resume"))
    }
}

/// Live values over a WebSocket; `docs/api.md` has the messages.
#[utoipa::path(get, path = "/api/v1/live", tag = "live", responses(
    (status = 101, description = "A WebSocket; docs/api.md has its messages"),
    (status = 400, description = "Not the beginning of a WebSocket", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many clients", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn live(
    State(gateway): State<Gateway>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, RequestError> {
    let upgrade = upgrade.map_err(|source| RequestError::NoWebSocket { source })?;
    let session = Session::open(&gateway)?;
    Ok(upgrade
        .max_message_size(MAX_READ_BYTES)
        .max_frame_size(MAX_READ_BYTES)
        .write_buffer_size(4 << 10)
        .max_write_buffer_size(1 << 20)
        .read_buffer_size(4 << 10)
        .on_upgrade(move |socket| serve(gateway, session, socket)))
}

async fn serve(gateway: Gateway, mut session: Session, mut socket: WebSocket) {
    let Err(CloseReason(code, reason)) = exchange_messages(&gateway, &mut session, &mut socket).await else {
        return;
    };
    if code != 1001 {
        gateway.shared.evicted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    tracing::info!(code, %reason, "closing a WebSocket connection");
    let close = CloseReason(code, reason).frame();
    let _ = time::timeout(CLOSE_SEND_TIMEOUT, socket.send(Message::Close(Some(close)))).await;
    // A connection that is closed while there is something unread is reset, and its client may never see the reason.
    let _ = time::timeout(CLOSE_READ_TIMEOUT, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    if code == 1009 {
        time::sleep(CLOSE_READ_TIMEOUT).await;
    }
}

/// Serves until the client is gone (`Ok`), or must be closed.
async fn exchange_messages(
    gateway: &Gateway,
    session: &mut Session,
    socket: &mut WebSocket,
) -> Result<(), CloseReason> {
    let shared = &gateway.shared;
    let write_timeout = shared.limits.write_timeout;
    let mut frames = session.frames();
    let hello = json!({
        "type": "hello",
        "instance": shared.instance,
        "pipeline": session.pipeline(),
        "sequence": frames.borrow().sequence,
        "at": millis(),
        "heartbeat_ms": HEARTBEAT_INTERVAL.as_millis() as u64,
    });
    send(socket, hello.to_string().into(), write_timeout).await?;
    let (mut period, mut messages) = (Instant::now(), 0);
    // From the last message, not the last frame: a frame may have nothing for this client.
    let mut heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
    loop {
        tokio::select! {
            received = socket.recv() => {
                let message = match received {
                    Some(Ok(message)) => message,
                    Some(Err(error)) if error.to_string().contains("too long") => return Err(CloseReason::too_long()),
                    // The library answers protocol errors; a broken connection needs no answer.
                    Some(Err(_)) | None => return Ok(()),
                };
                if period.elapsed() > MESSAGE_PERIOD {
                    (period, messages) = (Instant::now(), 0);
                }
                messages += 1;
                if messages > MAX_MESSAGES_PER_PERIOD {
                    return Err(CloseReason::protocol(format!("more than {MAX_MESSAGES_PER_PERIOD} messages in {} s", MESSAGE_PERIOD.as_secs())));
                }
                match message {
                    Message::Text(text) if text.len() > MAX_MESSAGE_BYTES => return Err(CloseReason::too_long()),
                    Message::Text(text) => {
                        handle(session, &text).map_err(|error| CloseReason::protocol(error.to_string()))?;
                        frames.mark_changed();
                    }
                    Message::Binary(_) => return Err(CloseReason::protocol("messages are JSON text")),
                    Message::Ping(_) | Message::Pong(_) => {}
                    Message::Close(_) => return Ok(()),
                }
            }
            () = gateway.shared.stopping.cancelled() => return Err(CloseReason(1001, "going away; reconnect and resume".to_owned())),
            changed = frames.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let frame = frames.borrow_and_update().clone();
                for update in session.updates(&frame) {
                    send(socket, update.message(), write_timeout).await?;
                    heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
                }
            }
            () = time::sleep_until(heartbeat_due) => {
                let sequence = frames.borrow().sequence;
                let heartbeat = json!({"type": "heartbeat", "sequence": sequence, "at": millis()});
                send(socket, heartbeat.to_string().into(), write_timeout).await?;
                heartbeat_due = Instant::now() + HEARTBEAT_INTERVAL;
            }
        }
    }
}

async fn send(socket: &mut WebSocket, text: Utf8Bytes, write_timeout: Duration) -> Result<(), CloseReason> {
    match time::timeout(write_timeout, socket.send(Message::Text(text))).await {
        // A broken connection is noticed by the next read.
        Ok(_) => Ok(()),
        Err(_) => Err(CloseReason::slow(write_timeout)),
    }
}

fn handle(session: &mut Session, text: &str) -> Result<(), MessageError> {
    match serde_json::from_str(text)? {
        ClientMessage::Subscribe { topics, pages, after: None }
        | ClientMessage::Unsubscribe { topics, pages }
            if topics.is_empty() && pages.is_empty() =>
        {
            Err(MessageError::Empty)
        }
        ClientMessage::Subscribe { topics, pages, after } => {
            if let Some((after, unit)) = after.and_then(|after| Some((after, looks_like(after)?))) {
                return Err(MessageError::Unit { after, unit });
            }
            Ok(session.subscribe(named(topics, pages)?, after)?)
        }
        ClientMessage::Unsubscribe { topics, pages } => {
            session.unsubscribe(&named(topics, pages)?);
            Ok(())
        }
    }
}

/// Topics by their names, and pages.
pub(super) fn named(topics: Vec<String>, pages: Vec<String>) -> Result<Vec<Topic>, RequestError> {
    let mut named = Vec::new();
    for name in topics {
        let found = Topic::named(&name);
        named
            .push(found.ok_or_else(|| RequestError::UnknownTopic { name: name.chars().take(40).collect() })?);
    }
    for url in pages {
        query::check_page(&url)?;
        named.push(Topic::Page(url));
    }
    Ok(named)
}

#[cfg(test)]
mod tests;
