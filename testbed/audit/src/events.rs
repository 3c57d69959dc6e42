//! The events topic as the oracle takes it.

use weir_events::{Decoder, validate};
use weir_oracle::{Entry, Settings};
use weir_stream::log::Record;

/// The log of a pipeline.
pub struct Events {
    /// The valid events of each partition, in order.
    pub log: Vec<Vec<Entry>>,
    /// Records read.
    pub records: usize,
    /// Records that are no valid event.
    pub invalid: usize,
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
            decoder: Decoder::new(),
            max_future,
            last: None,
        }
    }

    pub(crate) fn take(&mut self, record: &Record<'_>) {
        self.records += 1;
        let decoded = self.decoder.decode(record.value.unwrap_or_default()).ok();
        let valid = decoded.filter(|event| validate(event, record.timestamp, self.max_future).is_ok());
        let Some(event) = valid else {
            self.invalid += 1;
            return;
        };
        self.last = self.last.max(Some(event.timestamp));
        self.log[record.partition as usize].push(Entry::Event(event.into()));
    }

    /// Ends the log: the last window with an event is sealed in every partition.
    pub(crate) fn end(&mut self, settings: &Settings) {
        let Some(last) = self.last else { return };
        let end = last.div_euclid(settings.slide) * settings.slide + settings.size;
        self.log.iter_mut().for_each(|partition| partition.push(Entry::RaiseWatermark(end)));
    }
}
