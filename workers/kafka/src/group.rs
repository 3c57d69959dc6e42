//! The consumer's side of a member: polling and rebalances.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::batch_queue::{self, BatchQueue, Delivery};
use super::clients::ANSWER;
use super::context::{Change, ConsumerNotes};
use super::error::{Class, class, classify, of_code};
use super::watchdog::close_within;
use weir_log::{Error, Item, Rebalance, Record};

/// Longest wait for records before the group is heard again.
const WAIT: Duration = Duration::from_millis(50);

/// Bytes of records after which a poll ends, however many more it may hand out: the caller may have to keep what it cannot take.
const MAX_POLL_BYTES: usize = 16 << 20;

/// How often it is looked whether something has come behind the ends that were reported, where no record says so.
const HELD_BACK_CHECK: Duration = Duration::from_millis(100);

/// How long closing a consumer may take.
const CLOSE: Duration = Duration::from_secs(10);

/// How long the log must say that it does not reach our position before that is believed: a broker that was just started, or just became the
/// leader, may show less for a moment than it had acknowledged.
const BELIEVED_AFTER: Duration = Duration::from_secs(10);

/// A static member that is told that its name was taken joins anew that often within so long, pausing before, until it believes that another
/// process has its name: after an outage it may be its own past that fences it, a membership of which it never got the answer. A twin that
/// joins anew as well comes back within seconds; three restarts of a broker within two minutes were taken for one with 300 s.
const FENCINGS_EXCUSED: usize = 2;
const FENCINGS_REMEMBERED: Duration = Duration::from_secs(45);
const FENCED_PAUSE: Duration = Duration::from_secs(2);

/// A partition held.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The next offset.
    next: i64,
    /// The end that was reported there, if nothing came since.
    reported: Option<End>,
}

/// What was said of all that may be read having been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// Something follows that may not be read yet.
    HeldBack,
}

/// Where this member stands between the group's calls and the caller's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Owns nothing and has not been offered anything.
    Outside,
    /// Was offered partitions, not answered yet.
    Offered,
    /// Owns its partitions.
    Holding,
    /// Must give its partitions back, not answered yet: the generation is still good.
    Revoked,
    /// Was expelled, not answered yet.
    Lost,
}

/// When a position was first, and last, found beyond what the log has, in one outage.
#[derive(Debug, Default)]
struct Beyond(Option<(Instant, Instant)>);

impl Beyond {
    /// Takes a report, and whether it is believed by now.
    fn is_believed(&mut self, now: Instant) -> bool {
        // In one outage reports follow each other within seconds: an earlier one says nothing of this.
        let first =
            self.0.filter(|(_, last)| now - *last < 3 * BELIEVED_AFTER).map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
        now - first >= BELIEVED_AFTER
    }
}

/// When this member was fenced by its own instance id.
#[derive(Debug, Default)]
struct Fencings(Vec<Instant>);

impl Fencings {
    /// Whether one more may be this process's own past; if so it is remembered.
    fn is_excused(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < FENCINGS_REMEMBERED);
        let excused = self.0.len() < FENCINGS_EXCUSED;
        if excused {
            self.0.push(now);
        }
        excused
    }
}

pub(super) struct Group {
    consumer: Arc<BaseConsumer<ConsumerNotes>>,
    batch_queue: BatchQueue,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) instance: Option<String>,
    brokers: String,
    standing: Standing,
    /// What a consumer is made with, and when the last change came that could bring this one partitions.
    config: ClientConfig,
    waiting_since: Instant,
    rejoin_after: Duration,
    /// By partition; none for those that are not held.
    positions: Vec<Option<Position>>,
    /// When it was last looked for what is held back.
    checked: Instant,
    beyond: Beyond,
    fencings: Fencings,
    /// When it is to join anew after the last of them.
    rejoin_at: Option<Instant>,
}

