//! Records by the batch: one call into librdkafka for many.
//!
//! rdkafka hands out one record a call, and each call asks the clock, takes locks and allocates: as much time as all of
//! counting an event (docs/decisions/0007). librdkafka's own call for batches has no counterpart there, hence the unsafe code,
//! all of this crate's.
#![expect(unsafe_code, reason = "librdkafka's call for batches is not in rdkafka")]

use std::{ffi::CString, ptr, slice, sync::Arc, time::Duration};

use rdkafka::bindings::{
    self, rd_kafka_message_destroy, rd_kafka_message_errstr, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_t, rd_kafka_resp_err_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::context::ConsumerNotes;
use crate::log::{Item, Record};

/// Most records that one call brings.
const BATCH: usize = 1_000;

/// Where a consumer's partitions deliver to.
pub(super) struct Inbox {
    /// A queue of our own; only this value refers to it.
    queue: *mut rd_kafka_queue_t,
    /// The partitions' own queues, which are forwarded to it.
    partitions: Vec<*mut rd_kafka_queue_t>,
    /// Where librdkafka puts a batch.
    places: Vec<*mut rd_kafka_message_t>,
    /// Must outlive the queue.
    consumer: Arc<BaseConsumer<ConsumerNotes>>,
}

// SAFETY: librdkafka's queues may be used from any thread, and the places are empty between calls.
unsafe impl Send for Inbox {}

/// What a partition delivers.
pub(super) enum Delivery<'a> {
    Item(Item<'a>),
    /// What went wrong with a partition, in librdkafka's words.
    Fault(RDKafkaErrorCode, String),
}

/// A message, given back when dropped.
struct Message(*mut rd_kafka_message_t);

impl Inbox {
    pub(super) fn new(consumer: Arc<BaseConsumer<ConsumerNotes>>) -> Self {
        // SAFETY: the consumer is alive; the queue is destroyed before it, in drop.
        let queue = unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue, partitions: Vec::new(), places: vec![ptr::null_mut(); BATCH], consumer }
    }

    /// From now on these partitions deliver here, before they are assigned and after. False where one of them cannot be.
    #[must_use]
    pub(super) fn receive(&mut self, topic: &str, partitions: impl IntoIterator<Item = i32>) -> bool {
        self.forget();
        let Ok(topic) = CString::new(topic) else { return false };
        for partition in partitions {
            // SAFETY: the consumer is alive, and the string while the call reads it; the queue is given back in forget.
            let queue = unsafe {
                let client = self.consumer.client().native_ptr();
                bindings::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition)
            };
            if queue.is_null() {
                return false;
            }
            self.partitions.push(queue);
        }
        self.forward();
        true
    }

    /// Says where partitions deliver to. librdkafka forgets it when it stops reading a partition, and does so some time after it
    /// was told to, when the partition may be assigned again: so it is said ever anew.
    fn forward(&self) {
        for &partition in &self.partitions {
            // SAFETY: both queues are alive.
            unsafe { bindings::rd_kafka_queue_forward(partition, self.queue) }
        }
    }

    fn forget(&mut self) {
        for partition in self.partitions.drain(..) {
            // SAFETY: from receive, and used by nobody after this.
            unsafe { bindings::rd_kafka_queue_destroy(partition) }
        }
    }

    /// Hands out what is there: at most `most`, or one after a wait. How many.
    pub(super) fn take(&mut self, most: usize, wait: Duration, sink: &mut dyn FnMut(Delivery<'_>)) -> usize {
        self.forward();
        // librdkafka waits until it has as many as it is asked for.
        let most = if wait.is_zero() { most.min(BATCH) } else { 1 };
        // Rounded up: whoever waits for the rest of a millisecond would otherwise ask again and again until it is over.
        let wait = i32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        // SAFETY: there are as many places as are filled at most. What was filled is ours, once.
        let filled = unsafe {
            bindings::rd_kafka_consume_batch_queue(self.queue, wait, self.places.as_mut_ptr(), most)
        };
        // -1 is for a queue that is none.
        let filled = usize::try_from(filled).unwrap_or(0);
        for &place in &self.places[..filled] {
            sink(Message(place).delivery());
        }
        filled
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.forget();
        // SAFETY: made in new, and used by nobody after this.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue) }
    }
}

impl Message {
    fn delivery(&self) -> Delivery<'_> {
        // SAFETY: librdkafka's message, alive and unchanged until drop.
        let message = unsafe { &*self.0 };
        match message.err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Delivery::Item(Item::Record(Record {
                partition: message.partition,
                offset: message.offset,
                // SAFETY: alive, as above. It writes nothing where the kind of timestamp is not asked for.
                timestamp: unsafe { rd_kafka_message_timestamp(self.0, ptr::null_mut()) },
                key: self.bytes(message.key, message.key_len),
                value: self.bytes(message.payload, message.len),
            })),
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Delivery::Item(Item::End { partition: message.partition, offset: message.offset })
            }
            error => {
                // SAFETY: alive, as above; what it returns is a string, and lives as long.
                let text = unsafe { std::ffi::CStr::from_ptr(rd_kafka_message_errstr(self.0)) };
                Delivery::Fault(error.into(), text.to_string_lossy().into_owned())
            }
        }
    }

    fn bytes(&self, start: *const std::ffi::c_void, length: usize) -> Option<&[u8]> {
        // SAFETY: part of the message, of that length, where there is any; it lives as long as self.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), length) })
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, and given back once.
        unsafe { rd_kafka_message_destroy(self.0) }
    }
}
