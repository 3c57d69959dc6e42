//! The producer's side of a member: transactions under one transactional id.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::clients;
use super::context::DeliveryNotes;
use super::error::{Class, class, in_transaction, of_code, sorted};
use crate::log::{Committed, Error, Output};

/// How long taking a transactional id over may take: the predecessor's transaction is aborted first.
const TAKE_OVER: Duration = Duration::from_secs(30);

/// How often a broker is asked for its name before transactions are started anyhow.
const CONNECTS: u32 = 5;

/// Time between two looks for delivery reports. rdkafka's poll would wait for them by itself, but spins through what is left of
/// its time once that is below a millisecond, and waits for all of it even when something came: a fifth of all CPU time.
const TURN: Duration = Duration::from_micros(500);

pub(super) struct Transactions {
    config: ClientConfig,
    id: String,
    /// The group's topic.
    topic: String,
    timeout: Duration,
    /// None after a failed start, until the next one.
    producer: Option<BaseProducer<DeliveryNotes>>,
    /// When the open transaction began.
    opened: Option<Instant>,
}

impl Transactions {
    /// Takes the transactional id over: what its last owner left open is aborted, and that owner is fenced.
    pub(super) fn take_over(options: &super::Options) -> Result<Self, Error> {
        let mut transactions = Self {
            config: clients::transactional(options),
            id: options.transactional_id.clone(),
            topic: options.topic.clone(),
            timeout: options.transaction_timeout,
            producer: None,
            opened: None,
        };
        transactions.restart()?;
        Ok(transactions)
    }

