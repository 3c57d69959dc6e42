//! The broker's whole state, behind one lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clock::{Running, millis};
use super::fault::{Fault, Faults};
use super::group::Group;
use super::partition::{Partition, StoredRecord};
use super::producer::{Late, Open, Producer, Request};
use super::retention::Retention;
use super::{MAX_METADATA, MAX_RECORD};
use weir_log::{Committed, Error};

#[derive(Debug)]
pub(super) struct Topic {
    /// Unique over all topics ever created.
    pub(super) id: u64,
    pub(super) partitions: Vec<Partition>,
    pub(super) retention: Retention,
    pub(super) compacted: bool,
}

impl Topic {
    /// Keeps a partition within its limits.
    fn bound(&mut self, partition: i32, now: i64) {
        let Some(partition) = usize::try_from(partition).ok().and_then(|i| self.partitions.get_mut(i)) else {
            return;
        };
        if self.compacted {
            partition.compact_if_due();
        }
        partition.retain(self.retention.max_bytes, self.retention.max_age.map(|age| now - millis(age)));
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Running,
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) producers: BTreeMap<String, Producer>,
    pub(super) faults: BTreeMap<String, Faults>,
    /// Reads that cost a request each, by the method of the member.
    pub(super) requests: BTreeMap<&'static str, u64>,
    last_number: u64,
}

impl State {
    pub(super) fn new(clock: Running) -> Self {
        Self {
            clock,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            producers: BTreeMap::new(),
            faults: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_number: 0,
        }
    }

    /// A new unique number for a transaction or a member.
    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts a request.
    pub(super) fn count(&mut self, method: &'static str) {
        *self.requests.entry(method).or_default() += 1;
    }

