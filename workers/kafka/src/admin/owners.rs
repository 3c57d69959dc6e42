//! Topic ownership: recorded in Kafka, which has no setting for it, as a group's offsets (docs/decisions/0011).
//!
//! A record is the metadata of an offset that the group [`OWNERS_GROUP`] commits for partition 0 of the topic. The offset itself is
//! unused; it is the time of the record, milliseconds since the epoch, and so beyond any log's end: lag monitors see none. Kafka
//! deletes the record with the topic, or `offsets.retention.minutes` (a week) after the last renewal.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use weir_manifest::is_group_of;

use super::{Admin, AdminError, refused, unreachable};
use crate::clients::{self, ANSWER};
use crate::context::ConsumerNotes;

/// The group whose offsets carry the records. It has no members.
pub const OWNERS_GROUP: &str = "weir.topic-owners";

/// Age at which a record is renewed: well within the week for which Kafka keeps it.
const RENEWED: Duration = Duration::from_secs(3_600);

/// The Kubernetes resource of a pipeline. Names may be equal in several clusters, uids are unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// A claimant of topics: a pipeline by its name, and by its resource if known. Processors do not know their resource: a claim by name
/// only matches any resource of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its resource.
    pub resource: Option<Resource>,
}

impl From<&str> for Claimant {
    fn from(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), resource: None }
    }
}

/// The recorded owner of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The name of the pipeline that writes it.
    pub pipeline: String,
    /// The topic's id: the record does not apply to another topic of the same name.
    #[serde(rename = "topicID")]
    pub topic_id: String,
    /// Whether the pipeline created the topic or adopted its settings, and so may change them.
    #[serde(default)]
    pub ours: bool,
    /// The pipeline's resource, if managed by an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// When the record was last renewed, milliseconds since the epoch. Stored as the offset.
    #[serde(skip)]
    pub since: i64,
}

impl Owner {
    /// Whether the owner is the claimant.
    pub fn is(&self, claimant: &Claimant) -> bool {
        self.pipeline == claimant.pipeline && !self.is_twin_of(claimant)
    }

    /// Whether it is another pipeline of the claimant's name.
    pub fn is_twin_of(&self, claimant: &Claimant) -> bool {
        let uid = |resource: &Option<Resource>| resource.as_ref().map(|resource| resource.uid.clone());
        let (owner, claimant_uid) = (uid(&self.resource), uid(&claimant.resource));
        self.pipeline == claimant.pipeline
            && owner.is_some_and(|owner| claimant_uid.is_some_and(|claimant| claimant != owner))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            None => f.write_str(&self.pipeline),
            Some(Resource { namespace, uid }) => write!(f, "{namespace}/{} (uid {uid})", self.pipeline),
        }
    }
}

