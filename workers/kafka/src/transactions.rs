//! The producer's side of a member: transactions under one transactional id.

use std::cell::Cell;
use std::sync::Arc;
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
use super::error::{Class, class, classify, in_transaction, of_code};
#[cfg(feature = "failpoints")]
use super::failpoint::{self, Cure, Step};
use super::watchdog::{Hung, Watchdog};
use weir_log::{Committed, Error, Output};

/// Time limit for taking over a transactional id: the predecessor's transaction is aborted first.
const TAKE_OVER: Duration = Duration::from_secs(30);

/// Maximum attempts to reach a broker before transactions are started anyway.
const CONNECTS: u32 = 5;

/// Maximum number of abandoned calls before the process must restart: each keeps a producer's threads, sockets and queue.
const MAX_HUNG: u32 = 50;

/// Interval of polling for delivery reports. rdkafka's own blocking poll spins when less than a millisecond is left, and waits for
/// the full time even after an event: a fifth of all CPU time.
const TURN: Duration = Duration::from_micros(500);

/// How much longer than its own timeout a call may take before it is abandoned.
const SLACK: Duration = Duration::from_secs(5);

type Owned = BaseProducer<DeliveryNotes>;

pub(super) struct Transactions {
    config: ClientConfig,
    id: String,
    /// The group's topic.
    topic: String,
    timeout: Duration,
    /// `None` after a failed start, until the next one.
    producer: Option<Arc<Owned>>,
    /// When the open transaction began.
    opened: Option<Instant>,
    /// A request that is sent again is so after this time at the earliest, and because its connection failed.
    resend_after: Duration,
    /// Whether librdkafka reports failed connections.
    reports_failures: bool,
    /// Whether a request of the last commit may have been sent twice, so that the first one may still be under way. Delivered amid the
    /// next transaction of the same epoch, a commit would end it too early (KAFKA-17754): so a new producer begins that one.
    may_be_under_way: bool,
    /// Runs all calls that wait for a broker.
    watchdog: Watchdog,
    /// Our own attempts to take over the id that got no response. One of them may still reach the broker later, and would fence this
    /// producer.
    unanswered: Cell<u32>,
    /// Number of calls that did not return, each with a producer that is never freed.
    hung: u32,
    /// For tests: makes the next call hang.
    #[cfg(test)]
    hangs: Option<Hangs>,
}

/// The reason why a transaction was not committed.
enum Failure {
    /// A record was not written.
    Delivery(String),
    Call(KafkaError),
}

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hangs {
    Commit,
    Start,
}

impl Transactions {
    /// Takes over the transactional id: aborts its last owner's open transaction, and fences that owner.
    pub(super) fn take_over(options: &super::MemberOptions) -> Result<Self, Error> {
        let config = clients::transactional(options);
        let mut transactions = Self {
            resend_after: clients::resend_after(&config),
            reports_failures: config.get("log.connection.close") != Some("false"),
            config,
            may_be_under_way: false,
            id: options.transactional_id.clone(),
            topic: options.topic.clone(),
            timeout: options.transaction_timeout,
            producer: None,
            opened: None,
            watchdog: Watchdog::new("weir-transactions"),
            unanswered: Cell::new(0),
            hung: 0,
            #[cfg(test)]
            hangs: None,
        };
        transactions.restart()?;
        Ok(transactions)
    }