impl Group {
    pub(super) fn join(config: &ClientConfig, options: &super::Options) -> Result<Self, Error> {
        let consumer = subscribed(config, &options.group, &options.topic)?;
        Ok(Self {
            batch_queue: BatchQueue::new(consumer.clone()),
            consumer,
            topic: options.topic.clone(),
            group: options.group.clone(),
            instance: options.instance.clone(),
            brokers: options.connection.brokers.clone(),
            standing: Standing::Outside,
            config: config.clone(),
            waiting_since: Instant::now(),
            rejoin_after: options.rejoin_after,
            positions: Vec::new(),
            checked: Instant::now(),
            beyond: Beyond::default(),
            fencings: Fencings::default(),
            rejoin_at: None,
        })
    }

    /// Whether librdkafka gave this consumer up because another one joined under its instance id.
    fn is_fenced(&self) -> bool {
        let fatal = self.consumer.client().fatal_error();
        fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    /// What was held is lost, and after a pause it joins anew; unless that has not helped.
    fn fenced(&mut self) -> Result<Option<Rebalance>, Error> {
        let now = Instant::now();
        if !self.fencings.is_excused(now) {
            return Err(Error::Fatal(format!(
                "group.instance.id {:?} of group {:?} was taken again and again: this process joined anew {FENCINGS_EXCUSED} times \
                 within {} s, and each time another member joined under the same name. Another process runs with it: stop one of \
                 them, or give each an instance id of its own",
                self.instance.as_deref().unwrap_or_default(),
                self.group,
                FENCINGS_REMEMBERED.as_secs()
            )));
        }
        self.rejoin_at = Some(now + FENCED_PAUSE);
        tracing::warn!(
            group = self.group,
            instance = self.instance,
            "fenced by the own instance id, perhaps by an earlier attempt of this process to join: joining anew"
        );
        let had = std::mem::replace(&mut self.standing, Standing::Lost);
        if had == Standing::Outside {
            self.standing = Standing::Outside;
            return Ok(None);
        }
        Ok(Some(Rebalance::Lost))
    }

    /// Starts over with a new consumer. It owns nothing, so nothing is lost.
    fn rejoin(&mut self) -> Result<(), Error> {
        self.waiting_since = Instant::now();
        let consumer = subscribed(&self.config, &self.group, &self.topic)?;
        let batch_queue = std::mem::replace(&mut self.batch_queue, BatchQueue::new(consumer.clone()));
        let old = (batch_queue, std::mem::replace(&mut self.consumer, consumer));
        old.1.context().close();
        close_within("the old consumer", CLOSE, old, drop);
        Ok(())
    }

    pub(super) fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        if self.standing == Standing::Outside && self.waiting_since.elapsed() > self.rejoin_after {
            tracing::warn!(group = self.group, waited = ?self.waiting_since.elapsed(), "nothing heard from the group: joining anew");
            self.rejoin()?;
        }
        if let Some(at) = self.rejoin_at {
            let left = at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::sleep(left.min(wait));
                return Ok(None);
            }
            self.rejoin()?;
            self.rejoin_at = None;
        }
        if self.is_fenced() {
            return self.fenced();
        }
        let deadline = Instant::now() + wait;
        // Reported only where nothing else is: reports of an outage queue up, and those left over from one that has ended would
        // otherwise each cost whoever waits after one a wait.
        let mut outage = None;
        let (mut read, mut bytes) = (0, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let holding = self.standing == Standing::Holding;
            // Where nothing is held, the group's word is all there is to wait for.
            if let Some(change) = self.hear(if holding { Duration::ZERO } else { left }, &mut outage)? {
                return Ok(Some(self.reported(change)));
            }
            while holding && read < max && bytes < MAX_POLL_BYTES {
                let wait = if read > 0 { Duration::ZERO } else { left.min(WAIT) };
                let taken = self.take(max - read, wait, &mut |item| {
                    if let Item::Record(record) = item {
                        bytes +=
                            [record.key, record.value].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
                    }
                    sink(item);
                })?;
                match taken {
                    0 => break,
                    taken => read += taken,
                }
            }
            if holding && self.checked.elapsed() >= HELD_BACK_CHECK {
                read += self.look_for_held_back(sink);
            }
            if read > 0 {
                return Ok(None);
            }
            if let Some(outage) = outage {
                return Err(Error::Retry(outage));
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Hears what the group and the brokers have to say, waiting at most `wait` for it, and keeps the membership alive.
    fn hear(&mut self, wait: Duration, outage: &mut Option<String>) -> Result<Option<Change>, Error> {
        let mut wait = wait;
        loop {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    return Err(Error::Fatal(format!(
                        "the record at {offset} of partition {partition} of topic {:?} came past the queue that its partition \
                         was told to deliver to; start the process again, it goes on from what was committed",
                        self.topic
                    )));
                }
                Some(Err(error)) => {
                    let text = self.consumer.context().take_detail();
                    *outage = self.judge(&error, &text)?.or(outage.take());
                }
                None => {
                    let change = self.consumer.context().take_change();
                    // Log lines and the like also end a poll.
                    if change.is_some() || wait.is_zero() {
                        return Ok(change);
                    }
                }
            }
            wait = Duration::ZERO;
        }
    }

