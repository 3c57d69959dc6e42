//! What the consumer reports: what passes, and what does not.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use weir_log::Error;

use super::Group;
use super::positions::Position;
use crate::clients::ANSWER;
use crate::error::{Class, class, classify, of_code};

/// How long the log must say that it does not reach our position before that is believed: a broker that was just started, or just became the
/// leader, may show less for a moment than it had acknowledged.
const BELIEVED_AFTER: Duration = Duration::from_secs(10);

/// When a position was first, and last, found beyond what the log has, in one outage.
#[derive(Debug, Default)]
pub(super) struct Beyond(Option<(Instant, Instant)>);

impl Beyond {
    /// Takes a report, and whether it is believed by now.
    pub(super) fn is_believed(&mut self, now: Instant) -> bool {
        // In one outage reports follow each other within seconds: an earlier one says nothing of this.
        let first =
            self.0.filter(|(_, last)| now - *last < 3 * BELIEVED_AFTER).map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
        now - first >= BELIEVED_AFTER
    }
}

impl Group {
    /// Most of what librdkafka reports while polling, it also handles. Gives the words for an outage.
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
            // One broker of several is no outage.
            Class::Retry if code == RDKafkaErrorCode::AllBrokersDown => {
                Ok(Some(format!("could not {doing}: {text}")))
            }
            // A rebalance that says so follows.
            Class::Retry | Class::Abort => {
                tracing::debug!(code = ?code, text, "kafka consumer");
                Ok(None)
            }
            Class::Fenced | Class::Fatal => Err(of_code(&doing, code, &text)),
        }
    }

    /// librdkafka says that the log no longer has an offset. It is believed where the log itself says so too: the report may be about a
    /// position that is long given up, or about an end that a broker does not show yet that was just started. Where nothing is
    /// missing, reading starts again at the own positions.
    pub(super) fn gone(&mut self, text: &str) -> Error {
        let topic = self.topic.clone();
        let mut beyond = false;
        for (partition, position) in (0..).zip(self.positions.clone()) {
            let Some(Position { next, .. }) = position else { continue };
            let (first, end) = match self.consumer.fetch_watermarks(&topic, partition, ANSWER) {
                Ok(ends) => ends,
                Err(error) => {
                    // Asked again when the partition is started anew and does not deliver.
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

    /// Whether librdkafka gave this consumer up.
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
    fn each_outage_may_show_less_of_the_log_for_a_while() {
        let (mut beyond, begin) = (Beyond::default(), Instant::now());
        let mut at = |seconds| beyond.is_believed(begin + Duration::from_secs(seconds));
        assert!(!at(0) && !at(9));
        assert!(at(10), "it goes on for too long");
        // Another outage, an hour later.
        assert!(!at(3_600) && !at(3_609));
        assert!(at(3_610));
    }
}
