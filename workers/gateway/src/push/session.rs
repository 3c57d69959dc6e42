//! One client: its subscriptions, and what it was sent.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    Gateway,
    api::error::RequestError,
    gateway::ServedPipeline,
    sync::lock,
    wire::{
        frame::{Frame, SealedWindow, TopicValue},
        topic::Topic,
    },
};

/// Maximum pages of one client.
pub(super) const MAX_PAGES_PER_CLIENT: usize = 20;

/// One client's subscriptions. Dropping it unsubscribes and returns the permit.
pub(super) struct Session {
    gateway: Gateway,
    pipeline: Arc<ServedPipeline>,
    /// Each topic's last frame that the client has; 0 for none.
    topics: BTreeMap<Topic, u64>,
    /// The last frame whose sealed windows the client has.
    windows: u64,
    /// The end of the last sealed window that it had when it came back.
    after: Option<i64>,
    _permit: OwnedSemaphorePermit,
}

/// One message for a client.
pub(super) enum Update {
    /// A value; `whole` where the client lacks the value that the patch changes.
    Value { topic: Topic, value: Arc<TopicValue>, whole: bool },
    /// A sealed window.
    Sealed(Arc<SealedWindow>),
}

impl Session {
    /// A client without subscriptions.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn open(gateway: &Gateway) -> Result<Self, RequestError> {
        let permit = Arc::clone(&gateway.shared.permits).try_acquire_owned();
        let permit = permit.map_err(|_| RequestError::TooManyClients)?;
        gateway.shared.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pipeline = Arc::clone(&gateway.shared.default);
        let windows = pipeline.frame.borrow().sequence;
        Ok(Self {
            gateway: gateway.clone(),
            pipeline,
            topics: BTreeMap::new(),
            windows,
            after: None,
            _permit: permit,
        })
    }

    /// Subscribes. `after` is the end of the last sealed window that the client has: it gets those since then, as far as they
    /// are remembered. Without it: only those to come.
    ///
    /// # Errors
    /// Too many pages.
    pub(super) fn subscribe(&mut self, topics: Vec<Topic>, after: Option<i64>) -> Result<(), RequestError> {
        for topic in topics {
            let pages = self.topics.keys().filter(|topic| matches!(topic, Topic::Page(_))).count();
            if matches!(topic, Topic::Page(_))
                && pages >= MAX_PAGES_PER_CLIENT
                && !self.topics.contains_key(&topic)
            {
                return Err(RequestError::TooManyPages { max: MAX_PAGES_PER_CLIENT });
            }
            if !self.topics.contains_key(&topic) {
                lock(&self.pipeline.subscriptions).add(&topic);
                self.topics.insert(topic, 0);
            }
        }
        if let Some(after) = after {
            let frame = Arc::clone(&self.pipeline.frame.borrow());
            let missed = frame.windows.iter().filter(|window| window.end > after).map(|w| w.sequence).min();
            self.after = Some(after);
            self.windows = missed.map_or(self.windows, |first| self.windows.min(first - 1));
        }
        // A page without a subscriber so far is in no frame yet.
        self.pipeline.state.notify();
        Ok(())
    }

    /// The frames of the client's pipeline.
    pub(super) fn frames(&self) -> watch::Receiver<Arc<Frame>> {
        self.pipeline.frame.subscribe()
    }

    /// The name of the client's pipeline.
    pub(super) fn pipeline(&self) -> &str {
        self.pipeline.state.name()
    }

    pub(super) fn unsubscribe(&mut self, topics: &[Topic]) {
        for topic in topics {
            if self.topics.remove(topic).is_some() {
                lock(&self.pipeline.subscriptions).remove(topic);
            }
        }
    }

    /// The values of this frame that the client lacks; marks them as sent.
    pub(super) fn updates(&mut self, frame: &Frame) -> Vec<Update> {
        let mut updates = Vec::new();
        for (topic, known) in &mut self.topics {
            let Some(value) = frame.topic(topic).filter(|value| value.sequence > *known) else { continue };
            let whole = *known == 0 || *known != value.since;
            *known = value.sequence;
            updates.push(Update::Value { topic: topic.clone(), value: Arc::clone(value), whole });
        }
        if self.topics.contains_key(&Topic::Windows) {
            let after = self.after.take().unwrap_or(i64::MIN);
            let missed = frame.windows.iter();
            let missed = missed.filter(|window| window.sequence > self.windows && window.end > after);
            updates.extend(missed.map(|window| Update::Sealed(Arc::clone(window))));
        }
        self.windows = frame.sequence;
        updates
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.pipeline.subscriptions);
        self.topics.keys().for_each(|topic| subscriptions.remove(topic));
        self.gateway.shared.clients.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Update {
    /// The message for a WebSocket.
    pub(super) fn message(&self) -> Utf8Bytes {
        match self {
            Self::Value { value, whole: true, .. } => value.whole.clone(),
            Self::Value { value, whole: false, .. } => value.patch.clone(),
            Self::Sealed(window) => window.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use weir_manifest::Pipeline;

    use super::*;
    use crate::{
        ClientLimits,
        store::{PipelineState, StateLimits},
    };

    fn gateway() -> Gateway {
        let state = PipelineState::new(Pipeline::demo(), StateLimits::default(), &[]).unwrap();
        Gateway::new(Arc::new(state), [], ClientLimits::default())
    }

    #[test]
    fn a_client_that_missed_a_frame_gets_the_whole_value() {
        let gateway = gateway();
        let mut session = Session::open(&gateway).unwrap();
        session.subscribe(vec![Topic::Site], None).unwrap();
        let mut sent = |frame: &Frame| -> Vec<Value> {
            let updates = session.updates(frame);
            let messages = updates.iter().map(|update| serde_json::from_str(&update.message()).unwrap());
            messages
                .map(|message: Value| json!([message["type"], message["since"], message["value"]]))
                .collect()
        };
        let render = |before: &Frame, a: i64| {
            before.next(vec![(Topic::Site, json!({"a": a, "b": 0}))], Vec::new()).unwrap()
        };
        let first = render(&Frame::default(), 1);
        let second = render(&first, 2);
        let third = render(&second, 3);
        let fourth = render(&third, 4);
        assert_eq!(sent(&first), [json!(["value", null, {"a": 1, "b": 0}])]);
        assert!(sent(&first).is_empty());
        // The client missed the second frame, so it cannot apply a patch against it.
        assert_eq!(sent(&third), [json!(["value", null, {"a": 3, "b": 0}])]);
        assert_eq!(sent(&fourth), [json!(["patch", 3, {"a": 4}])]);
    }

    #[test]
    fn a_page_is_rendered_while_it_has_a_subscriber() {
        let gateway = gateway();
        let page = || vec![Topic::Page("/a".to_owned())];
        let wanted = || lock(&gateway.shared.default.subscriptions).pages();
        let (mut one, mut other) = (Session::open(&gateway).unwrap(), Session::open(&gateway).unwrap());
        one.subscribe(page(), None).unwrap();
        one.subscribe(page(), None).unwrap();
        other.subscribe(page(), None).unwrap();
        one.unsubscribe(&page());
        assert_eq!(wanted(), ["/a"]);
        drop(other);
        assert!(wanted().is_empty());
    }
}