    /// Takes what partitions have delivered; how many records and ends.
    fn take(&mut self, most: usize, wait: Duration, sink: &mut dyn FnMut(Item<'_>)) -> Result<usize, Error> {
        let (positions, mut fault) = (&mut self.positions, None);
        let (consumer, topic) = (&self.consumer, &self.topic);
        // What is no longer held is no longer ours.
        let taken = self.batch_queue.take(most, wait, &mut |delivery| match delivery {
            Delivery::Record(record) => {
                if let Some(position) = held(positions, record.partition) {
                    *position = Position { next: record.offset + 1, reported: None };
                    sink(Item::Record(record));
                }
            }
            Delivery::End { partition, offset } => {
                if let Some(position) = held(positions, partition) {
                    let end = end_at(consumer, topic, partition, offset);
                    *position = Position { next: offset, reported: Some(end) };
                    sink(end.item(partition, offset));
                }
            }
            Delivery::Fault(code, text) => fault = fault.take().or(Some((code, text))),
        });
        if let Some((code, text)) = fault {
            self.judge(&KafkaError::MessageConsumption(code), &text)?;
        }
        Ok(taken)
    }

    /// An open transaction that begins behind an end moves the high watermark and nothing else: no record comes of it, and no
    /// other end.
    fn look_for_held_back(&mut self, sink: &mut dyn FnMut(Item<'_>)) -> usize {
        self.checked = Instant::now();
        let mut found = 0;
        for (partition, position) in (0..).zip(&mut self.positions) {
            let Some(position) = position else { continue };
            if position.reported == Some(End::Whole)
                && end_at(&self.consumer, &self.topic, partition, position.next) == End::HeldBack
            {
                position.reported = Some(End::HeldBack);
                sink(End::HeldBack.item(partition, position.next));
                found += 1;
            }
        }
        found
    }

    fn reported(&mut self, change: Change) -> Rebalance {
        match change {
            Change::Assigned(mut partitions) => {
                self.standing = Standing::Offered;
                partitions.sort_unstable();
                Rebalance::Assigned(partitions)
            }
            Change::Taken { lost: false } => {
                self.standing = Standing::Revoked;
                Rebalance::Revoked
            }
            Change::Taken { lost: true } => {
                self.standing = Standing::Lost;
                Rebalance::Lost
            }
        }
    }

    /// Most of what librdkafka reports while polling, it also handles. Gives the words for an outage.
    fn judge(&mut self, error: &KafkaError, detail: &str) -> Result<Option<String>, Error> {
        let doing = format!("read topic {:?} at {}", self.topic, self.brokers);
        let Some(code) = error.rdkafka_error_code() else { return Err(classify(&doing, error)) };
        let text = if detail.is_empty() { error.to_string() } else { detail.to_owned() };
        if code == RDKafkaErrorCode::AutoOffsetReset {
            return Err(self.gone(&text));
        }
        // The next poll deals with it.
        if self.is_fenced() {
            return Ok(None);
        }
        self.alive()?;
        match class(code) {
            // It was there when this member joined: a broker that was just started may not know it yet, and whoever watches the topics
            // says when it is gone for good.
            _ if matches!(
                code,
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition
            ) =>
            {
                Ok(Some(format!("could not {doing}: {text}")))
            }
            // One broker of several is no outage.
            Class::Retry if code == RDKafkaErrorCode::AllBrokersDown => {
                Ok(Some(format!("could not {doing}: {text}")))
            }
            // A rebalance that says so follows.
            Class::Retry | Class::Abort => {
                tracing::debug!(code = ?code, text, "kafka consumer");
                Ok(None)
            }
            Class::Fenced | Class::Fatal => Err(of_code(&doing, code, &text)),
        }
    }

    /// librdkafka says that the log no longer has an offset. It is believed where the log itself says so too: the report may be about a
    /// position that is long given up, or about an end that a broker does not show yet that was just started. Where nothing is
    /// missing, reading starts again at the own positions.
    fn gone(&mut self, text: &str) -> Error {
        let topic = self.topic.clone();
        let mut beyond = false;
        for (partition, position) in (0..).zip(self.positions.clone()) {
            let Some(Position { next, .. }) = position else { continue };
            let (first, end) = match self.consumer.fetch_watermarks(&topic, partition, ANSWER) {
                Ok(ends) => ends,
                Err(error) => {
                    // Asked again when the partition is started anew and does not deliver.
                    tracing::debug!(%error, partition, "could not ask what the log has");
                    continue;
                }
            };
            let what = format!(
                "partition {partition} of topic {topic:?} no longer has offset {next}, it has {first} to {end}"
            );
            let way_out = "what is missing cannot be counted any more. To go on, give the pipeline a new name and new names for its \
                           results (topics.results, topics.topPages), so that nothing is counted twice: what is still there is counted \
                           there from the start";
            if next < first {
                return Error::Fatal(format!(
                    "{what}: retention deleted records before they were read; {way_out}, with a longer retention"
                ));
            }
            if next > end {
                beyond = true;
                if self.beyond.is_believed(Instant::now()) {
                    return Error::Fatal(format!(
                        "{what}: the topic was deleted and made anew, or its brokers lost what they had acknowledged; {way_out}"
                    ));
                }
            }
        }
        if !beyond {
            self.beyond = Beyond::default();
        }
        let doing = format!(
            "read topic {topic:?}: {text}; nothing is missing as far as the log itself says, reading on"
        );
        match self.start_at_positions() {
            Ok(()) => Error::Retry(format!("could not {doing}")),
            Err(error) => error,
        }
    }

    /// Starts reading anew where we are.
    fn start_at_positions(&mut self) -> Result<(), Error> {
        let starts: Vec<(i32, i64)> = (0..)
            .zip(&self.positions)
            .filter_map(|(partition, position)| position.map(|position| (partition, position.next)))
            .collect();
        match self.standing {
            Standing::Holding => self.assign(&starts),
            _ => Ok(()),
        }
    }

    pub(super) fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        // Also while it holds them, to start again somewhere else.
        let allowed = matches!(self.standing, Standing::Offered | Standing::Holding);
        if !allowed || self.consumer.assignment_lost() {
            return Err(Error::Abort("the partitions are no longer this member's".into()));
        }
        let mut list = TopicPartitionList::with_capacity(starts.len());
        let mut positions = Vec::new();
        for &(partition, offset) in starts {
            let index = usize::try_from(partition)
                .map_err(|_| Error::Fatal(format!("there is no partition {partition}")))?;
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).map_err(|error| {
                Error::Fatal(format!("partition {partition} cannot start at {offset}: {error}"))
            })?;
            if positions.len() <= index {
                positions.resize(index + 1, None);
            }
            positions[index] = Some(Position { next: offset, reported: None });
        }
        if !self.batch_queue.receive(&self.topic, starts.iter().map(|&(partition, _)| partition)) {
            return Err(Error::Fatal(format!(
                "topic {:?} cannot have the partitions of {starts:?}",
                self.topic
            )));
        }
        self.consumer.assign(&list).map_err(|error| classify("take partitions", &error))?;
        self.positions = positions;
        self.standing = Standing::Holding;
        Ok(())
    }

