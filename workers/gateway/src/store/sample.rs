//! A sample of recent events, with visitors masked.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use serde::Serialize;
use utoipa::ToSchema;
use weir_events::{
    Decoder, IdPolicy, IpPolicy, Privacy, PrivacyError, PrivacySettings, Scratch, UserAgentPolicy,
};

/// Maximum events kept.
const MAX_SAMPLED_EVENTS: usize = 200;
/// Maximum events taken per second.
pub(crate) const MAX_EVENTS_PER_SECOND: u8 = 20;
/// Digits of a masked id that are shown: enough to distinguish the visitors of a sample.
const VISITOR_DIGITS: usize = 6;

/// An event with its visitor masked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SampledEvent {
    /// Counts the events of this sample.
    pub number: u64,
    /// Event time, milliseconds since the epoch.
    pub timestamp: i64,
    /// VIEW, CLICK, ADD_TO_CART, PURCHASE or SEARCH.
    #[schema(value_type = String)]
    pub event_type: weir_events::EventType,
    /// Where. Text from events: never markup.
    pub page_url: String,
    /// With what product, if with one.
    pub product_id: Option<String>,
    /// Of which site, if the event says so.
    pub site_id: Option<String>,
    /// What happened in the site's own words, if the event says so.
    pub event_name: Option<String>,
    /// For how much, in millionths of the currency, if for anything.
    pub revenue_micros: Option<i64>,
    /// Of the revenue: three letters of ISO 4217.
    pub currency: Option<String>,
    /// A name for the visitor that means nothing outside of this process and its life.
    pub visitor: String,
    /// The family of the visitor's browser.
    pub browser: String,
}

/// The newest events, with a limit per second.
pub struct EventSample {
    decoder: Decoder,
    privacy: Privacy,
    scratch: Scratch,
    events: VecDeque<SampledEvent>,
    number: u64,
    /// When the current second began, and the events taken in it.
    second: (i64, u8),
}

impl EventSample {
    /// An empty sample with a secret of its own.
    ///
    /// # Errors
    /// Never with the settings that it has.
    pub fn new() -> Result<Self, PrivacyError> {
        let settings = PrivacySettings {
            user_id: IdPolicy::Hash,
            ip_address: IpPolicy::Drop,
            user_agent: UserAgentPolicy::Family,
        };
        let secret = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(0).to_le_bytes());
        Ok(Self {
            decoder: Decoder::new(),
            privacy: Privacy::new(settings, Some(secret.as_flattened()))?,
            scratch: Scratch::default(),
            events: VecDeque::with_capacity(MAX_SAMPLED_EVENTS),
            number: 0,
            second: (i64::MIN, 0),
        })
    }

    /// Takes the event of a record unless enough were taken within a second. `now` in milliseconds.
    pub fn offer(&mut self, value: &[u8], now: i64) {
        if now >= self.second.0.saturating_add(1_000) {
            self.second = (now, 0);
        }
        if self.second.1 >= MAX_EVENTS_PER_SECOND {
            return;
        }
        let Ok(event) = self.decoder.decode(value) else { return };
        let event = self.privacy.apply(event, &mut self.scratch);
        self.second.1 += 1;
        self.number += 1;
        if self.events.len() == MAX_SAMPLED_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(SampledEvent {
            number: self.number,
            timestamp: event.timestamp,
            event_type: event.event_type,
            page_url: event.page_url.to_owned(),
            product_id: event.product_id.map(str::to_owned),
            site_id: event.site_id.map(str::to_owned),
            event_name: event.event_name.map(str::to_owned),
            revenue_micros: event.revenue_micros,
            currency: event.currency.map(str::to_owned),
            visitor: event.user_id.chars().take(VISITOR_DIGITS).collect(),
            browser: event.user_agent.to_owned(),
        });
    }

    /// The newest `limit` events after the one with the number `after`, oldest first.
    pub fn recent(&self, after: u64, limit: usize) -> Vec<SampledEvent> {
        let skip = self.events.len().saturating_sub(limit);
        self.events.iter().skip(skip).filter(|event| event.number > after).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use weir_events::{ClickstreamEvent, EventType, encode_event};

    use super::*;

    fn event(timestamp: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let event = ClickstreamEvent {
            user_id: "alice@example.org",
            session_id: "visit-of-alice",
            event_type: EventType::View,
            page_url: "/<script>",
            product_id: None,
            timestamp,
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
            ip_address: "192.0.2.77",
            referrer: Some("https://private.example/"),
            session_duration: None,
            event_id: Some("mail-from-alice"),
            site_id: Some("shop"),
            event_name: Some("checkout"),
            revenue_micros: Some(19_990_000),
            currency: Some("EUR"),
            properties: None,
        };
        encode_event(&event, &mut bytes);
        bytes
    }

    #[test]
    fn no_visitor_can_be_identified() {
        let mut sample = EventSample::new().unwrap();
        sample.offer(&event(5), 1_000);
        let shown = serde_json::to_string(&sample.recent(0, 10)).unwrap();
        for secret in ["alice", "192.0.2", "Linux", "private.example"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("Firefox") && shown.contains("/<script>"), "{shown}");
        let shown = &sample.recent(0, 1)[0];
        assert_eq!(shown.visitor.len(), VISITOR_DIGITS);
        let texts = [&shown.site_id, &shown.event_name, &shown.currency].map(|text| text.as_deref().unwrap());
        assert_eq!((texts, shown.revenue_micros), (["shop", "checkout", "EUR"], Some(19_990_000)));
        let mut other = EventSample::new().unwrap();
        other.offer(&event(5), 1_000);
        assert_ne!(sample.recent(0, 1)[0].visitor, other.recent(0, 1)[0].visitor);
    }

    #[test]
    fn rate_and_number_are_bounded() {
        let mut sample = EventSample::new().unwrap();
        for now in 0..100_000 {
            sample.offer(&event(now), now);
        }
        sample.offer(b"no event", 200_000);
        let all = sample.recent(0, usize::MAX);
        assert_eq!(all.len(), MAX_SAMPLED_EVENTS);
        let max_per_second = usize::from(MAX_EVENTS_PER_SECOND);
        assert!(
            all.windows(max_per_second + 1)
                .all(|some| some[max_per_second].timestamp - some[0].timestamp == 1_000)
        );
        // A burst is taken at once: the reader hands over one batch per second.
        assert!(all[..max_per_second].iter().all(|event| event.timestamp < all[0].timestamp + 20));
        assert_eq!(sample.recent(all[MAX_SAMPLED_EVENTS - 2].number, 100).len(), 1);
    }
}
