//! A consumer group under the eager classic protocol.

use std::collections::BTreeMap;

use weir_log::Committed;

/// Members that do not answer a rebalance within this time are expelled (`max.poll.interval.ms`), milliseconds.
const REBALANCE_TIMEOUT: i64 = 300_000;

/// A member as the group sees it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) instance: Option<String>,
    pub(super) topic: String,
    pub(super) session_timeout: i64,
    pub(super) last_poll: i64,
    /// Has (re)joined the rebalance that is under way.
    pub(super) ready: bool,
    pub(super) partitions: Vec<i32>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: i64,
    /// Since when a rebalance is under way.
    rebalancing: Option<i64>,
    seats: BTreeMap<u64, Seat>,
    pub(super) offsets: BTreeMap<(String, i32), Committed>,
}

impl Group {
    pub(super) fn seat(&self, id: u64) -> Option<&Seat> {
        self.seats.get(&id)
    }

    pub(super) fn is_rebalancing(&self) -> bool {
        self.rebalancing.is_some()
    }

    /// Whether another member now holds this member's instance id.
    pub(super) fn is_replaced(&self, id: u64, instance: Option<&str>) -> bool {
        instance.is_some()
            && self.seats.iter().any(|(other, seat)| *other != id && seat.instance.as_deref() == instance)
    }

    /// Whether a commit by this member in this generation is valid.
    pub(super) fn is_current(&self, id: u64, generation: i64) -> bool {
        self.generation == generation && self.seats.contains_key(&id)
    }

    /// A static member that returns to a stable group takes its old seat; all others start a rebalance.
    pub(super) fn join(&mut self, id: u64, mut seat: Seat, now: i64) {
        let old = self
            .seats
            .iter()
            .find(|(_, old)| old.instance.is_some() && old.instance == seat.instance)
            .map(|(old, _)| *old);
        if let Some(old) = old.and_then(|old| self.seats.remove(&old))
            && !self.is_rebalancing()
            && old.topic == seat.topic
        {
            seat.partitions = old.partitions;
            self.seats.insert(id, seat);
            return;
        }
        seat.ready = true;
        self.seats.insert(id, seat);
        self.rebalancing.get_or_insert(now);
    }

    /// Joins the current rebalance.
    pub(super) fn rejoin(&mut self, id: u64, now: i64) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.ready = true;
            seat.last_poll = now;
        }
    }

    pub(super) fn heartbeat(&mut self, id: u64, now: i64) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.last_poll = now;
        }
    }

    pub(super) fn remove(&mut self, id: u64, now: i64) {
        if self.seats.remove(&id).is_some() {
            self.rebalancing.get_or_insert(now);
        }
    }

    /// Expels timed-out members and completes the rebalance once all others have joined. Returns whether anything changed.
    pub(super) fn tick(&mut self, now: i64, partitions: impl Fn(&str) -> i32) -> bool {
        let before = self.seats.len();
        let late = self.rebalancing.is_some_and(|since| now - since >= REBALANCE_TIMEOUT);
        self.seats.retain(|_, seat| now - seat.last_poll < seat.session_timeout && (seat.ready || !late));
        let expelled = self.seats.len() < before;
        if expelled {
            self.rebalancing.get_or_insert(now);
        }
        if self.rebalancing.is_none() || self.seats.values().any(|seat| !seat.ready) {
            return expelled;
        }
        self.generation += 1;
        self.rebalancing = None;
        self.deal(partitions);
        true
    }

    /// Range assignment over the members of each topic, in the order of instance id (where there is one), then of joining.
    fn deal(&mut self, partitions: impl Fn(&str) -> i32) {
        let mut order: Vec<(String, Option<String>, u64)> =
            self.seats.iter().map(|(id, seat)| (seat.topic.clone(), seat.instance.clone(), *id)).collect();
        order.sort();
        for members in order.chunk_by(|a, b| a.0 == b.0) {
            let count = partitions(&members[0].0);
            let shares = members.len() as i32;
            let mut next = 0;
            for (index, (_, _, id)) in members.iter().enumerate() {
                let share = count / shares + i32::from((index as i32) < count % shares);
                if let Some(seat) = self.seats.get_mut(id) {
                    seat.partitions = (next..next + share).collect();
                    seat.ready = false;
                }
                next += share;
            }
        }
    }
}
