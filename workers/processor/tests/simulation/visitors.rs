//! Visitors that write the log step by step: disorder, late events, invalid records, bursts, idle partitions.

use weir_events::{encode_event, partition_of};
use weir_log::{Member as _, Output};
use weir_memory::{Broker, Member, MemberOptions};
use weir_oracle::{Event, Kind};

use crate::{
    dice::Dice,
    setup::{EVENTS, Setup},
};

/// A record of the events topic.
#[derive(Clone)]
pub struct Written {
    pub partition: i32,
    pub offset: i64,
    /// The broker's timestamp.
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    /// The event, or the reason for its dead letter.
    pub content: Result<Event, &'static str>,
}

pub struct Visitors {
    dice: Dice,
    slide: i64,
    size: i64,
    disorder: i64,
    /// Event time. Unrelated to the broker's clock, unless the log is live.
    clock: i64,
    is_live: bool,
    has_transactions: bool,
    has_ids: bool,
    /// Whether events are deleted that a generation needs. Then few say how long their visit has lasted, as that hides when it began; and
    /// copies have the timestamp of the first, which may be deleted.
    deletes_events: bool,
    max_future: i64,
    /// Events with ids, by user: each may be sent again.
    sent: Vec<(usize, Event)>,
    /// Records of the open transaction, by partition and offset.
    transaction: Option<(Member, Vec<Written>)>,
    producers: u32,
    /// The times of the broker's clock during which transactions held partitions back: first record to end.
    pub held_back: Vec<(i32, i64, i64)>,
    left: i64,
    /// Number of events of other partitions until each gets one again.
    silences: Vec<i64>,
    /// All records of the topic, in the order of writing.
    pub log: Vec<Written>,
}

const FOR_EVER: i64 = i64::MAX;

impl Visitors {
    pub fn new(setup: &Setup, dice: Dice) -> Self {
        let mut silences: Vec<i64> =
            (0..setup.inputs).map(|_| if dice.chance(150) { FOR_EVER } else { 0 }).collect();
        let speaker = dice.below(silences.len());
        silences[speaker] = 0;
        Self {
            slide: setup.settings.slide,
            size: setup.settings.size,
            disorder: setup.settings.out_of_orderness,
            clock: 1_600_000_000_000 + dice.between(0, 10 * setup.settings.size),
            is_live: setup.is_live,
            has_transactions: setup.has_transactions,
            has_ids: setup.has_ids,
            deletes_events: setup.deletes_events,
            max_future: setup.max_future,
            sent: Vec::new(),
            transaction: None,
            producers: 0,
            held_back: Vec::new(),
            left: dice.between(60, 260) * if setup.deletes_events { 2 } else { 1 },
            silences,
            log: Vec::new(),
            dice,
        }
    }

    pub fn are_done(&self) -> bool {
        self.left <= 0
    }

    /// Writes a few records.
    pub fn write(&mut self, broker: &Broker) {
        if self.is_live {
            self.clock = broker.now();
        }
        if self.has_transactions {
            match self.dice.between(1, 100) {
                1..=6 if self.transaction.is_none() => self.begin(broker),
                1..=15 if self.transaction.is_some() => self.end(broker),
                _ => {}
            }
        }
        match self.dice.between(1, 1000) {
            1..=30 => self.burst(broker),
            31..=45 => self.clock += self.size * self.dice.between(500, 6_000) / 1_000,
            46..=100 => self.silence(),
            _ => {
                for _ in 0..self.dice.between(1, 8) {
                    let on =
                        self.dice.between(0, self.slide * self.dice.pick(&[0, 300, 1_000, 2_500]) / 1_000);
                    // Some clocks are ahead of the broker's, but the difference is bounded.
                    self.clock += if self.is_live { on / 4 } else { on };
                    let user = self.someone();
                    self.record(broker, user);
                }
            }
        }
    }

    fn begin(&mut self, broker: &Broker) {
        self.producers += 1;
        let id = format!("producer-{}", self.producers);
        // It must not time out.
        let options = MemberOptions {
            transaction_timeout: std::time::Duration::from_secs(86_400),
            ..MemberOptions::new("producers", EVENTS, &id)
        };
        let mut producer = broker.member(options);
        producer.begin().unwrap();
        self.transaction = Some((producer, Vec::new()));
    }

    /// Commits or aborts the open transaction, if any.
    pub fn end(&mut self, broker: &Broker) {
        let Some((mut producer, written)) = self.transaction.take() else { return };
        let mut partitions: Vec<(i32, i64)> = written.iter().map(|w| (w.partition, w.timestamp)).collect();
        partitions.dedup_by_key(|(partition, _)| *partition);
        self.held_back
            .extend(partitions.into_iter().map(|(partition, from)| (partition, from, broker.now())));
        if self.dice.chance(600) {
            producer.commit(&[]).unwrap();
            self.log.extend(written);
            self.log.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
        } else {
            producer.restart().unwrap();
        }
    }

    fn silence(&mut self) {
        let partition = self.dice.below(self.silences.len());
        let others = self.silences.iter().enumerate().any(|(other, &left)| other != partition && left == 0);
        if others && self.silences[partition] == 0 {
            self.silences[partition] = self.dice.between(10, 120);
        }
    }

    /// A user whose partition is not silent.
    fn someone(&self) -> usize {
        loop {
            let user = self.dice.below(12);
            if self.silences[user % self.silences.len()] == 0 {
                return user;
            }
        }
    }

    /// Many users on one page within a window.
    fn burst(&mut self, broker: &Broker) {
        let (views, page) = (self.dice.between(10, 30), self.page());
        for _ in 0..views {
            self.clock += self.slide / views / 2;
            let user = self.someone();
            self.event(broker, user, Kind::View, page.clone(), self.clock);
        }
    }

