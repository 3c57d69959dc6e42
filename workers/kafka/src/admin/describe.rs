//! Describes topics: id and partitions, in one request that never creates a topic.
//!
//! The id distinguishes a recreated topic from the previous one. rdkafka has no call for it (docs/decisions/0005), hence the unsafe
//! code.
#![expect(unsafe_code, reason = "librdkafka's DescribeTopics is not in rdkafka")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{self as rd, rd_kafka_admin_op_t, rd_kafka_resp_err_t};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::clients::ANSWER;
use weir_log::TopicDescription;

/// The cluster's description of one topic.
type Answer = Result<TopicDescription, RDKafkaErrorCode>;

/// Longer than the request's own timeout, so that the response to it arrives.
const MARGIN: Duration = Duration::from_secs(2);

/// The named topics; an error code for those that are missing or not visible to this user.
pub(in super::super) fn describe<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
) -> Result<BTreeMap<String, Answer>, KafkaError> {
    // librdkafka refuses duplicate names.
    let names: BTreeSet<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
    let names: Result<Vec<CString>, _> = names.into_iter().map(CString::new).collect();
    // A name with a zero byte in it.
    let names = names.map_err(|_| KafkaError::AdminOp(RDKafkaErrorCode::InvalidTopic))?;
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let event = Event::ask(client, &names)?;
    // SAFETY: the event is alive, and the answer to DescribeTopics, or an error of it.
    let (code, result) =
        unsafe { (rd::rd_kafka_event_error(event.0), rd::rd_kafka_event_DescribeTopics_result(event.0)) };
    if code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(KafkaError::AdminOp(code.into()));
    }
    if result.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
    }
    let mut count = 0;
    // SAFETY: the result lives as long as the event, and so do the descriptions; the call says how many there are. A place is
    // empty where the broker left a topic out.
    let descriptions = unsafe {
        let first = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    let there = descriptions.iter().copied().filter(|description| !description.is_null());
    // SAFETY: one of the event's descriptions, which is alive.
    Ok(there.map(|description| unsafe { read(description) }).collect())
}

/// A description's name and contents.
///
/// # Safety
/// `description` is librdkafka's, and alive during the call.
unsafe fn read(description: *const rd::rd_kafka_TopicDescription_t) -> (String, Answer) {
    // SAFETY: alive, as the caller says. The name, the error and the id are parts of it, copied before this returns; the id's text
    // is written into the id itself, which nobody else refers to.
    unsafe {
        let name = text(rd::rd_kafka_TopicDescription_name(description));
        let error = rd::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            let code = rd::rd_kafka_error_code(error);
            if code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return (name, Err(code.into()));
            }
        }
        let mut partitions = 0;
        rd::rd_kafka_TopicDescription_partitions(description, &raw mut partitions);
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        let id = if id.is_null() { String::new() } else { text(rd::rd_kafka_Uuid_base64str(id)) };
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        (name, Ok(TopicDescription { id: to_url_safe(&id), partitions }))
    }
}

/// Kafka's tools use the URL-safe base64 alphabet. An id of zeros means no id.
fn to_url_safe(id: &str) -> String {
    if id.bytes().all(|byte| byte == b'A') { String::new() } else { id.replace('+', "-").replace('/', "_") }
}

/// A copy of librdkafka's string.
///
/// # Safety
/// `string` is null, or ends with a zero and is alive during the call.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// An answer of librdkafka, given back when dropped.
struct Event(*mut rd::rd_kafka_event_t);

impl Event {
    fn ask<C: ClientContext>(client: &Client<C>, names: &[CString]) -> Result<Self, KafkaError> {
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let milliseconds = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let (patience, wait) = (milliseconds(ANSWER), milliseconds(ANSWER + MARGIN));
        // SAFETY: the client outlives this call, and with it the queue and the options, which are destroyed at its end. The names
        // are copied by librdkafka. A null error buffer of no length is what it takes for "not wanted". An answer that comes after
        // the wait finds its queue disabled, which librdkafka counts references for.
        let event = unsafe {
            let native = client.native_ptr();
            let queue = rd::rd_kafka_queue_new(native);
            let options =
                rd::rd_kafka_AdminOptions_new(native, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, patience, ptr::null_mut(), 0);
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd::rd_kafka_DescribeTopics(native, topics, options, queue);
            let event = rd::rd_kafka_queue_poll(queue, wait);
            rd::rd_kafka_TopicCollection_destroy(topics);
            rd::rd_kafka_AdminOptions_destroy(options);
            rd::rd_kafka_queue_destroy(queue);
            event
        };
        if event.is_null() {
            Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
        } else {
            Ok(Self(event))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and given back once.
        unsafe { rd::rd_kafka_event_destroy(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::to_url_safe;

    #[test]
    fn ids_are_formatted_like_kafkas_tools_do() {
        assert_eq!(to_url_safe("x+y/AAAAAAAAAAAAAAAAAA"), "x-y_AAAAAAAAAAAAAAAAAA");
        assert_eq!(to_url_safe("AAAAAAAAAAAAAAAAAAAAAA"), "");
    }
}
