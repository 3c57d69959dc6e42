//! The stream of deliveries.

use std::fmt::Write;

use weir_events::{ClickstreamEvent, encode_event};

use crate::crowd::Crowd;
use crate::fault::Fault;
use crate::network::{Network, Parcel};
use crate::options::{GeneratorOptions, OptionsError};
use crate::people::{Person, people};
use crate::random::Random;
use crate::shop::Shop;

/// A record, ready for the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The visitor's id, also where the value is malformed.
    pub key: &'a [u8],
    /// The event in Avro single-object encoding, damaged if the delivery is malformed.
    pub value: &'a [u8],
    /// The partition of the key by [`weir_events::partition_of`].
    pub partition: i32,
    /// Event time, milliseconds since the epoch; of malformed events the time at which they happened.
    pub timestamp: i64,
    /// When the network delivered it, milliseconds since the epoch: a paced producer sends it then. Never decreases, and
    /// never before `timestamp`.
    pub due: i64,
}

/// A delivery before encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The original event, without the fault.
    pub event: ClickstreamEvent<'a>,
    /// The delivery's fault, if any.
    pub fault: Option<Fault>,
    /// Whether the visit began before the stream: events before this one may be missing.
    pub under_way: bool,
    /// As [`Delivery::partition`].
    pub partition: i32,
    /// As [`Delivery::due`].
    pub due: i64,
}

/// Simulated visitors of a web shop: an endless stream of deliveries, determined by its [`GeneratorOptions`].
pub struct Generator {
    partitions: u32,
    shop: Shop,
    people: Vec<Person>,
    crowd: Crowd,
    network: Network,
    journeys: Random,
    delays: Random,
    defects: Random,
    sessions: Sessions,
    /// The last event's id, where events have one: only then is it seen that one is sent twice.
    event_id: Option<String>,
    urls: DistinctUrls,
    value: Vec<u8>,
}

impl Generator {
    /// Opens the shop, with as many visits under way as the rate needs.
    ///
    /// # Errors
    /// [`OptionsError`] for the first option out of its range.
    pub fn new(options: GeneratorOptions) -> Result<Self, OptionsError> {
        options.validate()?;
        let shop = Shop::new(options.pages, options.products);
        // Separate random streams: faults change neither the visitors nor their actions.
        let seeds = Random::new(options.seed).bits();
        let [mut visitors, mut journeys, delays, defects] = [1, 2, 3, 4].map(|i| Random::new(seeds ^ i));
        Ok(Self {
            partitions: options.partitions as u32,
            people: people(options.users, options.partitions, &mut visitors),
            crowd: Crowd::new(&options, &shop, &mut journeys),
            network: Network::new(&options),
            shop,
            journeys,
            delays,
            defects,
            sessions: Sessions { seed: seeds, text: String::new() },
            event_id: (options.faults.duplicates > 0.0).then(String::new),
            urls: DistinctUrls { share: options.faults.distinct_urls, seed: seeds, text: String::new() },
            value: Vec::new(),
        })
    }

    /// The next record. The stream is endless, and allocates nothing once the crowd and the network have reached their maximum size.
    // Not an `Iterator`: a delivery borrows the generator's buffer.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Delivery<'_> {
        let parcel = self.advance();
        let Self { shop, people, sessions, event_id, urls, .. } = self;
        let mut event = event(&parcel, shop, people, sessions, event_id.as_mut(), urls);
        self.value.clear();
        if let Some(Fault::Malformed(defect)) = parcel.fault {
            defect.spoil_event(&mut event);
            encode_event(&event, &mut self.value);
            defect.spoil_bytes(&mut self.value, &mut self.defects);
        } else {
            encode_event(&event, &mut self.value);
        }
        Delivery {
            key: self.people[parcel.action.user as usize].id.as_bytes(),
            value: &self.value,
            partition: (parcel.action.user % self.partitions) as i32,
            timestamp: parcel.action.timestamp,
            due: parcel.due,
        }
    }

    /// The next record without encoding, for tests: takes the same step as [`next`](Self::next).
    pub fn next_event(&mut self) -> Arrival<'_> {
        let parcel = self.advance();
        let partition = (parcel.action.user % self.partitions) as i32;
        let Self { shop, people, sessions, event_id, urls, .. } = self;
        Arrival {
            event: event(&parcel, shop, people, sessions, event_id.as_mut(), urls),
            fault: parcel.fault,
            under_way: parcel.action.under_way,
            partition,
            due: parcel.due,
        }
    }

    /// URLs of the pages by index, most popular first.
    pub fn pages(&self) -> &[String] {
        self.shop.pages()
    }

    fn advance(&mut self) -> Parcel {
        loop {
            if let Some(parcel) = self.network.receive(self.crowd.next_timestamp()) {
                return parcel;
            }
            let action = self.crowd.act(&self.shop, &mut self.journeys);
            self.network.send(action, &mut self.delays);
        }
    }
}

fn event<'a>(
    parcel: &Parcel,
    shop: &'a Shop,
    people: &'a [Person],
    sessions: &'a mut Sessions,
    event_id: Option<&'a mut String>,
    urls: &'a mut DistinctUrls,
) -> ClickstreamEvent<'a> {
    let action = &parcel.action;
    let person = &people[action.user as usize];
    let page = |page: u32| shop.pages()[page as usize].as_str();
    ClickstreamEvent {
        user_id: &person.id,
        session_id: sessions.id(action.visit),
        event_type: action.kind,
        page_url: urls.url(page(action.page), action.number),
        product_id: action.product.map(|product| shop.product(product)),
        timestamp: action.timestamp,
        user_agent: person.agent,
        ip_address: &person.address,
        referrer: action.before.map(page),
        session_duration: action.duration,
        event_id: event_id.map(|text| {
            text.clear();
            // Writing to a string cannot fail. The time keeps the ids of two runs apart.
            let _ = write!(text, "{:x}-{:x}", action.timestamp, action.number);
            text.as_str()
        }),
        ..ClickstreamEvent::EMPTY
    }
}

/// URLs with a click id, as links in advertisements have: each is a page of its own.
struct DistinctUrls {
    share: f64,
    seed: u64,
    text: String,
}

impl DistinctUrls {
    /// The URL of the page of an event with this number.
    fn url<'a>(&'a mut self, page: &'a str, number: u64) -> &'a str {
        if self.share <= 0.0 || Random::new(self.seed ^ number).unit() >= self.share {
            return page;
        }
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{page}?click={number:x}");
        &self.text
    }
}

/// Session ids: numbers of visits, scrambled without collision.
struct Sessions {
    seed: u64,
    text: String,
}

impl Sessions {
    fn id(&mut self, visit: u64) -> &str {
        const MASK: u64 = (1 << 48) - 1;
        // Each step is a bijection of 48 bits: xor, odd factor, xor with the upper half.
        let mut x = (visit ^ self.seed) & MASK;
        for factor in [0x5bd1_e995_9e37_u64, 0x2545_f491_4f6d] {
            x = x.wrapping_mul(factor) & MASK;
            x ^= x >> 24;
        }
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "s-{x:012x}");
        &self.text
    }
}

#[cfg(test)]
#[path = "tests/stream.rs"]
mod tests;
