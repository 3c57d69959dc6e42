//! A member's reads from its partitions.

use std::sync::Arc;

use weir_log::{Error, Record};

use super::{Member, Phase};
use crate::partition::StoredRecord;
use crate::state::State;

pub(super) enum Fetched {
    Record(i32, Arc<StoredRecord>),
    End(i32, i64),
    HeldBack(i32, i64),
}

impl Member {
    /// Reads what is available, round-robin over the partitions.
    pub(super) fn fetch(&mut self, state: &State, max: usize) -> Result<Vec<Fetched>, Error> {
        let mut fetched = Vec::new();
        let mut left = max;
        let count = self.positions.len();
        if self.phase != Phase::Owning || count == 0 {
            return Ok(fetched);
        }
        for step in 0..count {
            let position = &mut self.positions[(self.turn + step) % count];
            let log = state.partition(&self.options.topic, position.partition)?;
            if position.next < log.start || position.next > log.end {
                // Nothing is to be read, so nothing is missed yet: a real client has read ahead.
                if max == 0 {
                    continue;
                }
                let gone = Error::fatal(format!(
                    "offset {} of partition {} of {} is gone, the log has {} to {}; records were lost to retention, or \
                     the topic was made anew",
                    position.next, position.partition, self.options.topic, log.start, log.end
                ));
                return Err(gone.at(&self.options.topic, position.partition, Some(position.next)));
            }
            let records = log.visible(position.next).take(left);
            let before = fetched.len();
            fetched.extend(records.map(|record| Fetched::Record(position.partition, record.clone())));
            left -= fetched.len() - before;
            if let Some(Fetched::Record(_, last)) = fetched[before..].last() {
                position.next = last.offset + 1;
            }
            let end = log.stable();
            if position.next <= end && log.visible(position.next).next().is_none() {
                position.next = end;
                let held_back = end < log.end;
                if position.reported.replace((end, held_back)) != Some((end, held_back)) {
                    let reported = if held_back { Fetched::HeldBack } else { Fetched::End };
                    fetched.push(reported(position.partition, end));
                }
            }
        }
        self.turn = (self.turn + 1) % count;
        Ok(fetched)
    }
}

pub(super) fn record(partition: i32, stored: &StoredRecord) -> Record<'_> {
    Record {
        partition,
        offset: stored.offset,
        timestamp: stored.timestamp,
        key: stored.key.as_deref(),
        value: stored.value.as_deref(),
    }
}
