//! The number of partitions of a topic.

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::clients::ANSWER;
use super::error::{classify, of_code};
use weir_log::Error;

/// The number of partitions of a topic.
pub(super) fn count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    bootstrap: &str,
) -> Result<i32, Error> {
    let doing = || format!("find topic {topic:?} at {bootstrap}");
    let metadata = client.fetch_metadata(Some(topic), ANSWER).map_err(|error| classify(&doing(), &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let missing = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    let Some(found) = found else { return Err(classify(&doing(), &missing)) };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return Err(of_code(&doing(), code, &code.to_string()));
    }
    match i32::try_from(found.partitions().len()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(classify(&doing(), &missing)),
    }
}
