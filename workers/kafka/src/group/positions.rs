//! The position of each partition, and what follows it.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use weir_log::{Error, Item};

use super::Group;
use crate::batch_queue::{self, Delivery};
use crate::context::ConsumerNotes;

/// Interval of checking for held-back records behind reported ends.
pub(super) const HELD_BACK_CHECK: Duration = Duration::from_millis(100);

/// The position of an assigned partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The next offset.
    pub(super) next: i64,
    /// The end reported at this position, if nothing came since.
    pub(super) reported: Option<End>,
}

/// The kind of end reported when everything readable was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// Something follows that is not readable yet.
    HeldBack,
}

pub(super) fn held(positions: &mut [Option<Position>], partition: i32) -> Option<&mut Position> {
    positions.get_mut(usize::try_from(partition).ok()?)?.as_mut()
}

impl End {
    pub(super) fn item(self, partition: i32, offset: i64) -> Item<'static> {
        match self {
            Self::Whole => Item::End { partition, offset },
            Self::HeldBack => Item::HeldBack { partition, offset },
        }
    }
}

/// The kind of end at an offset up to which everything readable was read, by the high watermark of the last fetch.
pub(super) fn end_at(
    consumer: &BaseConsumer<ConsumerNotes>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> End {
    match batch_queue::high_watermark(consumer, topic, partition) {
        Some(high_watermark) if high_watermark > offset => End::HeldBack,
        _ => End::Whole,
    }
}

impl Group {
    /// Takes what partitions have delivered; returns the number of records and ends.
    pub(super) fn take(
        &mut self,
        most: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<usize, Error> {
        let (positions, mut fault) = (&mut self.positions, None);
        let (consumer, topic) = (&self.consumer, &self.topic);
        // Records of partitions that are no longer assigned are dropped.
        let taken = self.batch_queue.take(most, wait, &mut |delivery| match delivery {
            Delivery::Record(record) => {
                if let Some(position) = held(positions, record.partition) {
                    *position = Position { next: record.offset + 1, reported: None };
                    sink(Item::Record(record));
                }
            }
            Delivery::End { partition, offset } => {
                if let Some(position) = held(positions, partition) {
                    let end = end_at(consumer, topic, partition, offset);
                    *position = Position { next: offset, reported: Some(end) };
                    sink(end.item(partition, offset));
                }
            }
            Delivery::Fault(code, text) => fault = fault.take().or(Some((code, text))),
        });
        if let Some((code, text)) = fault {
            self.judge(&KafkaError::MessageConsumption(code), &text)?;
        }
        Ok(taken)
    }

    /// Detects open transactions that begin behind a reported end: they move the high watermark, but deliver neither a record nor
    /// another end.
    pub(super) fn detect_held_back(&mut self, sink: &mut dyn FnMut(Item<'_>)) -> usize {
        self.checked = Instant::now();
        let mut found = 0;
        for (partition, position) in (0..).zip(&mut self.positions) {
            let Some(position) = position else { continue };
            if position.reported == Some(End::Whole)
                && end_at(&self.consumer, &self.topic, partition, position.next) == End::HeldBack
            {
                position.reported = Some(End::HeldBack);
                sink(End::HeldBack.item(partition, position.next));
                found += 1;
            }
        }
        found
    }
}