    pub(super) fn unassign(&mut self) -> Result<(), Error> {
        self.standing = Standing::Outside;
        self.waiting_since = Instant::now();
        self.positions.clear();
        match self.consumer.unassign() {
            // A consumer that was fenced has nothing left to give back.
            Err(error) if self.rejoin_at.is_none() => Err(classify("give partitions back", &error)),
            _ => Ok(()),
        }
    }

    /// What a commit is fenced with, as of now.
    ///
    /// librdkafka forgets its member id when it is expelled, and Kafka fences nothing that carries neither member id nor
    /// generation: hence the checks, which must come after the metadata was read.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, Error> {
        let gone = || Error::Abort(format!("this member is no longer in group {:?}", self.group));
        let metadata = self.consumer.group_metadata().ok_or_else(gone)?;
        if self.rejoin_at.is_some() || self.is_fenced() {
            return Err(gone());
        }
        self.alive()?;
        match self.standing {
            Standing::Outside | Standing::Lost => Err(gone()),
            _ if self.consumer.assignment_lost() => Err(gone()),
            Standing::Offered | Standing::Holding | Standing::Revoked => Ok(metadata),
        }
    }

    /// Whether librdkafka gave this consumer up.
    fn alive(&self) -> Result<(), Error> {
        match self.consumer.client().fatal_error() {
            Some((code, text)) => {
                let fatal = of_code(&format!("stay in group {:?}", self.group), code, &text);
                Err(Error::Fatal(fatal.to_string()))
            }
            None => Ok(()),
        }
    }

    /// Answers what is open, and drops the subscription: from now on every rebalance is answered by itself.
    pub(super) fn unsubscribe(&mut self) -> &BaseConsumer<ConsumerNotes> {
        // librdkafka puts an unsubscription off while a rebalance waits for its answer.
        let answered = match self.standing {
            Standing::Outside | Standing::Holding => Ok(()),
            Standing::Offered => self.consumer.assign(&TopicPartitionList::new()),
            Standing::Revoked | Standing::Lost => self.consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "could not answer a rebalance before leaving");
        }
        self.consumer.context().close();
        self.consumer.unsubscribe();
        &self.consumer
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.consumer.context().close();
    }
}