    /// Starts a new producer under the same id.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        if self.hung >= MAX_HUNG {
            return Err(Error::fatal(format!(
                "{} calls of the Kafka client did not return, and what they hold cannot be freed: start the process again, it goes on \
                 from what was committed",
                self.hung
            )));
        }
        // Destroyed first: a producer whose last outcome is unknown may neither finish nor begin anything more
        // (KAFKA-17754), and the new epoch fences what it left in flight.
        (self.opened, self.may_be_under_way) = (None, false);
        if let Some(producer) = self.producer.take() {
            // One that is not destroyed in time is abandoned: it is fenced as well.
            if self.watchdog.run(SLACK, move || drop(producer)).is_err() {
                self.hung += 1;
                tracing::warn!(id = self.id, "the producer did not close: abandoned");
            }
        }
        let doing = format!("start transactions as {:?}", self.id);
        let (config, topic) = (self.config.clone(), self.topic.clone());
        #[cfg(test)]
        let hangs = self.hangs.take_if(|hangs| *hangs == Hangs::Start).is_some();
        let started = self.watchdog.run(TAKE_OVER + 2 * clients::ANSWER, move || {
            #[cfg(test)]
            hang(hangs);
            start(&config, &topic)
        });
        match started {
            Ok(Ok(producer)) => {
                self.producer = Some(Arc::new(producer));
                Ok(())
            }
            Ok(Err((error, asked))) => {
                self.unanswered.set(self.unanswered.get() + u32::from(asked));
                Err(classify(&doing, &error))
            }
            Err(Hung { limit }) => {
                self.unanswered.set(self.unanswered.get() + 1);
                self.hung += 1;
                Err(Error::retry(format!(
                    "could not {doing}: no answer for {limit:?}, the producer is abandoned"
                )))
            }
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.may_be_under_way {
            self.restart()?;
        }
        let producer = Arc::clone(self.ready()?);
        let doing = "begin a transaction";
        match self.watchdog.run(SLACK, move || producer.begin_transaction()) {
            Ok(begun) => begun.map_err(|error| self.failed(doing, &error))?,
            Err(hung) => return Err(self.abandon(doing, &hung)),
        }
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
        let producer = Arc::clone(self.ready()?);
        let doing = "commit a transaction";
        let offsets = match fence {
            Some(fence) => Some((to_list(topic, offsets)?, fence)),
            None => None,
        };
        let deadline = Instant::now() + self.timeout;
        let (resend_after, reports_failures) = (self.resend_after, self.reports_failures);
        #[cfg(test)]
        let hangs = self.hangs.take_if(|hangs| *hangs == Hangs::Commit).is_some();
        let committed = self.watchdog.run(self.timeout + SLACK, move || {
            #[cfg(test)]
            hang(hangs);
            let begun = Instant::now();
            commit(&producer, deadline, offsets)?;
            let took = begun.elapsed();
            Ok(took >= resend_after && (!reports_failures || was_interrupted(&producer)))
        });
        match committed {
            Ok(Ok(may_be_under_way)) => {
                self.may_be_under_way = may_be_under_way;
                #[cfg(feature = "failpoints")]
                if failpoint::is_without(Cure::FreshProducer) {
                    self.may_be_under_way = false;
                }
                if self.may_be_under_way {
                    tracing::debug!(
                        id = self.id,
                        "a request of the commit may have been sent twice: a new producer goes on"
                    );
                }
            }
            Ok(Err(Failure::Call(error))) => return Err(self.failed(doing, &error)),
            Ok(Err(Failure::Delivery(failure))) => {
                self.unfenced(doing)?;
                return Err(Error::abort(format!("could not {doing}: {failure}")));
            }
            Err(hung) => return Err(self.abandon(doing, &hung)),
        }
        self.opened = None;
        Ok(())
    }

    /// Abandons a producer in a call that does not return: it cannot be destroyed meanwhile. The next one fences it.
    fn abandon(&mut self, doing: &str, hung: &Hung) -> Error {
        (self.producer, self.opened) = (None, None);
        self.hung += 1;
        let limit = hung.limit;
        tracing::warn!(id = self.id, "could not {doing}: no answer for {limit:?}, the producer is abandoned");
        Error::abort(format!("could not {doing}: the call did not return for {limit:?}"))
    }

    /// Aborts the open transaction. Best effort: otherwise the broker aborts it after its timeout.
    pub(super) fn close(mut self) {
        let open = self.opened.take().is_some();
        let Some(producer) = self.producer.take() else { return };
        let closed = self.watchdog.run(clients::ANSWER + SLACK, move || {
            if open { producer.abort_transaction(clients::ANSWER) } else { Ok(()) }
        });
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, id = self.id, "could not abort the open transaction: the broker will");
            }
            Err(Hung { limit }) => {
                tracing::warn!(id = self.id, "no answer for {limit:?}: the broker will abort what is open");
            }
        }
    }

    /// Serves librdkafka's callbacks.
    pub(super) fn serve(&self) {
        if let Some(producer) = &self.producer {
            producer.poll(Duration::ZERO);
        }
    }

    fn ready(&self) -> Result<&Arc<Owned>, Error> {
        self.producer.as_ref().ok_or_else(|| Error::abort("the producer has not been restarted"))
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

    /// The reason of a fatal error of librdkafka's producer, which is clearer than the errors of its calls.
    fn unfenced(&self, doing: &str) -> Result<(), Error> {
        let given_up = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let Some((code, text)) = given_up else { return Ok(()) };
        Err(match class(code) {
            Class::Fenced => self.fenced(doing),
            Class::Retry => Error::abort(format!("could not {doing}: {text}")),
            Class::Abort | Class::Fatal => of_code(doing, code, &text),
        })
    }

    /// Classifies a fencing: the broker bumps the epoch for another owner, and when it aborts a transaction after its timeout.
    fn fenced(&self, doing: &str) -> Error {
        let open = self.opened.map(|opened| opened.elapsed());
        match open {
            Some(open) if open >= self.timeout => Error::abort(format!(
                "could not {doing}: it was open for {} ms, and the broker aborts after {} ms",
                open.as_millis(),
                self.timeout.as_millis()
            )),
            _ if self.unanswered.get() > 0 => {
                self.unanswered.set(self.unanswered.get() - 1);
                Error::abort(format!(
                    "could not {doing}: the transactional id {:?} was taken over, perhaps by an earlier attempt of this process \
                     that was not answered",
                    self.id
                ))
            }
            _ => Error::fatal(format!(
                "could not {doing}: another process uses the transactional id {:?}; stop one of them, or give each its \
                 own",
                self.id
            )),
        }
    }
}

