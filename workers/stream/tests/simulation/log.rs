//! The events of a run.

use rand::{Rng, RngExt};
use weir_analytics::Settings;
use weir_events::{ClickstreamEvent, EventType, encode_event};

/// One record of the events topic, as the topic has it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub value: Vec<u8>,
    /// `None`: a poison record.
    pub event: Option<Event>,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub user: String,
    pub session: String,
    pub kind: EventType,
    pub page: String,
    pub timestamp: i64,
    pub duration: Option<i32>,
}

/// Small windows, so that a few hundred events make many.
pub fn settings(random: &mut impl Rng) -> Settings {
    let slide = [2_000, 5_000][random.random_range(0..2)];
    Settings {
        size: slide * random.random_range(1..8),
        slide,
        out_of_orderness: random.random_range(0..4) * 1_500,
        session_gap: random.random_range(2..30) * 1_000,
        lanes: random.random_range(1..4),
        top: random.random_range(1..5),
        trending_half_life: 60_000,
        warm_up: random.random_range(0..3),
    }
}

/// The next record at `now`, and its partition.
pub fn next(random: &mut impl Rng, now: i64, partitions: i32, silent: Option<i32>) -> Option<(i32, Sent)> {
    // One visitor in a hundred goes to a partition that has no other.
    let user = random.random_range(0..9);
    let partition = user % partitions;
    if silent == Some(partition) {
        return None;
    }
    if random.random_ratio(1, 50) {
        let value = (0..random.random_range(0..40)).map(|_| random.random()).collect();
        return Some((partition, Sent { value, event: None }));
    }
    let behind = match random.random_range(0..20) {
        0 => random.random_range(0..60_000),
        1..8 => random.random_range(0..5_000),
        _ => 0,
    };
    // Crowds now and then, so that something trends.
    let crowd = now.div_euclid(20_000) % 3 == 0 && random.random_ratio(2, 3);
    let event = Event {
        user: format!("user-{user}"),
        session: format!("session-{user}-{}", random.random_range(0..2)),
        kind: [EventType::View, EventType::View, EventType::Click, EventType::AddToCart, EventType::Purchase]
            [random.random_range(0..5)],
        page: if crowd { "/crowd".to_owned() } else { format!("/page/{}", random.random_range(0..6)) },
        timestamp: now - behind,
        duration: random.random_ratio(1, 4).then(|| random.random_range(-5..90_000)),
    };
    let mut value = Vec::new();
    encode_event(&event.record(), &mut value);
    Some((partition, Sent { value, event: Some(event) }))
}

impl Event {
    pub fn record(&self) -> ClickstreamEvent<'_> {
        ClickstreamEvent {
            user_id: &self.user,
            session_id: &self.session,
            event_type: self.kind,
            page_url: &self.page,
            product_id: None,
            timestamp: self.timestamp,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: self.duration,
        }
    }
}
