//! The newest values, serialised once for all clients.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use axum::extract::ws::Utf8Bytes;
use serde_json::{Value, json};

use super::{patch::difference, topic::Topic};

/// Sealed windows that a client can catch up on: an hour at the default slide.
pub(crate) const MAX_SEALED_WINDOWS: usize = 360;

/// All values that clients are sent, at one time.
#[derive(Debug, Default)]
pub struct Frame {
    pub(crate) sequence: u64,
    topics: HashMap<Topic, Arc<TopicValue>>,
    /// Sealed windows in the order in which they were received, oldest first.
    pub(crate) windows: VecDeque<Arc<SealedWindow>>,
}

/// The value of one topic.
#[derive(Debug)]
pub(crate) struct TopicValue {
    /// The frame that it is new in.
    pub(crate) sequence: u64,
    /// The frame whose value `patch` changes; 0 if there is none.
    pub(crate) since: u64,
    pub(crate) value: Value,
    pub(crate) whole: Utf8Bytes,
    pub(crate) patch: Utf8Bytes,
}

/// One sealed window.
#[derive(Debug)]
pub(crate) struct SealedWindow {
    pub(crate) sequence: u64,
    pub(crate) end: i64,
    pub(crate) value: Value,
    pub(crate) text: Utf8Bytes,
}

impl Frame {
    /// The frame after `self`: the values now, and the windows sealed since. `None` if nothing differs.
    pub(crate) fn next(&self, values: Vec<(Topic, Value)>, sealed: Vec<(i64, Value)>) -> Option<Self> {
        let sequence = self.sequence + 1;
        let mut changed = !sealed.is_empty() || values.len() != self.topics.len();
        let mut topics = HashMap::with_capacity(values.len());
        for (topic, value) in values {
            let before = self.topics.get(&topic);
            let current = match before {
                Some(before) => match difference(&before.value, &value) {
                    None => Arc::clone(before),
                    Some(patch) => {
                        Arc::new(TopicValue::new(&topic, sequence, before.sequence, value, Some(patch)))
                    }
                },
                None => Arc::new(TopicValue::new(&topic, sequence, 0, value, None)),
            };
            changed |= current.sequence == sequence;
            topics.insert(topic, current);
        }
        let mut windows = self.windows.clone();
        for (end, value) in sealed {
            let message = json!({"type": "sealed", "topic": "windows", "sequence": sequence, "value": value});
            let text = message.to_string().into();
            windows.push_back(Arc::new(SealedWindow { sequence, end, value, text }));
        }
        windows.drain(..windows.len().saturating_sub(MAX_SEALED_WINDOWS));
        changed.then_some(Self { sequence, topics, windows })
    }

    pub(crate) fn topic(&self, topic: &Topic) -> Option<&Arc<TopicValue>> {
        self.topics.get(topic)
    }
}

impl TopicValue {
    fn new(topic: &Topic, sequence: u64, since: u64, value: Value, patch: Option<Value>) -> Self {
        let mut message =
            json!({"type": "value", "topic": topic.name(), "sequence": sequence, "value": value});
        if let Topic::Page(url) = topic {
            message["page"] = json!(url);
        }
        let whole = message.to_string().into();
        let patch = match patch {
            None => Utf8Bytes::default(),
            Some(patch) => {
                message["type"] = json!("patch");
                message["since"] = json!(since);
                message["value"] = patch;
                message.to_string().into()
            }
        };
        Self { sequence, since, value, whole, patch }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn unchanged_values_make_no_frame() {
        let first = Frame::default().next(vec![(Topic::Site, json!({"a": 1}))], Vec::new()).unwrap();
        assert!(first.next(vec![(Topic::Site, json!({"a": 1}))], Vec::new()).is_none());
        let second = first.next(vec![(Topic::Site, json!({"a": 2}))], Vec::new()).unwrap();
        let current = second.topic(&Topic::Site).unwrap();
        assert_eq!((current.sequence, current.since), (2, 1));
        assert_eq!(
            current.patch.as_str(),
            r#"{"sequence":2,"since":1,"topic":"site","type":"patch","value":{"a":2}}"#
        );
    }

    #[test]
    fn topics_that_come_and_go_make_a_frame() {
        let page = || Topic::Page("/a".to_owned());
        let (site, a) = ((Topic::Site, json!({"a": 1})), (page(), json!({"b": 1})));
        let first = Frame::default().next(vec![site.clone()], Vec::new()).unwrap();
        let second = first.next(vec![site.clone(), a.clone()], Vec::new()).unwrap();
        assert_eq!(second.topic(&page()).map(|value| (value.sequence, value.since)), Some((2, 0)));
        // Without a subscriber it is dropped: the next subscriber would first get a stale value.
        let third = second.next(vec![site.clone()], Vec::new()).unwrap();
        assert!(third.topic(&page()).is_none());
        // The same number of topics, but different ones.
        let fourth = third.next(vec![a], Vec::new()).unwrap();
        assert_eq!(fourth.topic(&page()).map(|value| (value.sequence, value.since)), Some((4, 0)));
        assert!(fourth.topic(&Topic::Site).is_none());
    }

    #[test]
    fn sealed_windows_are_kept_within_a_bound() {
        let mut frame = Frame::default();
        for end in 0..MAX_SEALED_WINDOWS as i64 + 40 {
            frame = frame.next(Vec::new(), vec![(end, json!({}))]).unwrap();
        }
        assert_eq!(frame.windows.len(), MAX_SEALED_WINDOWS);
        assert_eq!(frame.windows.front().unwrap().end, 40);
    }
}
