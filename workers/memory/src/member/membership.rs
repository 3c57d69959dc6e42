//! Joining, leaving and being expelled.

use weir_log::{Error, Rebalance};

use super::{Member, Phase};
use crate::clock::millis;
use crate::group::{Group, Seat};
use crate::state::State;

impl Member {
    /// Sends a heartbeat, and returns a rebalance of the group, if any.
    pub(super) fn rebalance(&mut self, state: &mut State) -> Result<Option<Rebalance>, Error> {
        if self.phase == Phase::Left {
            return Err(Error::fatal("the member has left its group; start another"));
        }
        let now = state.clock.now();
        let options = &self.options;
        state.topic(&options.topic)?;
        state.groups.entry(options.group.clone()).or_default().heartbeat(self.id, now);
        // As in librdkafka, a member without partitions gets no revocation: it just rejoins.
        let idle = self.phase == Phase::Owning && self.owned.is_empty();
        let joins = idle || self.phase == Phase::Joining;
        if joins && self.seat(state).is_none() {
            self.fail_if_replaced(state)?;
            self.phase = Phase::Outside;
        } else if joins && state.groups.get(&self.options.group).is_some_and(Group::is_rebalancing) {
            // Also a member that took its old seat in a stable group, before it got its partitions.
            self.rejoin(state);
        }
        if self.phase == Phase::Outside {
            self.join(state);
        }
        let Some(group) = state.groups.get(&self.options.group) else { return Ok(None) };
        match (self.phase, group.seat(self.id)) {
            (Phase::Joining, Some(seat)) if !group.is_rebalancing() => {
                self.generation = group.generation;
                self.owned = seat.partitions.clone();
                self.phase = Phase::Offered;
                Ok(Some(Rebalance::Assigned(self.owned.clone())))
            }
            (Phase::Owning, None) => {
                self.fail_if_replaced(state)?;
                self.positions.clear();
                self.phase = Phase::Losing;
                Ok(Some(Rebalance::Lost))
            }
            (Phase::Owning, Some(_)) if group.is_rebalancing() => {
                self.phase = Phase::Revoking;
                Ok(Some(Rebalance::Revoked))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn join(&mut self, state: &mut State) {
        self.id = state.number();
        self.phase = Phase::Joining;
        let now = state.clock.now();
        let seat = Seat {
            instance: self.options.instance.clone(),
            topic: self.options.topic.clone(),
            session_timeout: millis(self.options.session_timeout),
            last_poll: now,
            ready: false,
            partitions: Vec::new(),
        };
        state.groups.entry(self.options.group.clone()).or_default().join(self.id, seat, now);
        state.tick();
        self.broker.wake();
    }

    pub(super) fn rejoin(&mut self, state: &mut State) {
        let now = state.clock.now();
        if let Some(group) = state.groups.get_mut(&self.options.group) {
            group.rejoin(self.id, now);
        }
        self.phase = Phase::Joining;
        state.tick();
        self.broker.wake();
    }

    pub(super) fn seat<'a>(&self, state: &'a State) -> Option<&'a Seat> {
        state.groups.get(&self.options.group).and_then(|group| group.seat(self.id))
    }

    pub(super) fn fail_if_replaced(&self, state: &State) -> Result<(), Error> {
        let instance = self.options.instance.as_deref();
        let replaced =
            state.groups.get(&self.options.group).is_some_and(|group| group.is_replaced(self.id, instance));
        if !replaced {
            return Ok(());
        }
        let instance = instance.unwrap_or_default();
        Err(Error::fatal(format!(
            "instance id {instance} was taken by another; give every process an id of its own"
        )))
    }
}