    /// Starts a new producer under the same id.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        // Destroyed first: a producer whose last outcome is unknown may neither finish nor begin anything more
        // (KAFKA-17754), and the new epoch fences what it left in flight.
        self.producer = None;
        self.opened = None;
        let doing = format!("start transactions as {:?}", self.id);
        let producer: BaseProducer<DeliveryNotes> = self
            .config
            .create_with_context(DeliveryNotes::default())
            .map_err(|error| sorted(&doing, &error))?;
        // Where no broker is connected, librdkafka asks for the coordinator again only after half a second. The connection to a
        // bootstrap address (below 0) does not count: it is closed as soon as the brokers themselves are known.
        for _ in 0..CONNECTS {
            let metadata = producer.client().fetch_metadata(Some(&self.topic), clients::ANSWER);
            if metadata.map_err(|error| sorted(&doing, &error))?.orig_broker_id() >= 0 {
                break;
            }
        }
        producer.init_transactions(TAKE_OVER).map_err(|error| sorted(&doing, &error))?;
        self.producer = Some(producer);
        Ok(())
    }

    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let producer = self.ready()?;
        producer.begin_transaction().map_err(|error| self.failed("begin a transaction", &error))?;
        self.opened = Some(Instant::now());
        Ok(())
    }

    pub(super) fn send(&mut self, output: &Output) -> Result<(), Error> {
        let producer = self.ready()?;
        let doing = || format!("write to partition {} of {:?}", output.partition, output.topic);
        let mut record = to_record(output);
        loop {
            record = match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                    producer.poll(Duration::ZERO);
                    thread::sleep(TURN);
                    record
                }
                Err((error, _)) => return Err(self.failed(&doing(), &error)),
            };
        }
    }

    /// Commits what was sent, and the offsets of `topic`, if any, under the group's fence.
    pub(super) fn commit(
        &mut self,
        topic: &str,
        offsets: &[(i32, Committed)],
        fence: Option<ConsumerGroupMetadata>,
    ) -> Result<(), Error> {
        let producer = self.ready()?;
        let deadline = Instant::now() + self.timeout;
        let doing = "commit a transaction";
        // Flushed first, so that a failed delivery is told as such and not as a refused commit.
        drain(producer, deadline).map_err(|error| self.failed(doing, &error))?;
        if let Some(failure) = producer.context().failure() {
            self.unfenced(doing)?;
            return Err(Error::Abort(format!("could not {doing}: {failure}")));
        }
        if let Some(fence) = fence {
            let list = to_list(topic, offsets)?;
            self.persist(doing, deadline, || {
                producer.send_offsets_to_transaction(&list, &fence, left(deadline))
            })?;
        }
        self.persist(doing, deadline, || producer.commit_transaction(left(deadline)))?;
        self.opened = None;
        Ok(())
    }

    /// Aborts what is open. Best effort: what this cannot abort, the broker does when its timeout is over.
    pub(super) fn close(mut self) {
        let open = self.opened.take().is_some();
        if let Some(producer) = self.producer.take()
            && open
            && let Err(error) = producer.abort_transaction(clients::ANSWER)
        {
            tracing::warn!(%error, id = self.id, "could not abort the open transaction: the broker will");
        }
    }

    /// Serves librdkafka's callbacks.
    pub(super) fn serve(&self) {
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
    }

    /// Makes a call again while librdkafka says that it may be, until the deadline.
    fn persist(
        &self,
        doing: &str,
        deadline: Instant,
        mut call: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), Error> {
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    tracing::debug!(%error, "{doing}: again");
                }
                Err(error) => return Err(self.failed(doing, &error)),
            }
        }
    }

    fn ready(&self) -> Result<&BaseProducer<DeliveryNotes>, Error> {
        self.producer.as_ref().ok_or_else(|| Error::Abort("the producer has not been restarted".into()))
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> Error {
        match self.unfenced(doing) {
            Err(fenced) => fenced,
            Ok(()) if error.rdkafka_error_code().is_some_and(|code| class(code) == Class::Fenced) => {
                self.fenced(doing)
            }
            Ok(()) => in_transaction(doing, error),
        }
    }

    /// A producer that librdkafka gave up reports that in many words: the reason is asked for here.
    fn unfenced(&self, doing: &str) -> Result<(), Error> {
        let given_up = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let Some((code, text)) = given_up else { return Ok(()) };
        Err(match class(code) {
            Class::Fenced => self.fenced(doing),
            Class::Retry => Error::Abort(format!("could not {doing}: {text}")),
            Class::Abort | Class::Fatal => of_code(doing, code, &text),
        })
    }

    /// The broker bumps the epoch for another owner, and also when it aborts a transaction that is open for too long.
    fn fenced(&self, doing: &str) -> Error {
        let open = self.opened.map(|opened| opened.elapsed());
        match open {
            Some(open) if open >= self.timeout => Error::Abort(format!(
                "could not {doing}: it was open for {} ms, and the broker aborts after {} ms",
                open.as_millis(),
                self.timeout.as_millis()
            )),
            _ => Error::Fatal(format!(
                "could not {doing}: another process uses the transactional id {:?}; stop one of them, or give each its \
                 own",
                self.id
            )),
        }
    }
}

/// Waits until everything sent is delivered or has failed. rdkafka's own flush looks every 100 ms only.
fn drain(producer: &BaseProducer<DeliveryNotes>, deadline: Instant) -> Result<(), KafkaError> {
    loop {
        match producer.flush(Duration::ZERO) {
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) if Instant::now() < deadline => {
                let under_way = producer.in_flight_count();
                producer.poll(Duration::ZERO);
                if producer.in_flight_count() == under_way {
                    thread::sleep(TURN);
                }
            }
            flushed => return flushed,
        }
    }
}

fn left(deadline: Instant) -> Duration {
    // Zero would mean "just look"; the calls must at least get an answer under way.
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn to_list(topic: &str, offsets: &[(i32, Committed)]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, committed) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(committed.offset)).map_err(|error| {
            Error::Fatal(format!("offset {} of partition {partition}: {error}", committed.offset))
        })?;
        element.set_metadata(&committed.metadata);
    }
    Ok(list)
}

pub(super) fn to_record(output: &Output) -> BaseRecord<'_, [u8], [u8]> {
    let mut record = BaseRecord::to(&output.topic).partition(output.partition);
    record.key = output.key.as_deref();
    record.payload = output.value.as_deref();
    if !output.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
        for (key, value) in &output.headers {
            headers = headers.insert(Header { key, value: Some(value.as_str()) });
        }
        record.headers = Some(headers);
    }
    record
}