fn subscribed(
    config: &ClientConfig,
    group: &str,
    topic: &str,
) -> Result<Arc<BaseConsumer<ConsumerNotes>>, Error> {
    let doing = || format!("join group {group:?} for topic {topic:?}");
    let consumer: BaseConsumer<ConsumerNotes> =
        config.create_with_context(ConsumerNotes::default()).map_err(|error| classify(&doing(), &error))?;
    consumer.subscribe(&[topic]).map_err(|error| classify(&doing(), &error))?;
    Ok(Arc::new(consumer))
}

fn held(positions: &mut [Option<Position>], partition: i32) -> Option<&mut Position> {
    positions.get_mut(usize::try_from(partition).ok()?)?.as_mut()
}

impl End {
    fn item(self, partition: i32, offset: i64) -> Item<'static> {
        match self {
            Self::Whole => Item::End { partition, offset },
            Self::HeldBack => Item::HeldBack { partition, offset },
        }
    }
}

/// What is behind an offset up to which everything that may be read was read: by the high watermark that came with the last fetch.
fn end_at(consumer: &BaseConsumer<ConsumerNotes>, topic: &str, partition: i32, offset: i64) -> End {
    match batch_queue::high_watermark(consumer, topic, partition) {
        Some(high_watermark) if high_watermark > offset => End::HeldBack,
        _ => End::Whole,
    }
}

/// A message as a record, without copying.
pub(super) fn record<'a>(message: &'a BorrowedMessage<'_>) -> Record<'a> {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        value: message.payload(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_may_show_less_of_the_log_for_a_while() {
        let (mut beyond, begin) = (Beyond::default(), Instant::now());
        let mut at = |seconds| beyond.is_believed(begin + Duration::from_secs(seconds));
        assert!(!at(0) && !at(9));
        assert!(at(10), "it goes on for too long");
        // Another outage, an hour later.
        assert!(!at(3_600) && !at(3_609));
        assert!(at(3_610));
    }

    #[test]
    fn a_name_is_taken_from_its_own_past_twice_and_no_more() {
        let (mut fencings, begin) = (Fencings::default(), Instant::now());
        let mut at = |seconds| fencings.is_excused(begin + Duration::from_secs(seconds));
        assert!(at(0) && at(20));
        assert!(!at(40), "a twin comes back within seconds");
        // As restarts of a broker do it.
        for outage in 1..5 {
            assert!(at(100 + 50 * outage));
        }
    }
}
