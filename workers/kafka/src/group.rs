//! The consumer side of a member: polling and rebalances.

mod assignment;
mod failures;
mod fencing;
mod positions;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};

use super::batch_queue::BatchQueue;
use super::context::{Change, ConsumerNotes};
use super::error::classify;
use weir_log::{Error, Item, Rebalance, Record};

use failures::Beyond;
use fencing::Fencings;
use positions::{HELD_BACK_CHECK, Position};

/// Maximum wait for records before the group is polled again.
const WAIT: Duration = Duration::from_millis(50);

/// Bytes of records after which a poll ends, regardless of `max`: the caller may have to buffer what it cannot process.
const MAX_POLL_BYTES: usize = 16 << 20;

/// Time limit for closing a consumer.
const CLOSE: Duration = Duration::from_secs(10);

/// The member's state between the group's rebalances and the caller's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberState {
    /// Owns nothing, no rebalance pending.
    Outside,
    /// Was assigned partitions, not answered yet.
    Offered,
    /// Owns its partitions.
    Holding,
    /// Its partitions are being revoked, not answered yet: the generation is still valid.
    Revoked,
    /// Was expelled, not answered yet.
    Lost,
}

pub(super) struct Group {
    consumer: Arc<BaseConsumer<ConsumerNotes>>,
    batch_queue: BatchQueue,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) instance: Option<String>,
    brokers: String,
    state: MemberState,
    /// The consumer's configuration, for rejoining.
    config: ClientConfig,
    /// Time of the last change that could bring partitions.
    waiting_since: Instant,
    rejoin_after: Duration,
    /// By partition; `None` for those that are not assigned.
    positions: Vec<Option<Position>>,
    /// When held-back records were last checked for.
    checked: Instant,
    beyond: Beyond,
    fencings: Fencings,
    /// When to rejoin after the last fencing.
    rejoin_at: Option<Instant>,
}

impl Group {
    pub(super) fn join(config: &ClientConfig, options: &super::MemberOptions) -> Result<Self, Error> {
        let consumer = subscribed(config, &options.group, &options.topic)?;
        Ok(Self {
            batch_queue: BatchQueue::new(consumer.clone()),
            consumer,
            topic: options.topic.clone(),
            group: options.group.clone(),
            instance: options.instance.clone(),
            brokers: options.connection.brokers.clone(),
            state: MemberState::Outside,
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

    pub(super) fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        if self.state == MemberState::Outside && self.waiting_since.elapsed() > self.rejoin_after {
            tracing::warn!(group = self.group, waited = ?self.waiting_since.elapsed(), "no rebalance from the group for too long: rejoining");
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
        // Reported only if there is nothing else: stale reports of an ended outage are queued, and each would make the caller back
        // off once more.
        let mut outage = None;
        let (mut read, mut bytes) = (0, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let holding = self.state == MemberState::Holding;
            // Without partitions, only a rebalance can arrive.
            if let Some(change) =
                self.poll_events(if holding { Duration::ZERO } else { left }, &mut outage)?
            {
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
                read += self.detect_held_back(sink);
            }
            if read > 0 {
                return Ok(None);
            }
            if let Some(outage) = outage {
                return Err(Error::retry(outage));
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Polls the group and the brokers, waiting at most `wait`, and keeps the membership alive.
    fn poll_events(&mut self, wait: Duration, outage: &mut Option<String>) -> Result<Option<Change>, Error> {
        let mut wait = wait;
        loop {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let stray = Error::fatal(format!(
                        "the record at {offset} of partition {partition} of topic {:?} came past the queue that its partition \
                         was told to deliver to; start the process again, it goes on from what was committed",
                        self.topic
                    ));
                    return Err(stray.at(&self.topic, partition, Some(offset)));
                }
                Some(Err(error)) => {
                    let text = self.consumer.context().take_detail();
                    *outage = self.judge(&error, &text)?.or(outage.take());
                }
                None => {
                    let change = self.consumer.context().take_change();
                    // Log lines and other events also end a poll.
                    if change.is_some() || wait.is_zero() {
                        return Ok(change);
                    }
                }
            }
            wait = Duration::ZERO;
        }
    }

    fn reported(&mut self, change: Change) -> Rebalance {
        match change {
            Change::Assigned(mut partitions) => {
                self.state = MemberState::Offered;
                partitions.sort_unstable();
                Rebalance::Assigned(partitions)
            }
            Change::Taken { lost: false } => {
                self.state = MemberState::Revoked;
                Rebalance::Revoked
            }
            Change::Taken { lost: true } => {
                self.state = MemberState::Lost;
                Rebalance::Lost
            }
        }
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

/// Converts a message to a record, without copying.
pub(super) fn record<'a>(message: &'a BorrowedMessage<'_>) -> Record<'a> {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        value: message.payload(),
    }
}
