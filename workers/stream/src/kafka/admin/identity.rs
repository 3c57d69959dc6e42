//! Topic ids: a topic that was deleted and made anew has the same name and another id.
//!
//! librdkafka learns ids with metadata; rdkafka passes them on nowhere but in a line of its debugging log, which is therefore what
//! is read here. Where that line would ever read otherwise, no id is found, and nothing is done that needs one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::super::clients::{self, ANSWER};
use super::{AdminError, unreachable};

/// The ids of the named topics, as Kafka's own tools write them. Topics that do not exist are left out.
pub(super) fn ids(
    bootstrap: &str,
    extra: &[(String, String)],
    names: &[&str],
) -> Result<BTreeMap<String, String>, AdminError> {
    let failed = |error: KafkaError| unreachable(bootstrap, &error);
    // A consumer, because it never creates a topic by asking for it.
    let mut config = clients::reader(bootstrap, "weir-admin", "weir-admin", extra);
    config.set("debug", "topic,metadata").set_log_level(RDKafkaLogLevel::Debug);
    let consumer: BaseConsumer<Ids> = config.create_with_context(Ids::default()).map_err(failed)?;
    let metadata = consumer.fetch_metadata(None, ANSWER).map_err(failed)?;
    let present = metadata.topics().iter().filter(|topic| topic.error().is_none()).map(|topic| topic.name());
    let wanted: BTreeSet<&str> = present.filter(|name| names.contains(name)).collect();
    // Ids are noted for topics in use alone. Nothing is to be read from them.
    let mut list = TopicPartitionList::new();
    for name in &wanted {
        list.add_partition_offset(name, 0, Offset::End).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    consumer.pause(&list).map_err(failed)?;
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline && !wanted.iter().all(|name| consumer.context().ids().contains_key(*name))
    {
        // Log lines are passed on by polling. Records that were fetched before the pause are of no interest.
        drop(consumer.poll(Duration::from_millis(20)));
    }
    let mut ids = consumer.context().ids().clone();
    ids.retain(|name, _| wanted.contains(name.as_str()));
    Ok(ids)
}

/// Listens to the log for ids.
#[derive(Default)]
struct Ids(Mutex<BTreeMap<String, String>>);

impl Ids {
    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Ids {
    fn log(&self, _: RDKafkaLogLevel, _: &str, line: &str) {
        if let Some((topic, id)) = id_in(line) {
            self.ids().insert(topic, id);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka administration");
    }
}

impl ConsumerContext for Ids {}

/// The topic and the id of `[thrd:main]: Topic NAME changed id from ID to ID`.
fn id_in(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("Topic ")?;
    let (topic, ids) = rest.split_once(" changed id from ")?;
    let (_, id) = ids.split_once(" to ")?;
    // Of base64's two alphabets Kafka's tools write the one for addresses.
    Some((topic.to_owned(), id.trim().replace('+', "-").replace('/', "_")))
}

#[cfg(test)]
mod tests {
    use super::id_in;

    #[test]
    fn an_id_is_found_in_the_log() {
        let line =
            "[thrd:main]: Topic a.b-c changed id from AAAAAAAAAAAAAAAAAAAAAA to x+y/AAAAAAAAAAAAAAAAAA";
        let expected = ("a.b-c".to_owned(), "x-y_AAAAAAAAAAAAAAAAAA".to_owned());
        assert_eq!(id_in(line), Some(expected));
        assert_eq!(id_in("[thrd:main]: Topic a.b-c partition count changed from 0 to 3"), None);
    }
}