impl Admin {
    /// The owners of topics, given by name and id, without topics that have none.
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
        let consumer = self.consumer()?;
        let list = coordinated(|| {
            let list = consumer.committed_offsets(list.clone(), ANSWER)?;
            list.elements().iter().try_for_each(|element| element.error())?;
            Ok(list)
        });
        let mut owners = BTreeMap::new();
        for element in list.map_err(failed)?.elements() {
            let Offset::Offset(since) = element.offset() else { continue };
            let Ok(owner) = serde_json::from_str::<Owner>(element.metadata()) else { continue };
            if ids.get(element.topic()) == Some(&owner.topic_id) {
                owners.insert(element.topic().to_owned(), Owner { since, ..owner });
            }
        }
        Ok(owners)
    }

    /// Records the pipeline as owner of the topics, given by name and id; `ours` are those whose settings it may change. Existing
    /// records stay, and are renewed when old. Returns the topics with another owner: one that was faster, or one from which the
    /// pipeline may not take topics (`may_take`).
    ///
    /// # Errors
    /// As [`owners`](Self::owners).
    pub fn claim_topics(
        &self,
        claimant: impl Into<Claimant>,
        ids: &BTreeMap<String, String>,
        ours: impl Fn(&str) -> bool,
        may_take: impl Fn(&Owner) -> bool,
    ) -> Result<BTreeMap<String, Owner>, AdminError> {
        let claimant = claimant.into();
        let owners = self.owners(ids)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let mut list = TopicPartitionList::new();
        for (topic, id) in ids {
            let before = owners.get(topic);
            let mine = before.filter(|owner| owner.is(&claimant));
            if mine.is_none() && before.is_some_and(|owner| !may_take(owner)) {
                continue;
            }
            let owner = Owner {
                pipeline: claimant.pipeline.clone(),
                topic_id: id.clone(),
                ours: ours(topic) || mine.is_some_and(|owner| owner.ours),
                resource: claimant.resource.clone().or_else(|| mine.and_then(|owner| owner.resource.clone())),
                since: now,
            };
            let fresh = mine.is_some_and(|mine| {
                now - mine.since < RENEWED.as_millis() as i64 && Owner { since: now, ..mine.clone() } == owner
            });
            if !fresh {
                add(&mut list, topic, &owner)
                    .map_err(|error| unreachable(&self.connection.brokers, &error))?;
            }
        }
        if list.count() > 0 {
            let consumer = self.consumer()?;
            coordinated(|| consumer.commit(&list, CommitMode::Sync))
                .map_err(|error| self.owners_error("record the owner of", ids, &error))?;
        }
        // Two concurrent claimants both find no record: the later record wins, and both see it here or at the next check.
        let mut others = if list.count() > 0 { self.owners(ids)? } else { owners };
        others.retain(|_, owner| !owner.is(&claimant));
        Ok(others)
    }

    /// Number of members in the groups of a pipeline, whatever its generation; 0 if it does not run.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`].
    pub fn running_members(&self, pipeline: &str) -> Result<usize, AdminError> {
        let found = self.client.inner().fetch_group_list(None, ANSWER);
        let found = found.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        let own = found.groups().iter().filter(|group| is_group_of(pipeline, group.name()));
        Ok(own.map(|group| group.members().len()).sum())
    }

    /// Number of members of a group.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`].
    pub fn members(&self, group: &str) -> Result<usize, AdminError> {
        let found = self.client.inner().fetch_group_list(Some(group), ANSWER);
        let found = found.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        Ok(found.groups().iter().map(|group| group.members().len()).sum())
    }

    /// A consumer under the group's name that never joins it.
    fn consumer(&self) -> Result<&BaseConsumer<ConsumerNotes>, AdminError> {
        if let Some(consumer) = self.owners_consumer.get() {
            return Ok(consumer);
        }
        let consumer = clients::reader(&self.connection, OWNERS_GROUP)
            .create_with_context(ConsumerNotes::default())
            .map_err(|error| unreachable(&self.connection.brokers, &error))?;
        Ok(self.owners_consumer.get_or_init(|| consumer))
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
            _ => unreachable(&self.connection.brokers, error),
        }
    }
}

/// Retries while the group has no coordinator, as on brokers that have just started, up to the request timeout.
fn coordinated<T>(request: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    use RDKafkaErrorCode as C;
    let deadline = Instant::now() + ANSWER;
    loop {
        let answer = request();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let waits = matches!(
            code,
            Some(C::NotCoordinator | C::CoordinatorNotAvailable | C::CoordinatorLoadInProgress)
        );
        if !waits || Instant::now() > deadline {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
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
    use super::*;

    /// Records outlive versions. Those of `owner-1.json` were written before resources were named.
    #[test]
    fn stored_records_are_read() {
        let owner = |resource| Owner {
            pipeline: "shop".to_owned(),
            topic_id: "Lf8f57uRQGCbmHIHbd95ZA".to_owned(),
            ours: true,
            resource,
            since: 0,
        };
        let uid = "3f6c2f0e-7d0e-4a57-9a53-0c6f4f1f2b11".to_owned();
        let resource = Resource { namespace: "web".to_owned(), uid };
        for (written, expected) in [
            (include_str!("../../tests/golden/owner-1.json"), owner(None)),
            (include_str!("../../tests/golden/owner-2.json"), owner(Some(resource))),
        ] {
            let read: Option<Owner> = serde_json::from_str(written).ok();
            assert_eq!(read.as_ref(), Some(&expected));
            assert_eq!(serde_json::to_string(&expected).ok().as_deref(), Some(written.trim_end()));
        }
    }

    #[test]
    fn claimants_of_one_name_are_distinguished_by_uid() {
        let claimant = |uid: Option<&str>| Claimant {
            pipeline: "shop".to_owned(),
            resource: uid.map(|uid| Resource { namespace: "web".to_owned(), uid: uid.to_owned() }),
        };
        for (theirs, mine, is, twin) in [
            (None, None, true, false),
            (Some("1"), None, true, false),
            (None, Some("1"), true, false),
            (Some("1"), Some("1"), true, false),
            (Some("1"), Some("2"), false, true),
        ] {
            let owner = Owner {
                pipeline: "shop".to_owned(),
                topic_id: String::new(),
                ours: false,
                resource: claimant(theirs).resource,
                since: 0,
            };
            let claimant = claimant(mine);
            assert_eq!((owner.is(&claimant), owner.is_twin_of(&claimant)), (is, twin), "{theirs:?} {mine:?}");
            assert!(!owner.is(&"other".into()) && !owner.is_twin_of(&"other".into()));
        }
    }
}
