//! [`Reader`]: follows topics without a group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Connection;
use super::admin::describe;
use super::clients::{self, ANSWER};
use super::context::ConsumerNotes;
use super::error::{Class, class, classify, of_code};
use super::group::record;
use super::partitions;
use super::watchdog::{MAX_UNCLOSED, Unclosed};
use weir_log::{Error, Record, identity};

/// Ignores errors that librdkafka handles itself.
pub(super) fn check_transient(
    error: &KafkaError,
    detail: &str,
    doing: &dyn Fn() -> String,
) -> Result<(), Error> {
    let Some(code) = error.rdkafka_error_code() else { return Err(classify(&doing(), error)) };
    let text = if detail.is_empty() { error.to_string() } else { detail.to_owned() };
    match class(code) {
        // Retention deleted the offset between finding and fetching it.
        _ if code == RDKafkaErrorCode::AutoOffsetReset => {
            Err(Error::retry(format!("could not {}: {text}", doing())))
        }
        Class::Retry | Class::Abort => Ok(()),
        Class::Fenced | Class::Fatal => Err(of_code(&doing(), code, &text)),
    }
}

/// Where a [`Reader`] starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first retained record.
    Beginning,
    /// After everything that is currently committed.
    End,
    /// This many offsets before the end of each partition, or at its beginning.
    Last(i64),
}

type Client = BaseConsumer<ConsumerNotes>;
/// By partition.
type Offsets = BTreeMap<i32, i64>;

/// Follows all partitions of topics without a group; reads committed records only.
pub struct Reader {
    consumer: Client,
    connection: Connection,
    topics: Vec<String>,
    /// The topics' ids when reading began; empty with brokers before Kafka 2.8.
    ids: Vec<String>,
    /// The next offset, by partition.
    positions: Offsets,
    /// The ends of the partitions at the last check.
    ends: Offsets,
    /// Replaced clients that have not closed yet.
    unclosed: Unclosed,
}

impl Reader {
    /// Starts reading. If retention overtakes it later, it continues at the first retained record.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers, [`Error::Fatal`] for a topic that is not there.
    pub fn follow(connection: &Connection, topics: &[&str], start_at: Start) -> Result<Self, Error> {
        let doing = || format!("follow {topics:?} at {}", connection.brokers);
        let failed = |error: KafkaError| classify(&doing(), &error);
        let consumer = consumer(connection).map_err(failed)?;
        // Before the offsets: a topic that is recreated from here on is detected by `check_ends`.
        let found = describe(consumer.client(), topics).map_err(failed)?;
        let id = |topic: &&str| match found.get(*topic) {
            Some(Ok(found)) => found.id.clone(),
            _ => String::new(),
        };
        let ids: Vec<String> = topics.iter().map(id).collect();
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (positions, ends) = start(&consumer, connection, &topics, |_, first, end| match start_at {
            Start::Beginning => first,
            Start::End => end,
            Start::Last(offsets) => first.max(end - offsets),
        })?;
        let (connection, unclosed) = (connection.clone(), Unclosed::default());
        Ok(Self { consumer, connection, topics, ids, positions, ends, unclosed })
    }

    /// Whether everything up to the last known ends was read; [`follow`](Self::follow) and [`check_ends`](Self::check_ends) update them.
    /// Only for a reader of one topic: librdkafka reports ends by partition, not by topic.
    pub fn at_end(&self) -> bool {
        self.ends.iter().all(|(partition, end)| self.positions.get(partition).is_some_and(|at| at >= end))
    }

