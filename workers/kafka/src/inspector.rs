//! Reads commits, offsets and records besides a group membership.

use std::{
    cell::OnceCell,
    time::{Duration, Instant},
};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::admin::describe;
use super::clients::{self, ANSWER};
use super::context::ConsumerNotes;
use super::error::{classify, of_code};
use super::group::record;
use super::partitions;
use super::reader::check_transient;
use super::watchdog::{MAX_UNCLOSED, Unclosed};
use weir_log::{Committed, Error, Generations, Record, TopicDescription};

/// How long to wait for pending transactions before the caller must retry.
const STABLE: Duration = Duration::from_secs(5);

/// Maximum time without a record while reading.
const SILENCE: Duration = Duration::from_secs(30);

/// A consumer under the group's name that never joins it. A connection responds in order, and on the member's own a request to join
/// may block until all other members have joined: requests after it would wait as long.
pub struct TopicInspector {
    consumer: BaseConsumer<ConsumerNotes>,
    config: ClientConfig,
    /// A client that also reads uncommitted records; created on first use.
    uncommitted: OnceCell<BaseConsumer<ConsumerNotes>>,
    topic: String,
    group: String,
    brokers: String,
    /// Replaced clients that have not closed yet.
    unclosed: Unclosed,
}

impl TopicInspector {
    /// Connects as the given group, on the given topic.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn connect(options: &super::MemberOptions) -> Result<Self, Error> {
        let config = clients::inspector(options);
        let consumer = config
            .create_with_context(ConsumerNotes::default())
            .map_err(|error| classify("start reading", &error))?;
        Ok(Self {
            consumer,
            config,
            uncommitted: OnceCell::new(),
            topic: options.topic.clone(),
            group: options.group.clone(),
            brokers: options.connection.brokers.clone(),
            unclosed: Unclosed::default(),
        })
    }

    /// Continues with new clients: one that lost its brokers for long may never find them again.
    ///
    /// # Errors
    /// [`Error::Retry`] if too many clients did not close; the old one stays then.
    pub fn renew(&mut self) -> Result<(), Error> {
        if self.unclosed.too_many() {
            return Err(Error::retry(format!(
                "could not connect anew to {}: {MAX_UNCLOSED} clients did not close",
                self.brokers
            )));
        }
        let consumer = self
            .config
            .create_with_context(ConsumerNotes::default())
            .map_err(|error| classify("start reading", &error))?;
        let old = (std::mem::replace(&mut self.consumer, consumer), self.uncommitted.take());
        self.unclosed.close("a client", old);
        Ok(())
    }

    /// The group's topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of partitions of the group's topic.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn partition_count(&self) -> Result<i32, Error> {
        partitions::count(self.consumer.client(), &self.topic, &self.brokers)
    }

    /// Descriptions of the named topics, in this order; `None` for a missing one.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error> {
        use RDKafkaErrorCode as C;
        let doing = |names: &str| format!("look at {names} at {}", self.brokers);
        let mut found = describe(self.consumer.client(), names)
            .map_err(|error| classify(&doing(&names.join(", ")), &error))?;
        let of = |name: &&str| match found.remove(*name) {
            Some(Ok(topic)) => Ok(Some(topic)),
            None | Some(Err(C::UnknownTopicOrPartition | C::UnknownTopic)) => Ok(None),
            Some(Err(code)) => Err(of_code(&doing(name), code, &code.to_string())),
        };
        names.iter().map(of).collect()
    }

    /// The group's commits in every partition of its topic: see [`Member::committed`](weir_log::Member::committed).
    ///
    /// # Errors
    /// [`Error::Retry`] while a transaction with offsets of the group is pending.
    pub fn committed(&self) -> Result<Vec<Option<Committed>>, Error> {
        let doing = || format!("read what group {:?} committed on {:?}", self.group, self.topic);
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partition_count()? {
            list.add_partition(&self.topic, partition);
        }
        // With read_committed librdkafka requests stable offsets, and retries while they are not.
        let list =
            self.consumer.committed_offsets(list, STABLE).map_err(|error| classify(&doing(), &error))?;
        let mut elements = list.elements();
        elements.sort_by_key(|element| element.partition());
        elements
            .iter()
            .map(|element| {
                element.error().map_err(|error| classify(&doing(), &error))?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => {
                        Some(Committed { offset, metadata: element.metadata().to_owned() })
                    }
                    _ => None,
                })
            })
            .collect()
    }

    /// The generations that a topic records; none if it is missing.
    ///
    /// # Errors
    /// As [`Error`] says; [`Error::Fatal`] for a record of another version.
    pub fn generations(&self, topic: &str) -> Result<Generations, Error> {
        if self.topics(&[topic])?.iter().all(Option::is_none) {
            return Ok(Generations::default());
        }
        Generations::collect(topic, |sink| self.read(topic, 0, 0, sink).map(drop))
    }

    /// The first retained offset of a partition of the group's topic.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn beginning(&self, partition: i32) -> Result<i64, Error> {
        Ok(self.watermarks(&self.topic, partition)?.0)
    }

    /// The last stable offset of a partition of the group's topic, unless the options request uncommitted records.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn end(&self, partition: i32) -> Result<i64, Error> {
        Ok(self.watermarks(&self.topic, partition)?.1)
    }

    /// The high watermark of a partition of the group's topic: also past what open transactions hold back.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn high_watermark(&self, partition: i32) -> Result<i64, Error> {
        let uncommitted = match self.uncommitted.get() {
            Some(uncommitted) => uncommitted,
            None => {
                let consumer = self
                    .config
                    .clone()
                    .set("isolation.level", "read_uncommitted")
                    .create_with_context(ConsumerNotes::default())
                    .map_err(|error| classify("start reading", &error))?;
                self.uncommitted.get_or_init(|| consumer)
            }
        };
        Ok(self.watermarks_of(uncommitted, &self.topic, partition)?.1)
    }

    /// The first offset and the last stable offset of a partition of any topic.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        self.watermarks_of(&self.consumer, topic, partition)
    }

    /// The first offset, and the end up to which the consumer may read.
    fn watermarks_of(
        &self,
        consumer: &BaseConsumer<ConsumerNotes>,
        topic: &str,
        partition: i32,
    ) -> Result<(i64, i64), Error> {
        use RDKafkaErrorCode as C;
        let doing = || format!("find the ends of partition {partition} of {topic:?}");
        consumer.fetch_watermarks(topic, partition, ANSWER).map_err(|error| {
            match error.rdkafka_error_code() {
                // A broker that was just started again does not know its topics at once. Whether a topic is there at all is asked
                // before anything else, and again while a process runs.
                Some(C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition) => {
                    Error::retry(format!("could not {}: {error}", doing()))
                }
                _ => classify(&doing(), &error),
            }
        })
    }

    /// Reads all committed records from `from`, or from the first retained one, to the end; returns the offset after them.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(Record<'_>),
    ) -> Result<i64, Error> {
        self.read_messages(topic, partition, from, &mut |message| sink(record(message)))
    }

    /// As [`read`](Self::read), with UTF-8 headers.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn read_headers(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        mut sink: impl FnMut(Record<'_>, &[(&str, &str)]),
    ) -> Result<i64, Error> {
        self.read_messages(topic, partition, from, &mut |message| {
            let headers = message.headers().into_iter().flat_map(Headers::iter);
            let text =
                headers.filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?)));
            sink(record(message), &text.collect::<Vec<_>>());
        })
    }

    fn read_messages(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(&BorrowedMessage<'_>),
    ) -> Result<i64, Error> {
        let doing = || format!("read partition {partition} of {topic:?}");
        let (first, end) = self.watermarks(topic, partition)?;
        let from = from.max(first);
        if from >= end {
            return Ok(from);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .map_err(|error| classify(&doing(), &error))?;
        self.consumer.assign(&list).map_err(|error| classify(&doing(), &error))?;
        let reached = self.follow((topic, partition), (from, end), sink, &doing);
        self.consumer.unassign().map_err(|error| classify(&doing(), &error))?;
        reached
    }

    fn follow(
        &self,
        (topic, partition): (&str, i32),
        (from, end): (i64, i64),
        sink: &mut dyn FnMut(&BorrowedMessage<'_>),
        doing: &dyn Fn() -> String,
    ) -> Result<i64, Error> {
        let mut position = from;
        let mut progress = Instant::now();
        while position < end {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.topic() == topic && message.partition() == partition => {
                    sink(&message);
                    position = message.offset() + 1;
                    progress = Instant::now();
                }
                // Everything up to the end at the start has been read; aborted records and markers leave no other trace.
                Some(Err(KafkaError::PartitionEOF(at))) if at == partition => {
                    let reached = self.consumer.context().take_end();
                    position = reached.unwrap_or(end).max(position);
                }
                Some(Err(error)) => check_transient(&error, &self.consumer.context().take_detail(), doing)?,
                Some(Ok(_)) | None => {}
            }
            if progress.elapsed() > SILENCE {
                return Err(Error::retry(format!("could not {}: nothing came for {SILENCE:?}", doing())));
            }
        }
        Ok(position)
    }
}
