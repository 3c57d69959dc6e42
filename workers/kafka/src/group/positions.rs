//! How far each partition was read, and what is behind that.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use weir_log::{Error, Item};

use super::Group;
use crate::batch_queue::{self, Delivery};
use crate::context::ConsumerNotes;

/// How often it is looked whether something has come behind the ends that were reported, where no record says so.
pub(super) const HELD_BACK_CHECK: Duration = Duration::from_millis(100);

/// A partition held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The next offset.
    pub(super) next: i64,
    /// The end that was reported there, if nothing came since.
    pub(super) reported: Option<End>,
}

/// What was said of all that may be read having been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// Something follows that may not be read yet.
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

/// What is behind an offset up to which everything that may be read was read: by the high watermark that came with the last fetch.
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
    /// Takes what partitions have delivered; how many records and ends.
    pub(super) fn take(
        &mut self,
        most: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<usize, Error> {
        let (positions, mut fault) = (&mut self.positions, None);
        let (consumer, topic) = (&self.consumer, &self.topic);
        // What is no longer held is no longer ours.
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

    /// An open transaction that begins behind an end moves the high watermark and nothing else: no record comes of it, and no
    /// other end.
    pub(super) fn look_for_held_back(&mut self, sink: &mut dyn FnMut(Item<'_>)) -> usize {
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