    /// Updates the topic's ends, which [`at_end`](Self::at_end) uses from then on. If reading must start over, returns why: the topic was
    /// recreated, or has another number of partitions. Only for a reader of one topic.
    ///
    /// # Errors
    /// [`Error::Retry`] if no broker responds or the topic is missing, [`Error::Fatal`] if it may not be read.
    pub fn check_ends(&mut self) -> Result<Option<String>, Error> {
        let topic = &self.topics[0];
        let doing = || format!("find the ends of {topic:?} at {}", self.connection.brokers);
        let failed = |error: KafkaError| classify(&doing(), &error);
        let mut found = describe(self.consumer.client(), &[topic]).map_err(failed)?;
        let found = match found.remove(topic) {
            Some(Ok(found)) => found,
            None | Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                return Err(Error::retry(format!(
                    "there is no topic {topic}, or the broker does not know it yet"
                )));
            }
            Some(Err(code)) => return Err(of_code(&doing(), code, &code.to_string())),
        };
        let was = &self.ids[0];
        if !was.is_empty() && !found.id.is_empty() && *was != found.id {
            return Ok(Some(identity::recreated(topic, was, &found.id)));
        }
        let partitions = self.positions.len();
        if usize::try_from(found.partitions) != Ok(partitions) {
            return Ok(Some(format!(
                "topic {topic} has {} partitions, it had {partitions}",
                found.partitions
            )));
        }
        let mut ends = Offsets::new();
        for (&partition, &position) in &self.positions {
            let (_, end) = self.consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
            if end < position {
                // A broker that has just started may temporarily show less. After a real loss librdkafka resets to the beginning.
                return Err(Error::retry(format!(
                    "{topic}/{partition} ends at offset {end}, and was read up to {position}"
                )));
            }
            ends.insert(partition, end);
        }
        self.ends = ends;
        Ok(None)
    }

    /// Continues with a new client: one that lost its brokers for long may never find them again. Only for a reader of one
    /// topic.
    ///
    /// # Errors
    /// As for [`follow`](Self::follow), and [`Error::Retry`] if too many clients did not close. The old client stays then.
    pub fn renew(&mut self) -> Result<(), Error> {
        let doing = || format!("follow {:?} at {}", self.topics, self.connection.brokers);
        if self.unclosed.too_many() {
            return Err(Error::retry(format!("could not {}: {MAX_UNCLOSED} clients did not close", doing())));
        }
        let renewed = consumer(&self.connection).map_err(|error| classify(&doing(), &error))?;
        let started = start(&renewed, &self.connection, &self.topics, |partition, first, _| {
            self.positions.get(&partition).copied().unwrap_or(first)
        });
        match started {
            Ok(started) => (self.positions, self.ends) = started,
            Err(error) => {
                self.unclosed.close("a reader", renewed);
                return Err(error);
            }
        }
        let old = std::mem::replace(&mut self.consumer, renewed);
        self.unclosed.close("a reader", old);
        Ok(())
    }

    /// Closes the reader, with a time limit. Dropping it may block forever.
    pub fn close(self) {
        self.unclosed.close("a reader", self.consumer);
    }

    /// Delivers up to `max` records with their topics, in the order of each partition, and returns how many. Waits at most
    /// `wait` for the first.
    ///
    /// # Errors
    /// [`Error::Retry`] if no broker is left; reading continues by itself afterwards. [`Error::Fatal`] otherwise.
    pub fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(&str, Record<'_>),
    ) -> Result<usize, Error> {
        let deadline = Instant::now() + wait;
        let mut records = 0;
        // As for a group's member: stale reports of an outage must not hide later records.
        let mut outage = None;
        while records < max {
            let patience =
                if records > 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    self.positions.insert(message.partition(), message.offset() + 1);
                    sink(message.topic(), record(&message));
                    records += 1;
                }
                // After the last record there may be transaction markers.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(end) = self.consumer.context().take_end() {
                        self.positions.insert(partition, end);
                    }
                }
                Some(Err(error)) => {
                    let doing = || format!("read at {}", self.connection.brokers);
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
                        outage = Some(classify(&doing(), &error));
                    } else {
                        check_transient(&error, &self.consumer.context().take_detail(), &doing)?;
                    }
                }
                None if patience.is_zero() => break,
                None => {}
            }
        }
        match outage {
            Some(outage) if records == 0 => Err(outage),
            _ => Ok(records),
        }
    }
}

fn consumer(connection: &Connection) -> Result<Client, KafkaError> {
    let mut config = clients::reader(connection, &connection.client_id);
    config.set("auto.offset.reset", "earliest");
    config.create_with_context(ConsumerNotes::default())
}

/// Assigns every partition at the offset that `from` gives for its number, first offset and end. Returns these offsets and the ends.
fn start(
    consumer: &Client,
    connection: &Connection,
    topics: &[String],
    from: impl Fn(i32, i64, i64) -> i64,
) -> Result<(Offsets, Offsets), Error> {
    let doing = || format!("follow {topics:?} at {}", connection.brokers);
    let failed = |error: KafkaError| classify(&doing(), &error);
    let mut list = TopicPartitionList::new();
    let (mut positions, mut ends) = (Offsets::new(), Offsets::new());
    for topic in topics {
        for partition in 0..partitions::count(consumer.client(), topic, &connection.brokers)? {
            // Resolved now, so that nothing written from here on is missed.
            let (first, end) = consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
            let offset = from(partition, first, end);
            list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
            positions.insert(partition, offset);
            ends.insert(partition, end);
        }
    }
    consumer.assign(&list).map_err(failed)?;
    Ok((positions, ends))
}
