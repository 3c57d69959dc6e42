//! The broker's handle, with the operations of administrators and plain producers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{Clock, Running, millis};
use super::fault::Fault;
use super::member::{Member, MemberOptions};
use super::partition::{Partition, StoredRecord};
use super::retention::Retention;
use super::state::{State, Topic};
use weir_log::Error;

/// A handle on the broker; clones share it. Every timeout is evaluated when any call is made.
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when a waiting poll may have something to report.
    changed: Condvar,
    clock: Clock,
}

impl Broker {
    /// An empty broker.
    pub fn new(clock: Clock) -> Self {
        let state = Mutex::new(State::new(Running::start(clock)));
        Self { shared: Arc::new(Shared { state, changed: Condvar::new(), clock }) }
    }

    /// Starts a member. It takes over its transactional id at once and joins its group with its first poll.
    pub fn member(&self, options: MemberOptions) -> Member {
        Member::start(self.clone(), options)
    }

    /// Milliseconds since the epoch by the broker's clock.
    pub fn now(&self) -> i64 {
        self.lock().clock.now()
    }

    /// Advances a manual clock. Does nothing with a system clock.
    pub fn advance(&self, time: Duration) {
        let mut state = self.lock();
        if let Running::Manual(now) = &mut state.clock {
            *now += millis(time);
        }
        state.tick();
    }

    /// Creates a topic that keeps everything. One that exists stays as it is.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        let mut state = self.lock();
        let topic =
            Topic { id: state.number(), partitions, retention: Retention::default(), compacted: false };
        state.topics.entry(name.to_owned()).or_insert(topic);
    }

    /// Deletes a topic with its records and the groups' offsets, as Kafka does.
    pub fn delete_topic(&self, name: &str) {
        let mut state = self.lock();
        state.topics.remove(name);
        for group in state.groups.values_mut() {
            group.offsets.retain(|(topic, _), _| topic != name);
        }
        drop(state);
        self.wake();
    }

    /// Adds empty partitions to a topic, up to `partitions`. Groups see them at their next rebalance.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such topic.
    pub fn add_partitions(&self, topic: &str, partitions: usize) -> Result<(), Error> {
        self.with_topic(topic, |topic| {
            topic.partitions.resize_with(partitions.max(topic.partitions.len()), Partition::default);
        })
    }

    /// Names and partition counts, by name.
    pub fn topics(&self) -> Vec<(String, i32)> {
        let state = self.lock();
        state.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions.len() as i32)).collect()
    }

    /// Bounds a topic from now on; takes effect at each write.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such topic.
    pub fn retain(&self, topic: &str, retention: Retention) -> Result<(), Error> {
        self.with_topic(topic, |topic| topic.retention = retention)
    }

    /// Marks a topic compacted: its records need keys, and old values go away by themselves once more than 1,024 and
    /// more than half of a partition's records are new.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such topic.
    pub fn set_compacted(&self, topic: &str) -> Result<(), Error> {
        self.with_topic(topic, |topic| topic.compacted = true)
    }

    /// Writes a record outside any transaction and returns its offset.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition or the record is not acceptable.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<i64, Error> {
        let record = StoredRecord {
            offset: 0,
            timestamp: 0,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let offset = self.lock().append(topic, partition, 0, record)?;
        self.wake();
        Ok(offset)
    }

    /// All retained committed records, in order; none if there is no such partition.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        self.records_from(topic, partition, 0)
    }

    /// All retained committed records from `offset` on, in order; none if there is no such partition.
    pub fn records_from(&self, topic: &str, partition: i32, offset: i64) -> Vec<StoredRecord> {
        let read = self.lock().read(topic, partition, offset);
        read.map(|(records, _)| records.iter().map(|record| (**record).clone()).collect()).unwrap_or_default()
    }

    /// The offset of the next record, uncommitted ones and markers counted (the high watermark).
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        self.lock().partition(topic, partition).map(|log| log.end)
    }

    /// The last stable offset: where the first open transaction begins, or the end.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition.
    pub fn stable_offset(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        self.lock().partition(topic, partition).map(Partition::stable)
    }

    /// Bytes held by a partition, bookkeeping included.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition.
    pub fn bytes(&self, topic: &str, partition: i32) -> Result<usize, Error> {
        self.lock().partition(topic, partition).map(Partition::bytes)
    }

    /// Deletes the records before an offset, as far as no open transaction is touched.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition.
    pub fn truncate(&self, topic: &str, partition: i32, before: i64) -> Result<(), Error> {
        self.lock().partition_mut(topic, partition).map(|log| log.truncate(before))
    }

    /// Keeps only the last committed value of each key and drops tombstones.
    ///
    /// # Errors
    /// [`Error::Fatal`] if there is no such partition.
    pub fn compact(&self, topic: &str, partition: i32) -> Result<(), Error> {
        self.lock().partition_mut(topic, partition).map(Partition::compact)
    }

    /// How often members have called `committed_by` (also for `committed`), `ends` or `read`.
    pub fn requests(&self, method: &str) -> u64 {
        self.lock().requests.get(method).copied().unwrap_or_default()
    }

    /// Plans a fault for the owner of a transactional id.
    pub fn inject(&self, transactional_id: &str, fault: Fault) {
        let mut state = self.lock();
        let faults = state.faults.entry(transactional_id.to_owned()).or_default();
        match fault {
            Fault::Away(calls) => faults.away += calls,
            Fault::RestartHangs => faults.restarts += 1,
            commit => faults.commits.push_back(commit),
        }
    }

    /// Delivers what faults held back, such as [`Fault::CommitLate`] or [`Fault::MarkersLate`]. Returns whether it had any
    /// effect: `false` if nothing was held, or if it was refused because its epoch is gone.
    pub fn release(&self, transactional_id: &str) -> bool {
        let effect = self.lock().release(transactional_id);
        self.wake();
        effect
    }

    /// The state with all due timeouts applied.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tick() {
            self.wake();
        }
        state
    }

    /// Wakes waiting polls.
    pub(super) fn wake(&self) {
        self.shared.changed.notify_all();
    }

    /// Waits for a change, at most the given time; returns `None` at once with a manual clock.
    pub(super) fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> Option<MutexGuard<'a, State>> {
        if time.is_zero() || matches!(self.shared.clock, Clock::Manual(_)) {
            return None;
        }
        let (mut state, _) =
            self.shared.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        if state.tick() {
            self.wake();
        }
        Some(state)
    }

    fn with_topic(&self, name: &str, change: impl FnOnce(&mut Topic)) -> Result<(), Error> {
        let mut state = self.lock();
        state.topic(name)?;
        state.topics.get_mut(name).map(change);
        Ok(())
    }
}
