//! Whose a topic is: recorded beside the topic itself, because Kafka has no setting for it (docs/decisions/0011).
//!
//! A record is the metadata of an offset that the group [`OWNERS_GROUP`] commits for partition 0 of the topic. Nobody reads from such an
//! offset; its number is the time of the record, milliseconds since the epoch, and so beyond any log's end: tools that watch lag
//! see none. Kafka drops the record with the topic, or `offsets.retention.minutes` (a week) after it was last renewed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::{Admin, AdminError, refused, unreachable};
use crate::kafka::clients::{self, ANSWER};
use crate::kafka::context::ConsumerNotes;

/// The group whose offsets carry the records. It has no members.
pub const OWNERS_GROUP: &str = "weir.topic-owners";

/// A record is renewed when it is older: well within the week that Kafka keeps it for.
const RENEWED: Duration = Duration::from_secs(3_600);

/// Whose a topic is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The pipeline that writes it, by its name.
    pub pipeline: String,
    /// The topic's id: the record says nothing about another topic of the same name.
    #[serde(rename = "topicID")]
    pub topic_id: String,
    /// Whether the pipeline created it or adopted its settings, and so may change them in any way.
    #[serde(default)]
    pub ours: bool,
    /// When that was last said, milliseconds since the epoch. Kept as the offset.
    #[serde(skip)]
    pub since: i64,
}

impl Admin {
    /// Whose the topics are, given by name and id. What nobody owns is left out.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`]; [`AdminError::Refused`] without the right to read the group [`OWNERS_GROUP`].
    pub fn owners(&self, ids: &BTreeMap<String, String>) -> Result<BTreeMap<String, Owner>, AdminError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let failed = |error: KafkaError| self.owners_error("read who owns", ids, &error);
        let mut list = TopicPartitionList::new();
        for topic in ids.keys() {
            list.add_partition(topic, 0);
        }
        let list = self.asker()?.committed_offsets(list, ANSWER).map_err(failed)?;
        let mut owners = BTreeMap::new();
        for element in list.elements() {
            element.error().map_err(failed)?;
            let Offset::Offset(since) = element.offset() else { continue };
            let Ok(owner) = serde_json::from_str::<Owner>(element.metadata()) else { continue };
            if ids.get(element.topic()) == Some(&owner.topic_id) {
                owners.insert(element.topic().to_owned(), Owner { since, ..owner });
            }
        }
        Ok(owners)
    }

    /// Records that the pipeline owns the topics, given by name and id; `ours` are those whose settings it may change. What is
    /// recorded already stays, and is renewed now and then. Returns the topics that somebody else has now, with their owner:
    /// who was faster, or all others while `take_over` is false.
    ///
    /// # Errors
    /// As [`owners`](Self::owners).
    pub fn claim_topics(
        &self,
        pipeline: &str,
        ids: &BTreeMap<String, String>,
        ours: impl Fn(&str) -> bool,
        take_over: bool,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        let owners = self.owners(ids)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let mut list = TopicPartitionList::new();
        for (topic, id) in ids {
            let before = owners.get(topic);
            let mine = before.filter(|owner| owner.pipeline == pipeline);
            if before.is_some() && mine.is_none() && !take_over {
                continue;
            }
            let ours = ours(topic) || mine.is_some_and(|owner| owner.ours);
            let fresh = mine
                .is_some_and(|owner| owner.ours == ours && now - owner.since < RENEWED.as_millis() as i64);
            if !fresh {
                let owner = Owner { pipeline: pipeline.to_owned(), topic_id: id.clone(), ours, since: now };
                add(&mut list, topic, &owner).map_err(|error| unreachable(&self.bootstrap, &error))?;
            }
        }
        if list.count() > 0 {
            let asker = self.asker()?;
            asker
                .commit(&list, CommitMode::Sync)
                .map_err(|error| self.owners_error("record the owner of", ids, &error))?;
        }
        // Two that begin at the same time both find nothing: the later record stands, and both see it here or at their next look.
        let others = if list.count() > 0 { self.owners(ids)? } else { owners };
        Ok(others
            .into_iter()
            .filter(|(_, owner)| owner.pipeline != pipeline)
            .map(|(topic, owner)| (topic, owner.pipeline))
            .collect())
    }

    /// How many members the groups of a pipeline have: none where it does not run.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`].
    pub fn running_members(&self, pipeline: &str) -> Result<usize, AdminError> {
        let mut members = 0;
        for stage in ["windows", "results"] {
            let group = format!("{pipeline}.{stage}");
            let found = self.client.inner().fetch_group_list(Some(&group), ANSWER);
            let found = found.map_err(|error| unreachable(&self.bootstrap, &error))?;
            members += found.groups().iter().map(|group| group.members().len()).sum::<usize>();
        }
        Ok(members)
    }

    /// A consumer under the group's name that never joins it.
    fn asker(&self) -> Result<&BaseConsumer<ConsumerNotes>, AdminError> {
        if let Some(asker) = self.asker.get() {
            return Ok(asker);
        }
        let asker = clients::reader(&self.bootstrap, "weir-admin", OWNERS_GROUP, &self.extra)
            .create_with_context(ConsumerNotes::default())
            .map_err(|error| unreachable(&self.bootstrap, &error))?;
        Ok(self.asker.get_or_init(|| asker))
    }

    fn owners_error(
        &self,
        doing: &'static str,
        ids: &BTreeMap<String, String>,
        error: &KafkaError,
    ) -> AdminError {
        use RDKafkaErrorCode as C;
        let topic = ids.keys().next().map(String::as_str).unwrap_or_default();
        match error.rdkafka_error_code() {
            Some(
                code @ (C::GroupAuthorizationFailed
                | C::TopicAuthorizationFailed
                | C::ClusterAuthorizationFailed),
            ) => match refused(doing, topic, code) {
                AdminError::Refused { topic, doing, reason } => AdminError::Refused {
                    topic,
                    doing,
                    reason: format!(
                        "{reason}; grant this user read access to the group {OWNERS_GROUP} and the topic"
                    ),
                },
                other => other,
            },
            _ => unreachable(&self.bootstrap, error),
        }
    }
}

fn add(list: &mut TopicPartitionList, topic: &str, owner: &Owner) -> Result<(), KafkaError> {
    let mut element = list.add_partition(topic, 0);
    element.set_offset(Offset::Offset(owner.since))?;
    element.set_metadata(serde_json::to_string(owner).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Owner;

    /// Records outlive versions.
    #[test]
    fn records_are_read_as_they_were_written() {
        let written = r#"{"pipeline":"shop","topicID":"Lf8f57uRQGCbmHIHbd95ZA","ours":true}"#;
        let expected = Owner {
            pipeline: "shop".to_owned(),
            topic_id: "Lf8f57uRQGCbmHIHbd95ZA".to_owned(),
            ours: true,
            since: 0,
        };
        let read: Option<Owner> = serde_json::from_str(written).ok();
        assert_eq!(read.as_ref(), Some(&expected));
        assert_eq!(serde_json::to_string(&expected).ok().as_deref(), Some(written));
    }
}
