//! Answers to rebalances, and the group metadata for commits.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::{Offset, TopicPartitionList};
use weir_log::Error;

use super::positions::Position;
use super::{Group, MemberState};
use crate::context::ConsumerNotes;
use crate::error::classify;

/// How long a single poll waits for the end of a join.
const JOIN_POLL: Duration = Duration::from_millis(20);

impl Group {
    pub(crate) fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        // Also with assigned partitions, to restart at other offsets.
        let allowed = matches!(self.state, MemberState::Offered | MemberState::Holding);
        if !allowed || self.consumer.assignment_lost() {
            return Err(Error::abort("the partitions are no longer this member's"));
        }
        let mut list = TopicPartitionList::with_capacity(starts.len());
        let mut positions = Vec::new();
        for &(partition, offset) in starts {
            let index = usize::try_from(partition)
                .map_err(|_| Error::fatal(format!("there is no partition {partition}")))?;
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).map_err(|error| {
                Error::fatal(format!("partition {partition} cannot start at {offset}: {error}")).at(
                    &self.topic,
                    partition,
                    Some(offset),
                )
            })?;
            if positions.len() <= index {
                positions.resize(index + 1, None);
            }
            positions[index] = Some(Position { next: offset, reported: None });
        }
        if !self.batch_queue.receive(&self.topic, starts.iter().map(|&(partition, _)| partition)) {
            return Err(Error::fatal(format!(
                "topic {:?} cannot have the partitions of {starts:?}",
                self.topic
            )));
        }
        self.consumer.assign(&list).map_err(|error| classify("take partitions", &error))?;
        self.positions = positions;
        self.state = MemberState::Holding;
        Ok(())
    }

    pub(crate) fn unassign(&mut self) -> Result<(), Error> {
        self.state = MemberState::Outside;
        self.waiting_since = Instant::now();
        self.positions.clear();
        match self.consumer.unassign() {
            // A fenced consumer has nothing left to unassign.
            Err(error) if self.rejoin_at.is_none() => Err(classify("give partitions back", &error)),
            _ => Ok(()),
        }
    }

    /// Restarts reading at the current positions.
    pub(super) fn start_at_positions(&mut self) -> Result<(), Error> {
        let starts: Vec<(i32, i64)> = (0..)
            .zip(&self.positions)
            .filter_map(|(partition, position)| position.map(|position| (partition, position.next)))
            .collect();
        match self.state {
            MemberState::Holding => self.assign(&starts),
            _ => Ok(()),
        }
    }

    /// The current group metadata, by which a commit is fenced.
    ///
    /// librdkafka clears its member id when it is expelled, and Kafka fences nothing without member id and generation: hence the
    /// checks, which must come after the metadata was read.
    pub(crate) fn metadata(&self) -> Result<ConsumerGroupMetadata, Error> {
        let gone = || Error::abort(format!("this member is no longer in group {:?}", self.group));
        let metadata = self.consumer.group_metadata().ok_or_else(gone)?;
        if self.rejoin_at.is_some() || self.is_fenced() {
            return Err(gone());
        }
        self.alive()?;
        match self.state {
            MemberState::Outside | MemberState::Lost => Err(gone()),
            _ if self.consumer.assignment_lost() => Err(gone()),
            MemberState::Offered | MemberState::Holding | MemberState::Revoked => Ok(metadata),
        }
    }

    /// Waits until a join that is under way has ended, and leaves its offer unanswered.
    pub(crate) fn finish_joining(&mut self, deadline: Instant) {
        while Instant::now() < deadline && self.rejoin_at.is_none() && !self.is_fenced() {
            let ended = match self.state {
                MemberState::Offered | MemberState::Holding => return,
                MemberState::Revoked | MemberState::Lost => self.unassign(),
                MemberState::Outside => self.poll_events(JOIN_POLL, &mut None).map(|change| {
                    change.map(|change| self.reported(change));
                }),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "could not join before leaving");
                return;
            }
        }
    }

    /// Answers the pending rebalance, and unsubscribes: from now on rebalances are answered automatically.
    pub(crate) fn unsubscribe(&mut self) -> &BaseConsumer<ConsumerNotes> {
        // librdkafka defers an unsubscription while a rebalance waits for its answer.
        let answered = match self.state {
            MemberState::Outside | MemberState::Holding => Ok(()),
            MemberState::Offered => self.consumer.assign(&TopicPartitionList::new()),
            MemberState::Revoked | MemberState::Lost => self.consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "could not answer a rebalance before leaving");
        }
        self.consumer.context().close();
        self.consumer.unsubscribe();
        &self.consumer
    }
}