/// Starts a producer with the id; on failure returns the error, and whether the id may have been taken over anyway.
fn start(config: &ClientConfig, topic: &str) -> Result<Owned, (KafkaError, bool)> {
    let producer: Owned =
        config.create_with_context(DeliveryNotes::default()).map_err(|error| (error, false))?;
    // Without a connected broker, librdkafka asks for the coordinator again only after half a second. The connection to a
    // bootstrap address (id below 0) does not count: it is closed as soon as the brokers are known.
    for _ in 0..CONNECTS {
        let metadata = producer.client().fetch_metadata(Some(topic), clients::ANSWER);
        if metadata.map_err(|error| (error, false))?.orig_broker_id() >= 0 {
            break;
        }
    }
    producer.init_transactions(TAKE_OVER).map_err(|error| (error, true))?;
    Ok(producer)
}

fn commit(
    producer: &Owned,
    deadline: Instant,
    offsets: Option<(TopicPartitionList, ConsumerGroupMetadata)>,
) -> Result<(), Failure> {
    // Flushed first, so that a failed delivery is reported as such and not as a refused commit.
    drain(producer, deadline).map_err(Failure::Call)?;
    if let Some(failure) = producer.context().failure() {
        return Err(Failure::Delivery(failure));
    }
    #[cfg(feature = "failpoints")]
    failpoint::reached(Step::Produced);
    if let Some((list, fence)) = offsets {
        #[cfg(feature = "failpoints")]
        if failpoint::is_without(Cure::OneTransaction) {
            persist(deadline, || producer.commit_transaction(left(deadline)))?;
            producer.begin_transaction().map_err(Failure::Call)?;
        }
        persist(deadline, || producer.send_offsets_to_transaction(&list, &fence, left(deadline)))?;
        #[cfg(feature = "failpoints")]
        failpoint::reached(Step::OffsetsSent);
    }
    #[cfg(feature = "failpoints")]
    failpoint::commit_sent();
    persist(deadline, || producer.commit_transaction(left(deadline)))?;
    #[cfg(feature = "failpoints")]
    failpoint::reached(Step::Committed);
    Ok(())
}

/// Retries a call while its error is retriable, until the deadline.
fn persist(deadline: Instant, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Failure> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                tracing::debug!(%error, "transient error of a transaction's call, retrying");
                thread::sleep(TURN);
            }
            Err(error) => return Err(Failure::Call(error)),
        }
    }
}

/// Whether a connection of the producer may have failed lately. librdkafka's log lines wait to be polled, and count as in flight until
/// then.
fn was_interrupted(producer: &Owned) -> bool {
    let deadline = Instant::now() + SLACK / 5;
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        if Instant::now() >= deadline {
            return true;
        }
    }
    producer.context().was_interrupted()
}

#[cfg(test)]
fn hang(hangs: bool) {
    if hangs {
        loop {
            thread::park();
        }
    }
}

/// Waits until everything sent is delivered or has failed. rdkafka's own flush polls only every 100 ms.
fn drain(producer: &Owned, deadline: Instant) -> Result<(), KafkaError> {
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
    // Zero would mean "do not wait"; the calls need at least the time for a response.
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn to_list(topic: &str, offsets: &[(i32, Committed)]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, committed) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(committed.offset)).map_err(|error| {
            Error::fatal(format!("offset {} of partition {partition}: {error}", committed.offset)).at(
                topic,
                *partition,
                Some(committed.offset),
            )
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

#[cfg(test)]
mod tests;
