//! The events topic as the oracle's input.

use std::collections::VecDeque;

use weir_events::{Decoder, partition_of, validate};
use weir_log::Record;
use weir_oracle::{Entry, Settings};

use crate::decisions::{Decision, Decisions};

/// The log of a pipeline.
pub struct Events {
    /// The valid events of each partition, in order.
    pub log: Vec<Vec<Entry>>,
    /// Records read.
    pub records: usize,
    /// Records that are no valid event.
    pub invalid: usize,
    /// Valid events of visitors who belong into another partition.
    pub misplaced: usize,
    /// Decisions about silence that are no longer in the state topic: compaction deleted them.
    pub decisions_lost: u64,
    /// Decisions of the partition being read, in order, that are not in its log yet.
    decisions: VecDeque<Decision>,
    decoder: Decoder,
    max_future: i64,
    last: Option<i64>,
}

impl Events {
    pub(crate) fn new(partitions: i32, max_future: i64) -> Self {
        Self {
            log: (0..partitions).map(|_| Vec::new()).collect(),
            records: 0,
            invalid: 0,
            misplaced: 0,
            decisions_lost: 0,
            decisions: VecDeque::new(),
            decoder: Decoder::new(),
            max_future,
            last: None,
        }
    }

    /// The decisions of the partition whose records come next.
    pub(crate) fn decided(&mut self, decisions: Decisions) {
        self.decisions_lost += decisions.lost();
        self.decisions = decisions.into_found().into();
    }

    /// Called after the partition's last record: adds the decisions after it.
    pub(crate) fn finish(&mut self, partition: i32) {
        self.decide(partition, i64::MAX);
    }

    /// Adds the decisions taken before the record at `offset` was read to the log, as a replay does.
    fn decide(&mut self, partition: i32, offset: i64) {
        while let Some(decision) = self.decisions.pop_front_if(|decision| decision.offset <= offset) {
            self.log[partition as usize].push(Entry::AdvanceWatermark(decision.watermark));
        }
    }

    pub(crate) fn take(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.decide(record.partition, record.offset);
        let decoded = self.decoder.decode(record.value.unwrap_or_default()).ok();
        let valid = decoded.filter(|event| validate(event, record.timestamp, self.max_future).is_ok());
        let Some(event) = valid else {
            self.invalid += 1;
            return;
        };
        let own = partition_of(event.user_id.as_bytes(), self.log.len() as i32);
        self.misplaced += usize::from(own != record.partition);
        self.last = self.last.max(Some(event.timestamp));
        self.log[record.partition as usize].push(Entry::Event(event.into()));
    }

    /// Ends the log: the last window with an event is sealed in every partition.
    pub(crate) fn end(&mut self, settings: &Settings) {
        let Some(last) = self.last else { return };
        let end = last.div_euclid(settings.slide) * settings.slide + settings.size;
        self.log.iter_mut().for_each(|partition| partition.push(Entry::AdvanceWatermark(end)));
    }
}
