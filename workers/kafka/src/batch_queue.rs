//! Batched consumption: one call into librdkafka for many records.
//!
//! rdkafka returns one record per call, and each call reads the clock, takes locks and allocates: as much time as counting an
//! event (docs/decisions/0007). librdkafka's batch call has no counterpart there, hence the unsafe code.
//!
//! Of librdkafka's two calls for batches this is the one that hands messages to a callback. The other, which fills an array, moves the
//! position past every entry, also past one that only says that the partition's end was reached: one offset too far, under a leader
//! epoch that nobody reported. Where a rebalance then pauses the partition, that position becomes the one to fetch from.
#![expect(unsafe_code, reason = "librdkafka's calls for batches are not in rdkafka")]

use std::any::Any;
use std::ffi::{CStr, CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{marker::PhantomData, ptr, slice, sync::Arc, thread, time::Duration};

use rdkafka::bindings::{
    self, rd_kafka_message_errstr, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_queue_t,
    rd_kafka_resp_err_t, rd_kafka_topic_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::context::ConsumerNotes;
use weir_log::Record;

/// Most records that one call brings: what a consumer's `consume.callback.max.messages` must say. Without, a call takes whatever was
/// read ahead, and librdkafka, which does not see it any more, reads as much again meanwhile.
pub(super) const MAX_RECORDS_PER_CALL: usize = 1_000;

/// The common queue to which a consumer's partitions deliver.
pub(super) struct BatchQueue {
    /// A queue of our own; only this value refers to it.
    queue: *mut rd_kafka_queue_t,
    /// The topic of what is received; null before there is any.
    topic: *mut rd_kafka_topic_t,
    /// The partitions and their own queues, which are forwarded to this one.
    partitions: Vec<(i32, *mut rd_kafka_queue_t)>,
    /// Must outlive the queue and the topic.
    consumer: Arc<BaseConsumer<ConsumerNotes>>,
}

// SAFETY: librdkafka's queues and topics may be used from any thread.
unsafe impl Send for BatchQueue {}

/// A delivery of a partition.
pub(super) enum Delivery<'a> {
    Record(Record<'a>),
    /// Everything readable was read: what follows this offset does not exist yet, or is held back.
    End {
        partition: i32,
        offset: i64,
    },
    /// An error of a partition, with librdkafka's text.
    Fault(RDKafkaErrorCode, String),
}

impl BatchQueue {
    pub(super) fn new(consumer: Arc<BaseConsumer<ConsumerNotes>>) -> Self {
        // SAFETY: the consumer is alive; the queue is destroyed before it, in drop.
        let queue = unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue, topic: ptr::null_mut(), partitions: Vec::new(), consumer }
    }

    /// Makes these partitions deliver here, before and after they are assigned. False if one of them cannot.
    #[must_use]
    pub(super) fn receive(&mut self, topic: &str, partitions: impl IntoIterator<Item = i32>) -> bool {
        self.forget();
        let Ok(topic) = CString::new(topic) else { return false };
        let client = self.consumer.client().native_ptr();
        // SAFETY: the consumer is alive, and the string while the call reads it; the topic is given back in forget. Without a
        // configuration of its own it has the consumer's.
        self.topic = unsafe { bindings::rd_kafka_topic_new(client, topic.as_ptr(), ptr::null_mut()) };
        if self.topic.is_null() {
            return false;
        }
        for partition in partitions {
            // SAFETY: the consumer is alive, and the string while the call reads it; the queue is given back in forget.
            let queue = unsafe { bindings::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
            if queue.is_null() {
                return false;
            }
            self.partitions.push((partition, queue));
        }
        self.forward();
        true
    }

    /// Forwards the partitions' queues. librdkafka resets the forwarding when it stops reading a partition, which may happen after
    /// the partition is assigned again: so it is repeated.
    fn forward(&self) {
        for &(_, partition) in &self.partitions {
            // SAFETY: both queues are alive.
            unsafe { bindings::rd_kafka_queue_forward(partition, self.queue) }
        }
    }

    fn forget(&mut self) {
        for (_, partition) in self.partitions.drain(..) {
            // SAFETY: from receive, and used by nobody after this.
            unsafe { bindings::rd_kafka_queue_destroy(partition) }
        }
        let topic = std::mem::replace(&mut self.topic, ptr::null_mut());
        if !topic.is_null() {
            // SAFETY: from receive, and used by nobody after this.
            unsafe { bindings::rd_kafka_topic_destroy(topic) }
        }
    }

    /// Delivers at most `max` available records, or those available after a wait. Returns how many.
    pub(super) fn take(&mut self, max: usize, wait: Duration, sink: &mut dyn FnMut(Delivery<'_>)) -> usize {
        let Some(&(any, _)) = self.partitions.first() else {
            thread::sleep(wait);
            return 0;
        };
        self.forward();
        // Rounded up: a wait of less than a millisecond would otherwise become a busy loop.
        let wait = i32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        let client = self.consumer.client().native_ptr();
        let mut taking = Taking { sink, left: max, taken: 0, panic: None, client };
        // SAFETY: the topic is alive, and so is what the callback is given, until the call returns; nothing else uses it meanwhile.
        // All partitions deliver to one queue, so taking from one of them is taking from all.
        unsafe {
            bindings::rd_kafka_consume_callback(
                self.topic,
                any,
                wait,
                Some(deliver),
                ptr::from_mut(&mut taking).cast(),
            )
        };
        if let Some(panic) = taking.panic {
            resume_unwind(panic);
        }
        taking.taken
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        self.forget();
        // SAFETY: made in new, and used by nobody after this.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue) }
    }
}

/// A partition's high watermark as of the last answer to a fetch; `None` before the first. Asks nobody.
pub(super) fn high_watermark(
    consumer: &BaseConsumer<ConsumerNotes>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the consumer is alive, and the string and both numbers while the call uses them.
    let error = unsafe {
        let client = consumer.client().native_ptr();
        bindings::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (error == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// One call's deliveries.
struct Taking<'a> {
    sink: &'a mut dyn FnMut(Delivery<'_>),
    left: usize,
    taken: usize,
    /// A panic of the sink, which must not unwind through librdkafka.
    panic: Option<Box<dyn Any + Send>>,
    client: *mut bindings::rd_kafka_t,
}

/// librdkafka's callback, called within [`BatchQueue::take`].
unsafe extern "C" fn deliver(message: *mut rd_kafka_message_t, taking: *mut c_void) {
    // SAFETY: what take gave, which nothing else uses until the call there returns.
    let taking = unsafe { &mut *taking.cast::<Taking<'_>>() };
    // SAFETY: librdkafka's message, alive and unchanged until this returns.
    let message = unsafe { Message::new(message) };
    let delivered = catch_unwind(AssertUnwindSafe(|| (taking.sink)(message.delivery())));
    taking.taken += 1;
    taking.left = taking.left.saturating_sub(1);
    if let Err(panic) = delivered {
        (taking.panic, taking.left) = (Some(panic), 0);
    }
    if taking.left == 0 {
        // SAFETY: the client is alive. What was taken from the queue and not delivered goes back to its head.
        unsafe { bindings::rd_kafka_yield(taking.client) }
    }
}

/// A message while the callback has it.
struct Message<'a>(*mut rd_kafka_message_t, PhantomData<&'a rd_kafka_message_t>);

impl<'a> Message<'a> {
    /// # Safety
    /// The message must be alive and unchanged for as long as this value.
    unsafe fn new(message: *mut rd_kafka_message_t) -> Self {
        Self(message, PhantomData)
    }

    fn delivery(&self) -> Delivery<'_> {
        // SAFETY: alive, as new says.
        let message = unsafe { &*self.0 };
        match message.err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Delivery::Record(Record {
                partition: message.partition,
                offset: message.offset,
                // SAFETY: alive, as above. It writes nothing where the kind of timestamp is not asked for.
                timestamp: unsafe { rd_kafka_message_timestamp(self.0, ptr::null_mut()) },
                key: self.bytes(message.key, message.key_len),
                value: self.bytes(message.payload, message.len),
            }),
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Delivery::End { partition: message.partition, offset: message.offset }
            }
            error => {
                // SAFETY: alive, as above; what it returns is a string, and lives as long.
                let text = unsafe { CStr::from_ptr(rd_kafka_message_errstr(self.0)) };
                Delivery::Fault(error.into(), text.to_string_lossy().into_owned())
            }
        }
    }

    fn bytes(&self, start: *const c_void, length: usize) -> Option<&[u8]> {
        // SAFETY: part of the message, of that length, where there is any; it lives as long as self.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), length) })
    }
}
