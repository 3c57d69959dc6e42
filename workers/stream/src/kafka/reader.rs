//! [`Reader`]: follows topics without a group.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::clients::{self, ANSWER};
use super::context::ConsumerNotes;
use super::error::{Class, class, of_code, sorted};
use super::group::record;
use super::partitions;
use crate::log::{Error, Record};

/// Lets pass what librdkafka overcomes by itself.
pub(super) fn passing(error: &KafkaError, detail: &str, doing: &dyn Fn() -> String) -> Result<(), Error> {
    let Some(code) = error.rdkafka_error_code() else { return Err(sorted(&doing(), error)) };
    let text = if detail.is_empty() { error.to_string() } else { detail.to_owned() };
    match class(code) {
        // Retention took the offset between asking for it and fetching it.
        _ if code == RDKafkaErrorCode::AutoOffsetReset => {
            Err(Error::Retry(format!("could not {}: {text}", doing())))
        }
        Class::Retry | Class::Abort => Ok(()),
        Class::Fenced | Class::Fatal => Err(of_code(&doing(), code, &text)),
    }
}

/// Where a [`Reader`] starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is still there.
    Beginning,
    /// After everything that is committed now.
    End,
    /// So many offsets before the end of each partition, or at its beginning.
    Last(i64),
}

/// Where a [`Reader`] reads.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// `HOST:PORT,...`.
    pub bootstrap: String,
    /// `client.id`; also the name of the group that it never joins.
    pub client_id: String,
    /// Further librdkafka properties (security, mostly); they win.
    pub extra: Vec<(String, String)>,
}

/// Follows all partitions of some topics, committed records only, without a group.
pub struct Reader {
    consumer: BaseConsumer<ConsumerNotes>,
    bootstrap: String,
    partitions: usize,
    /// Partitions that were read to their end.
    reached: BTreeSet<i32>,
}

impl Reader {
    /// Starts reading. Where retention overtakes it later, it goes on with the first record that is still there.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers, [`Error::Fatal`] for a topic that is not there.
    pub fn follow(options: &ReaderOptions, topics: &[&str], start: Start) -> Result<Self, Error> {
        let mut config =
            clients::reader(&options.bootstrap, &options.client_id, &options.client_id, &options.extra);
        config.set("auto.offset.reset", "earliest");
        let doing = || format!("follow {topics:?} at {}", options.bootstrap);
        let failed = |error: KafkaError| sorted(&doing(), &error);
        let consumer: BaseConsumer<ConsumerNotes> =
            config.create_with_context(ConsumerNotes::default()).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions::count(consumer.client(), topic, &options.bootstrap)? {
                // Asked for now, so that nothing written from here on is missed.
                let (first, end) = consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
                let offset = match start {
                    Start::Beginning => first,
                    Start::End => end,
                    Start::Last(offsets) => first.max(end - offsets),
                };
                list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
            }
        }
        consumer.assign(&list).map_err(failed)?;
        let reached = BTreeSet::new();
        Ok(Self { consumer, bootstrap: options.bootstrap.clone(), partitions: list.count(), reached })
    }

    /// Whether every partition was read to its end at least once. Only for a reader of one topic: librdkafka reports ends by
    /// partition, not by topic.
    pub fn at_end(&self) -> bool {
        self.reached.len() >= self.partitions
    }

    /// Hands out up to `max` records with their topics, in the order of each partition, and returns how many. Waits at most
    /// `wait` for the first.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker is left; reading goes on by itself afterwards. [`Error::Fatal`] otherwise.
    pub fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(&str, Record<'_>),
    ) -> Result<usize, Error> {
        let deadline = Instant::now() + wait;
        let mut records = 0;
        // As for a group's member: reports left over from an outage that has ended must not hide what came after.
        let mut outage = None;
        while records < max {
            let patience =
                if records > 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    sink(message.topic(), record(&message));
                    records += 1;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.reached.insert(partition)),
                Some(Err(error)) => {
                    let doing = || format!("read at {}", self.bootstrap);
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
                        outage = Some(sorted(&doing(), &error));
                    } else {
                        passing(&error, &self.consumer.context().take_detail(), &doing)?;
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
