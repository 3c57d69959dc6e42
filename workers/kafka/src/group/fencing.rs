//! Rejoining: of a static member that was fenced by its instance id, and of members without a rebalance for too long.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use weir_log::{Error, Rebalance};

use super::{CLOSE, Group, MemberState, subscribed};
use crate::batch_queue::BatchQueue;
use crate::watchdog::close_within;

/// A fenced static member rejoins this often within this time, with a pause before, until it concludes that another process has its
/// instance id: after an outage it may be fenced by its own earlier join, whose response was lost. A second process that rejoins too
/// fences it again within seconds; with 300 s, three restarts of a broker within two minutes were mistaken for one.
const FENCINGS_EXCUSED: usize = 2;
const FENCINGS_REMEMBERED: Duration = Duration::from_secs(45);
const FENCED_PAUSE: Duration = Duration::from_secs(2);

/// When this member was fenced by its own instance id.
#[derive(Debug, Default)]
pub(super) struct Fencings(Vec<Instant>);

impl Fencings {
    /// Whether one more fencing may be caused by this process's own earlier join; if so, records it.
    pub(super) fn is_excused(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < FENCINGS_REMEMBERED);
        let excused = self.0.len() < FENCINGS_EXCUSED;
        if excused {
            self.0.push(now);
        }
        excused
    }
}

impl Group {
    /// Whether librdkafka's consumer failed because another one joined under its instance id.
    pub(super) fn is_fenced(&self) -> bool {
        let fatal = self.consumer.client().fatal_error();
        fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    /// Handles a fencing: the partitions are lost, and the member rejoins after a pause, unless that was tried too often.
    pub(super) fn fenced(&mut self) -> Result<Option<Rebalance>, Error> {
        let now = Instant::now();
        if !self.fencings.is_excused(now) {
            return Err(Error::fatal(format!(
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
            "fenced by the own instance id, perhaps by an earlier join of this process: rejoining"
        );
        let had = std::mem::replace(&mut self.state, MemberState::Lost);
        if had == MemberState::Outside {
            self.state = MemberState::Outside;
            return Ok(None);
        }
        Ok(Some(Rebalance::Lost))
    }

    /// Starts over with a new consumer, which owns nothing.
    pub(super) fn rejoin(&mut self) -> Result<(), Error> {
        self.waiting_since = Instant::now();
        let consumer = subscribed(&self.config, &self.group, &self.topic)?;
        let batch_queue = std::mem::replace(&mut self.batch_queue, BatchQueue::new(consumer.clone()));
        let old = (batch_queue, std::mem::replace(&mut self.consumer, consumer));
        old.1.context().close();
        close_within("the old consumer", CLOSE, old, drop);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fencings_are_excused_and_no_more() {
        let (mut fencings, begin) = (Fencings::default(), Instant::now());
        let mut at = |seconds| fencings.is_excused(begin + Duration::from_secs(seconds));
        assert!(at(0) && at(20));
        assert!(!at(40), "a second process fences again within seconds");
        // The pattern of broker restarts.
        for outage in 1..5 {
            assert!(at(100 + 50 * outage));
        }
    }
}
