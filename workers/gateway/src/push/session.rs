//! What one client wants and what it was told.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    Gateway,
    gateway::ServedPipeline,
    sync::lock,
    wire::{
        picture::{Frame, Picture, SealedFrame},
        topic::Topic,
    },
};

/// Pages that one client can watch.
pub(super) const MOST_PAGES: usize = 20;

/// One client's subscriptions. Dropped, they are taken back and its place is free.
pub(super) struct Session {
    gateway: Gateway,
    pipeline: Arc<ServedPipeline>,
    /// With the picture whose value the client has; 0 for none.
    topics: BTreeMap<Topic, u64>,
    /// The last picture whose sealed windows the client has.
    windows: u64,
    /// The end of the last sealed window that it had when it came back.
    after: Option<i64>,
    _place: OwnedSemaphorePermit,
}

/// One thing to tell.
pub(super) enum News {
    /// A value; `whole` where the client cannot make it of what it has.
    Value { topic: Topic, frame: Arc<Frame>, whole: bool },
    /// A sealed window.
    Sealed(Arc<SealedFrame>),
}

impl Session {
    /// A client that wants nothing yet; `None` if there are too many.
    pub(super) fn open(gateway: &Gateway) -> Option<Self> {
        let place = Arc::clone(&gateway.shared.places).try_acquire_owned().ok()?;
        gateway.shared.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pipeline = Arc::clone(&gateway.shared.default);
        let windows = pipeline.picture.borrow().sequence;
        Some(Self {
            gateway: gateway.clone(),
            pipeline,
            topics: BTreeMap::new(),
            windows,
            after: None,
            _place: place,
        })
    }

    /// Subscribes. `after` is the end of the last sealed window that the client has: it gets those since then, as far as they
    /// are remembered. Without it: only those to come.
    ///
    /// # Errors
    /// In words, when it is too much.
    pub(super) fn subscribe(&mut self, topics: Vec<Topic>, after: Option<i64>) -> Result<(), String> {
        for topic in topics {
            let pages = self.topics.keys().filter(|topic| matches!(topic, Topic::Page(_))).count();
            if matches!(topic, Topic::Page(_)) && pages >= MOST_PAGES && !self.topics.contains_key(&topic) {
                return Err(format!("more than {MOST_PAGES} pages on one connection"));
            }
            if !self.topics.contains_key(&topic) {
                lock(&self.pipeline.subscriptions).add(&topic);
                self.topics.insert(topic, 0);
            }
        }
        if let Some(after) = after {
            let picture = Arc::clone(&self.pipeline.picture.borrow());
            let missed = picture.windows.iter().filter(|window| window.end > after).map(|w| w.sequence).min();
            self.after = Some(after);
            self.windows = missed.map_or(self.windows, |first| self.windows.min(first - 1));
        }
        // A page that nobody wanted so far is not in any picture yet.
        self.pipeline.state.notify();
        Ok(())
    }

    /// The pictures of the client's pipeline.
    pub(super) fn pictures(&self) -> watch::Receiver<Arc<Picture>> {
        self.pipeline.picture.subscribe()
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

    /// What the client does not know of this picture yet; taken as told.
    pub(super) fn news(&mut self, picture: &Picture) -> Vec<News> {
        let mut news = Vec::new();
        for (topic, known) in &mut self.topics {
            let Some(frame) = picture.frame(topic).filter(|frame| frame.sequence > *known) else { continue };
            let whole = *known == 0 || *known != frame.since;
            *known = frame.sequence;
            news.push(News::Value { topic: topic.clone(), frame: Arc::clone(frame), whole });
        }
        if self.topics.contains_key(&Topic::Windows) {
            let after = self.after.take().unwrap_or(i64::MIN);
            let missed = picture.windows.iter();
            let missed = missed.filter(|window| window.sequence > self.windows && window.end > after);
            news.extend(missed.map(|window| News::Sealed(Arc::clone(window))));
        }
        self.windows = picture.sequence;
        news
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.pipeline.subscriptions);
        self.topics.keys().for_each(|topic| subscriptions.remove(topic));
        self.gateway.shared.clients.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl News {
    /// As it goes over a WebSocket.
    pub(super) fn message(&self) -> Utf8Bytes {
        match self {
            Self::Value { frame, whole: true, .. } => frame.whole.clone(),
            Self::Value { frame, whole: false, .. } => frame.patch.clone(),
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
    fn who_missed_a_picture_gets_the_whole_value() {
        let gateway = gateway();
        let mut session = Session::open(&gateway).unwrap();
        session.subscribe(vec![Topic::Site], None).unwrap();
        let mut told = |picture: &Picture| -> Vec<Value> {
            let news = session.news(picture);
            let messages = news.iter().map(|news| serde_json::from_str(&news.message()).unwrap());
            messages
                .map(|message: Value| json!([message["type"], message["since"], message["value"]]))
                .collect()
        };
        let draw = |before: &Picture, a: i64| {
            before.next(vec![(Topic::Site, json!({"a": a, "b": 0}))], Vec::new()).unwrap()
        };
        let first = draw(&Picture::default(), 1);
        let second = draw(&first, 2);
        let third = draw(&second, 3);
        let fourth = draw(&third, 4);
        assert_eq!(told(&first), [json!(["value", null, {"a": 1, "b": 0}])]);
        assert!(told(&first).is_empty());
        // It was slow, and never saw the second: a patch of that would make nonsense of what it has.
        assert_eq!(told(&third), [json!(["value", null, {"a": 3, "b": 0}])]);
        assert_eq!(told(&fourth), [json!(["patch", 3, {"a": 4}])]);
    }

    #[test]
    fn a_page_is_drawn_for_as_long_as_somebody_wants_it() {
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