    /// Applies all expired timeouts. Returns whether anything changed.
    pub(super) fn tick(&mut self) -> bool {
        let now = self.clock.now();
        let mut changed = false;
        let overdue = |producer: &Producer| {
            producer.open.as_ref().is_some_and(|open| now - open.since >= producer.timeout)
        };
        let late: Vec<String> =
            self.producers.iter().filter(|(_, p)| overdue(p)).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.end(&id, false);
            if let Some(producer) = self.producers.get_mut(&id) {
                producer.time_out();
            }
            changed = true;
        }
        for group in self.groups.values_mut() {
            changed |=
                group.tick(now, |topic| self.topics.get(topic).map_or(0, |t| t.partitions.len() as i32));
        }
        changed
    }

    pub(super) fn topic(&self, name: &str) -> Result<&Topic, Error> {
        self.topics
            .get(name)
            .ok_or_else(|| Error::fatal(format!("topic {name} does not exist; create it first")))
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Result<&Partition, Error> {
        let partitions = &self.topic(topic)?.partitions;
        usize::try_from(partition).ok().and_then(|i| partitions.get(i)).ok_or_else(|| {
            let count = partitions.len();
            Error::fatal(format!(
                "topic {topic} has {count} partitions, partition {partition} is not one of them"
            ))
        })
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, Error> {
        self.partition(topic, partition)?;
        self.topics
            .get_mut(topic)
            .and_then(|topic| topic.partitions.get_mut(partition as usize))
            .ok_or_else(|| Error::fatal(format!("topic {topic} does not exist; create it first")))
    }

    /// Writes one record, stamped with the broker's clock. Transaction 0 is none.
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        transaction: u64,
        mut record: StoredRecord,
    ) -> Result<i64, Error> {
        self.partition(topic, partition)?;
        let size = record.size();
        if size > MAX_RECORD {
            return Err(Error::fatal(format!(
                "a record for {topic} has {size} bytes, at most {MAX_RECORD} fit; split it"
            )));
        }
        if self.topic(topic)?.compacted && record.key.is_none() {
            return Err(Error::fatal(format!(
                "a record without key for {topic}, which is compacted; give it one"
            )));
        }
        let now = self.clock.now();
        record.timestamp = now;
        let offset = self.partition_mut(topic, partition)?.append(transaction, record);
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.bound(partition, now);
        }
        Ok(offset)
    }

    /// Fences earlier owners of a transactional id, aborts their open transactions and returns the new epoch.
    pub(super) fn start_producer(&mut self, id: &str, timeout: i64) -> i64 {
        self.mark(id);
        self.end(id, false);
        self.producers.entry(id.to_owned()).or_default().start(timeout)
    }

    /// The number of the open transaction, which begins here if it has not reached the broker yet; it now takes in a
    /// partition, if one is given.
    pub(super) fn enlist(
        &mut self,
        id: &str,
        epoch: i64,
        partition: Option<(&str, i32)>,
    ) -> Result<&mut Open, Error> {
        self.mark(id);
        let (number, since) = (self.number(), self.clock.now());
        let Some(producer) = self.producers.get_mut(id) else {
            return Err(Error::fatal(format!("transactional id {id} is unknown to this broker")));
        };
        producer.check(id, epoch)?;
        let open = producer.open.get_or_insert_with(|| Open {
            number,
            since,
            partitions: Default::default(),
            offsets: Vec::new(),
        });
        if let Some((topic, partition)) = partition {
            open.partitions.insert((topic.to_owned(), partition));
        }
        Ok(open)
    }

    /// Makes group offsets part of the open transaction, provided that the member's generation is still good, if it names one.
    pub(super) fn enlist_offsets(
        &mut self,
        (id, epoch): (&str, i64),
        (group, member, generation): (&str, u64, Option<i64>),
        topic: &str,
        offsets: &[(i32, Committed)],
    ) -> Result<(), Error> {
        for (partition, committed) in offsets {
            self.partition(topic, *partition)?;
            let length = committed.metadata.len();
            if length > MAX_METADATA {
                return Err(Error::fatal(format!(
                    "commit metadata of partition {partition} has {length} bytes, at most {MAX_METADATA} fit"
                )));
            }
        }
        self.producers.get(id).map_or(Ok(()), |producer| producer.check(id, epoch))?;
        if let Some(generation) = generation
            && !self.groups.get(group).is_some_and(|group| group.is_current(member, generation))
        {
            return Err(Error::abort(format!(
                "the partitions of generation {generation} of group {group} have moved; go on from what was committed"
            )));
        }
        let open = self.enlist(id, epoch, None)?;
        for (partition, committed) in offsets {
            open.offsets.push((group.to_owned(), topic.to_owned(), *partition, committed.clone()));
        }
        Ok(())
    }

    /// Whether a transaction with offsets of the group is undecided.
    pub(super) fn is_pending(&self, group: &str) -> bool {
        self.producers
            .values()
            .filter_map(|producer| producer.open.as_ref())
            .any(|open| open.offsets.iter().any(|(other, ..)| other == group))
    }

    /// Ends the open transaction, if any.
    pub(super) fn end(&mut self, id: &str, commit: bool) {
        self.decide(id, commit);
        self.mark(id);
    }

    /// Decides the open transaction and sets its offsets; [`State::mark`] then writes the markers.
    pub(super) fn decide(&mut self, id: &str, commit: bool) {
        self.mark(id);
        let Some(producer) = self.producers.get_mut(id) else { return };
        let Some(mut open) = producer.open.take() else { return };
        let offsets = std::mem::take(&mut open.offsets);
        if commit {
            producer.unmarked = Some(open);
            for (group, topic, partition, committed) in offsets {
                self.groups.entry(group).or_default().offsets.insert((topic, partition), committed);
            }
        } else {
            self.finish(open, false);
        }
    }

    /// Writes the markers of a decided commit.
    pub(super) fn mark(&mut self, id: &str) {
        if let Some(open) = self.producers.get_mut(id).and_then(|producer| producer.unmarked.take()) {
            self.finish(open, true);
        }
    }

    fn finish(&mut self, open: Open, commit: bool) {
        let now = self.clock.now();
        for (name, partition) in open.partitions {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            if let Some(log) = topic.partitions.get_mut(partition as usize) {
                log.finish(open.number, commit);
            }
            topic.bound(partition, now);
        }
    }

    /// Holds a request of the producer back until [`State::release`].
    pub(super) fn hold(&mut self, id: &str, epoch: i64, request: Request) {
        if let Some(producer) = self.producers.get_mut(id) {
            producer.late.push(Late { epoch, request });
        }
    }

    /// Delivers what is held back. Returns whether it had any effect.
    pub(super) fn release(&mut self, id: &str) -> bool {
        let Some(producer) = self.producers.get_mut(id) else { return false };
        let late = std::mem::take(&mut producer.late);
        let mut has_effect = producer.unmarked.is_some();
        self.mark(id);
        for Late { epoch, request } in late {
            has_effect |= self.deliver(id, epoch, request);
        }
        has_effect
    }

    fn deliver(&mut self, id: &str, epoch: i64, request: Request) -> bool {
        let Some(producer) = self.producers.get(id) else { return false };
        let (timeout, is_current) = (producer.timeout, producer.epoch == epoch);
        let is_open = is_current && producer.open.is_some();
        match request {
            Request::Start => {
                self.start_producer(id, timeout);
                true
            }
            Request::Begin => is_current && !is_open && self.enlist(id, epoch, None).is_ok(),
            Request::End => {
                if is_open {
                    self.end(id, true);
                }
                is_open
            }
            Request::Commit { group, member, generation, topic, offsets } => {
                let member = (&*group, member, generation);
                let commits = is_open && self.enlist_offsets((id, epoch), member, &topic, &offsets).is_ok();
                if commits {
                    self.end(id, true);
                }
                commits
            }
        }
    }

    /// The fault of the next commit.
    pub(super) fn commit_fault(&mut self, id: &str) -> Option<Fault> {
        self.faults.get_mut(id).and_then(|faults| faults.commits.pop_front())
    }

    /// Whether the next restart hangs.
    pub(super) fn restart_hangs(&mut self, id: &str) -> bool {
        let Some(faults) = self.faults.get_mut(id) else { return false };
        let hangs = faults.restarts > 0;
        faults.restarts = faults.restarts.saturating_sub(1);
        hangs
    }

    /// Fails while the broker is unavailable for this transactional id.
    pub(super) fn reachable(&mut self, id: &str) -> Result<(), Error> {
        match self.faults.get_mut(id) {
            Some(faults) if faults.away > 0 => {
                faults.away -= 1;
                Err(Error::retry("the broker is away"))
            }
            _ => Ok(()),
        }
    }

    /// Committed records from an offset to the current end, and that end.
    pub(super) fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> Result<(Vec<Arc<StoredRecord>>, i64), Error> {
        let log = self.partition(topic, partition)?;
        Ok((log.visible(from.max(log.start)).cloned().collect(), log.stable()))
    }
}