    fn record(&mut self, broker: &Broker, user: usize) {
        let kind = self.dice.pick(&[
            Kind::View,
            Kind::View,
            Kind::View,
            Kind::View,
            Kind::Click,
            Kind::Click,
            Kind::Purchase,
            Kind::AddToCart,
            Kind::Search,
        ]);
        let behind = match self.dice.between(1, 100) {
            1..=50 => 0,
            51..=85 => self.disorder * self.dice.between(0, 1_000) / 1_000,
            86..=95 => self.disorder + self.size * self.dice.between(0, 1_200) / 1_000,
            _ => self.disorder + self.size * self.dice.between(1_000, 4_000) / 1_000,
        };
        let page = self.page();
        if self.dice.chance(30) {
            self.broken(broker, user);
        } else {
            self.event(broker, user, kind, page, self.clock - behind);
        }
    }

    fn event(&mut self, broker: &Broker, user: usize, kind: Kind, page: String, timestamp: i64) {
        let session_duration = match self.dice.between(1, 10) {
            1..=6 => None,
            _ if self.deletes_events && self.dice.chance(950) => None,
            7..=9 => Some(self.dice.between(0, 60) as i32),
            _ => Some(self.dice.pick(&[86_400, 86_401, -1, i32::MIN, i32::MAX])),
        };
        let session = format!("u{user}-{}", self.dice.pick(&[0, 0, 0, 1, 2]));
        let timestamp = if self.is_live { timestamp.min(broker.now() + self.max_future) } else { timestamp };
        let event_id = (self.has_ids && self.dice.chance(800)).then(|| self.sent.len().to_string());
        let event =
            Event { user: format!("u{user}"), session, kind, page, timestamp, session_duration, event_id };
        if event.event_id.is_some() {
            self.sent.push((user, event.clone()));
        }
        let value = encoded(&event);
        self.append(broker, user, Some(value), Ok(event));
        if self.has_ids && self.dice.chance(120) {
            self.repeat(broker);
        }
    }

    /// Sends an event again, a recent one mostly; some with the time of now, as a client does that corrects its clock.
    fn repeat(&mut self, broker: &Broker) {
        if self.sent.is_empty() {
            return;
        }
        let back = self.dice.pick(&[1, 5, 20, 60, 300]).min(self.sent.len());
        let (user, event) = &self.sent[self.sent.len() - 1 - self.dice.below(back)];
        let user = *user;
        if self.silences[user % self.silences.len()] != 0 {
            return;
        }
        let mut event = event.clone();
        if self.dice.chance(300) && !self.deletes_events {
            event.timestamp = self.clock;
        }
        let value = encoded(&event);
        self.append(broker, user, Some(value), Ok(event));
    }

    fn broken(&mut self, broker: &Broker, user: usize) {
        let sound = Event {
            user: format!("u{user}"),
            session: format!("u{user}-0"),
            kind: Kind::View,
            page: "/0".to_owned(),
            timestamp: if self.is_live { broker.now() } else { self.clock },
            session_duration: None,
            event_id: None,
        };
        let (value, reason) = match self.dice.below(5) {
            0 => (None, "malformed"),
            1 => (Some(encoded(&sound)[..20].to_vec()), "malformed"),
            2 => {
                let mut value = encoded(&sound);
                value[5] ^= 0xff;
                (Some(value), "unknown_schema")
            }
            3 => (Some(encoded(&Event { page: String::new(), ..sound })), "empty_page_url"),
            _ => {
                let timestamp = broker.now() + self.max_future + 1;
                (Some(encoded(&Event { timestamp, ..sound })), "future_timestamp")
            }
        };
        self.append(broker, user, value, Err(reason));
    }

    fn append(
        &mut self,
        broker: &Broker,
        user: usize,
        value: Option<Vec<u8>>,
        content: Result<Event, &'static str>,
    ) {
        let partition = (user % self.silences.len()) as i32;
        let key = format!("u{user}").into_bytes();
        let timestamp = broker.now();
        match &mut self.transaction {
            Some((producer, written)) if self.dice.chance(500) => {
                let offset = broker.end_offset(EVENTS, partition).unwrap();
                let output = Output {
                    topic: EVENTS.to_owned(),
                    partition,
                    key: Some(key.clone()),
                    value: value.clone(),
                    headers: Vec::new(),
                };
                producer.send(output).unwrap();
                written.push(Written { partition, offset, timestamp, key, value, content });
            }
            _ => {
                let offset = broker.append(EVENTS, partition, Some(&key), value.as_deref(), &[]).unwrap();
                self.log.push(Written { partition, offset, timestamp, key, value, content });
            }
        }
        self.left -= 1;
        for left in self.silences.iter_mut().filter(|left| **left != FOR_EVER) {
            *left = (*left - 1).max(0);
        }
    }

    fn page(&self) -> String {
        format!("/{}", self.dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 5]))
    }
}

/// Number of valid events in a partition that is not their user's.
pub fn misplaced(log: &[Written], partition: i32, inputs: i32) -> u64 {
    let events = log.iter().filter(|record| record.partition == partition);
    let elsewhere = |event: &Event| partition_of(event.user.as_bytes(), inputs) != partition;
    events.filter_map(|record| record.content.as_ref().ok()).filter(|event| elsewhere(event)).count() as u64
}

/// The event as it is in the topic.
pub fn encoded(event: &Event) -> Vec<u8> {
    let mut value = Vec::new();
    encode_event(&event.into(), &mut value);
    value
}
