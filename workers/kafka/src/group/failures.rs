//! Errors reported by the consumer: transient and fatal ones.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use weir_log::Error;

use super::Group;
use super::positions::Position;
use crate::clients::ANSWER;
use crate::error::{Class, class, classify, of_code};

/// How long a position must be reported beyond the log's end before that is believed: a broker that has just started, or just become
/// the leader, may temporarily return less than it had acknowledged.
const BELIEVED_AFTER: Duration = Duration::from_secs(10);

/// The first and the last report, in one outage, of a position beyond the log's end.
#[derive(Debug, Default)]
pub(super) struct Beyond(Option<(Instant, Instant)>);

impl Beyond {
    /// Records a report; returns whether it is believed by now.
    pub(super) fn is_believed(&mut self, now: Instant) -> bool {
        // Reports of one outage follow each other within seconds: an older one belongs to another outage.
        let first =
            self.0.filter(|(_, last)| now - *last < 3 * BELIEVED_AFTER).map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
        now - first >= BELIEVED_AFTER
    }
}

impl Group {
    /// Classifies an error reported while polling; librdkafka handles most of them itself. Returns the message of an outage.
    pub(super) fn judge(&mut self, error: &KafkaError, detail: &str) -> Result<Option<String>, Error> {
        let doing = format!("read topic {:?} at {}", self.topic, self.brokers);
        let Some(code) = error.rdkafka_error_code() else { return Err(classify(&doing, error)) };
        let text = if detail.is_empty() { error.to_string() } else { detail.to_owned() };
        if code == RDKafkaErrorCode::AutoOffsetReset {
            return Err(self.gone(&text));
        }
        // The next poll deals with it.
        if self.is_fenced() {
            return Ok(None);
        }
        self.alive()?;
        match class(code) {
            // It was there when this member joined: a broker that was just started may not know it yet, and whoever watches the topics
            // says when it is gone for good.
            _ if matches!(
                code,
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition
            ) =>
            {
                Ok(Some(format!("could not {doing}: {text}")))
            }
            // The loss of one of several brokers is not an outage.
            Class::Retry if code == RDKafkaErrorCode::AllBrokersDown => {
                Ok(Some(format!("could not {doing}: {text}")))
            }
            // A corresponding rebalance follows.
            Class::Retry | Class::Abort => {
                tracing::debug!(code = ?code, text, "kafka consumer");
                Ok(None)
            }
            Class::Fenced | Class::Fatal => Err(of_code(&doing, code, &text)),
        }
    }

    /// Handles a report that the log no longer has an offset. It is believed only if the log's watermarks confirm it: the report may be
    /// about an old position, or about an end that a restarting broker does not show yet. If nothing is missing, reading restarts at
    /// the current positions.
    pub(super) fn gone(&mut self, text: &str) -> Error {
        let topic = self.topic.clone();
        let mut beyond = false;
        for (partition, position) in (0..).zip(self.positions.clone()) {
            let Some(Position { next, .. }) = position else { continue };
            let (first, end) = match self.consumer.fetch_watermarks(&topic, partition, ANSWER) {
                Ok(ends) => ends,
                Err(error) => {
                    // Checked again when the restarted partition does not deliver.
                    tracing::debug!(%error, partition, "could not ask what the log has");
                    continue;
                }
            };
            let what = format!(
                "partition {partition} of topic {topic:?} no longer has offset {next}, it has {first} to {end}"
            );
            let way_out = "what is missing cannot be counted any more. To go on, give the pipeline a new name and new names for its \
                           results (topics.results, topics.topPages), so that nothing is counted twice: what is still there is counted \
                           there from the start";
            if next < first {
                let deleted = Error::fatal(format!(
                    "{what}: retention deleted records before they were read; {way_out}, with a longer retention"
                ));
                return deleted.at(&topic, partition, Some(next));
            }
            if next > end {
                beyond = true;
                if self.beyond.is_believed(Instant::now()) {
                    let lost = Error::fatal(format!(
                        "{what}: the topic was deleted and made anew, or its brokers lost what they had acknowledged; {way_out}"
                    ));
                    return lost.at(&topic, partition, Some(next));
                }
            }
        }
        if !beyond {
            self.beyond = Beyond::default();
        }
        let doing = format!(
            "read topic {topic:?}: {text}; nothing is missing as far as the log itself says, reading on"
        );
        match self.start_at_positions() {
            Ok(()) => Error::retry(format!("could not {doing}")),
            Err(error) => error,
        }
    }

    /// Checks that librdkafka's consumer has no fatal error.
    pub(super) fn alive(&self) -> Result<(), Error> {
        match self.consumer.client().fatal_error() {
            Some((code, text)) => {
                let fatal = of_code(&format!("stay in group {:?}", self.group), code, &text);
                Err(Error::fatal(fatal.to_string()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_may_show_less_of_the_log_temporarily() {
        let (mut beyond, begin) = (Beyond::default(), Instant::now());
        let mut at = |seconds| beyond.is_believed(begin + Duration::from_secs(seconds));
        assert!(!at(0) && !at(9));
        assert!(at(10), "it goes on for too long");
        // Another outage, an hour later.
        assert!(!at(3_600) && !at(3_609));
        assert!(at(3_610));
    }
}
