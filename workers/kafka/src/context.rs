//! librdkafka's callbacks: log lines, errors, rebalances, delivery reports.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::lines::log;

/// A change of the assignment, as announced by librdkafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<i32>),
    Taken { lost: bool },
}

#[derive(Debug, Default)]
struct Noted {
    change: Option<Change>,
    end: Option<i64>,
    detail: String,
}

/// The consumers' context. A rebalance is only recorded: librdkafka waits for `assign` or `unassign`, which may come later.
#[derive(Debug, Default)]
pub(super) struct ConsumerNotes {
    noted: Mutex<Noted>,
    /// Set before the consumer is dropped: closing waits for rebalances to be answered, which the context then does.
    closing: AtomicBool,
}

impl ConsumerNotes {
    pub(super) fn take_change(&self) -> Option<Change> {
        self.lock().change.take()
    }

    /// The offset of the last reported end of partition: rdkafka passes on only the partition.
    pub(super) fn take_end(&self) -> Option<i64> {
        self.lock().end.take()
    }

    /// librdkafka's text of the last error.
    pub(super) fn take_detail(&self) -> String {
        mem::take(&mut self.lock().detail)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ConsumerNotes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut noted = self.lock();
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            noted.end = end_offset(reason);
        } else {
            reason.clone_into(&mut noted.detail);
        }
    }
}

impl ConsumerContext for ConsumerNotes {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "could not unassign partitions while closing");
            }
            return;
        }
        let change = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Assigned(partitions.elements().iter().map(|element| element.partition()).collect())
        } else {
            Change::Taken { lost: consumer.assignment_lost() }
        };
        self.lock().change = Some(change);
    }
}

/// `Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 43)` -> 42.
fn end_offset(reason: &str) -> Option<i64> {
    let (_, after) = reason.split_once(" at offset ")?;
    after.split(' ').next()?.parse().ok()
}

/// How long librdkafka may keep back the line of a failed connection whose last failure was the same: 30 s, and some more.
const MAX_UNREPORTED: Duration = Duration::from_secs(35);

/// The producers' context: records the first failed delivery, and the last failed connection.
#[derive(Debug, Default)]
pub(super) struct DeliveryNotes {
    failed: Mutex<Option<String>>,
    interrupted: Mutex<Option<Instant>>,
}

impl DeliveryNotes {
    pub(super) fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a connection may have failed lately with a request under way. Only the log has it: errors are for the application when
    /// no broker is left.
    pub(super) fn was_interrupted(&self) -> bool {
        let last = *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= MAX_UNREPORTED)
    }

    /// Notes a line about a failed connection, or a request without a response.
    fn note_line(&self, facility: &str) {
        if let "FAIL" | "REQTMOUT" = facility {
            *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

impl ClientContext for DeliveryNotes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.note_line(facility);
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for DeliveryNotes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| {
                use rdkafka::Message;
                format!(
                    "a record for {} partition {} was not written: {error}",
                    message.topic(),
                    message.partition()
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_connections_are_noted() {
        let notes = DeliveryNotes::default();
        notes.note_line("GETPID");
        assert!(!notes.was_interrupted());
        notes.note_line("FAIL");
        assert!(notes.was_interrupted());
    }

    #[test]
    fn end_offset_is_read_from_the_reason() {
        let reason = "Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 43)";
        assert_eq!(end_offset(reason), Some(42));
        assert_eq!(end_offset("Fetch from broker 1 reached end of partition"), None);
    }
}
