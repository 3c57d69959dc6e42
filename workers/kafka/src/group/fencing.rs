//! A static member that is fenced by its own name, and members that are offered nothing: they join anew.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use weir_log::{Error, Rebalance};

use super::{CLOSE, Group, MemberState, subscribed};
use crate::batch_queue::BatchQueue;
use crate::watchdog::close_within;

/// A static member that is told that its name was taken joins anew that often within so long, pausing before, until it believes that another
/// process has its name: after an outage it may be its own past that fences it, a membership of which it never got the answer. A twin that
/// joins anew as well comes back within seconds; three restarts of a broker within two minutes were taken for one with 300 s.
const FENCINGS_EXCUSED: usize = 2;
const FENCINGS_REMEMBERED: Duration = Duration::from_secs(45);
const FENCED_PAUSE: Duration = Duration::from_secs(2);

/// When this member was fenced by its own instance id.
#[derive(Debug, Default)]
pub(super) struct Fencings(Vec<Instant>);

impl Fencings {
    /// Whether one more may be this process's own past; if so it is remembered.
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
    /// Whether librdkafka gave this consumer up because another one joined under its instance id.
    pub(super) fn is_fenced(&self) -> bool {
        let fatal = self.consumer.client().fatal_error();
        fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    /// What was held is lost, and after a pause it joins anew; unless that has not helped.
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
            "fenced by the own instance id, perhaps by an earlier attempt of this process to join: joining anew"
        );
        let had = std::mem::replace(&mut self.state, MemberState::Lost);
        if had == MemberState::Outside {
            self.state = MemberState::Outside;
            return Ok(None);
        }
        Ok(Some(Rebalance::Lost))
    }

    /// Starts over with a new consumer. It owns nothing, so nothing is lost.
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
