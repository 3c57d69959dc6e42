//! Administration: creates, checks and updates topics.
//!
//! Everything is checked before anything is changed, so that a refusal leaves the cluster unchanged.

mod counts;
mod describe;
mod ended;
mod outcome;
mod owners;
mod settings;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use weir_manifest::{Management, TopicSpec};

pub use self::counts::{Mismatch, Mismatches};
pub(super) use self::describe::describe;
pub use self::ended::EndedGeneration;
pub use self::outcome::{AdminError, Change, TopicOutcome};
pub use self::owners::{Claimant, OWNERS_GROUP, Owner, Resource};
pub use self::settings::Difference;
use self::waiting::wait_for;
use super::Connection;
use super::clients::{self, ANSWER};
use super::context::ConsumerNotes;
use super::error::{Class, class};
use super::lines;
use weir_log::TopicDescription;

/// Time limit for all partitions of a new topic to have a leader.
const LEADERS: Duration = Duration::from_secs(30);

/// A topic that exists.
struct Existing<'a> {
    spec: &'a TopicSpec,
    current: ConfigResource,
    /// The settings that differ.
    differences: Vec<Difference>,
}

/// Administration of one cluster.
pub struct Admin {
    client: AdminClient<Logged>,
    connection: Connection,
    /// Created on the first request for owners.
    owners_consumer: OnceLock<BaseConsumer<ConsumerNotes>>,
}

impl Admin {
    /// A client; connects when it is used.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`] for properties that librdkafka does not know.
    pub fn new(connection: &Connection) -> Result<Self, AdminError> {
        let client = clients::admin(connection).create_with_context(Logged);
        let client = client.map_err(|error| unreachable(&connection.brokers, &error))?;
        Ok(Self { client, connection: connection.clone(), owners_consumer: OnceLock::new() })
    }

    /// Creates what is missing, updates the settings named in `topics` that differ, and leaves everything else alone: other
    /// settings, and the number of copies of a topic that exists, beyond which `min.insync.replicas` never goes. External topics are only looked at. Settings whose change can
    /// lose records are changed of topics that `is_ours` alone ([`Difference::is_destructive`]).
    ///
    /// # Errors
    /// [`AdminError::Partitions`] for topics that exist with other partitions, [`AdminError::Missing`] for an external one
    /// that does not and [`AdminError::NotOurs`], all before anything is changed; [`AdminError::Unreachable`];
    /// [`AdminError::Refused`].
    pub fn ensure_topics(
        &self,
        topics: &[TopicSpec],
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Vec<TopicOutcome>, AdminError> {
        self.ensure_topics_since(topics, |_| false, is_ours)
    }

    /// The same, after an earlier check of the existing topics: one that `was_there` and is gone is not created, because an
    /// offset means nothing in another log.
    ///
    /// # Errors
    /// As there; [`AdminError::Gone`], before anything is changed.
    pub fn ensure_topics_since(
        &self,
        topics: &[TopicSpec],
        was_there: impl Fn(&str) -> bool,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Vec<TopicOutcome>, AdminError> {
        let present = self.check_topics(topics)?;
        let copies = self.copies()?;
        let fitted: Vec<TopicSpec> = topics
            .iter()
            .map(|topic| {
                copies.get(&topic.name).map_or_else(|| topic.clone(), |&count| topic.with_replicas(count))
            })
            .collect();
        let (managed, external): (Vec<&TopicSpec>, Vec<&TopicSpec>) =
            fitted.iter().partition(|topic| topic.management == Management::Managed);
        let (old, new): (Vec<&TopicSpec>, Vec<&TopicSpec>) =
            managed.into_iter().partition(|topic| present.contains_key(&topic.name));
        if let Some(topic) = new.iter().find(|topic| was_there(&topic.name)) {
            return Err(AdminError::Gone { topic: topic.name.clone() });
        }
        let differing = self.differing(&old)?;
        let not_ours = differing.iter().filter(|existing| !is_ours(&existing.spec.name));
        let refused: Vec<Difference> = not_ours
            .flat_map(|existing| existing.differences.iter().filter(|difference| difference.is_destructive()))
            .cloned()
            .collect();
        if !refused.is_empty() {
            return Err(AdminError::NotOurs(refused));
        }
        let mut outcomes: BTreeMap<&str, Change> =
            external.iter().map(|topic| (topic.name.as_str(), Change::Unchanged)).collect();
        for topic in &new {
            outcomes.insert(topic.name.as_str(), self.create(topic)?);
        }
        for existing in differing {
            let name = existing.spec.name.as_str();
            let change =
                if existing.differences.is_empty() { Change::Unchanged } else { self.update(existing)? };
            outcomes.insert(name, change);
        }
        self.await_leaders(&new)?;
        Ok(topics
            .iter()
            .filter_map(|topic| {
                let change = outcomes.remove(topic.name.as_str())?;
                let managed = topic.management == Management::Managed;
                let few = copies.get(&topic.name).copied().filter(|count| managed && *count < topic.replicas);
                Some(TopicOutcome { name: topic.name.clone(), change, copies: few })
            })
            .collect())
    }

    /// Whether [`ensure_topics`](Self::ensure_topics) may begin: the partitions of every topic of the cluster.
    ///
    /// # Errors
    /// [`AdminError::Partitions`], [`AdminError::Missing`] for an external topic, [`AdminError::Unreachable`].
    pub fn check_topics(&self, topics: &[TopicSpec]) -> Result<BTreeMap<String, i32>, AdminError> {
        let present = self.topics()?;
        self.compare_partitions(topics, &present)?;
        let mut external = topics.iter().filter(|topic| topic.management == Management::External);
        match external.find(|topic| !present.contains_key(&topic.name)) {
            Some(topic) => Err(AdminError::Missing { topic: topic.name.clone() }),
            None => Ok(present),
        }
    }

    /// Checks topics' numbers of partitions; `present` are the existing topics with their numbers.
    ///
    /// # Errors
    /// [`AdminError::Partitions`].
    pub fn compare_partitions(
        &self,
        topics: &[TopicSpec],
        present: &BTreeMap<String, i32>,
    ) -> Result<(), AdminError> {
        counts::mismatches(topics, present)
            .map_or(Ok(()), |mismatches| Err(AdminError::Partitions(mismatches)))
    }

    /// The effective value of a topic's setting, its own or the cluster's.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`]; [`AdminError::Refused`].
    pub fn setting(&self, topic: &str, setting: &str) -> Result<Option<String>, AdminError> {
        let answer = wait_for(self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        let Some(found) = answer.into_iter().next() else { return Ok(None) };
        let found = found.map_err(|code| match code {
            // A broker that has just started does not know its topics at once.
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                unreachable(&self.connection.brokers, &KafkaError::MetadataFetch(code))
            }
            _ if class(code) == Class::Retry => {
                unreachable(&self.connection.brokers, &KafkaError::MetadataFetch(code))
            }
            _ => refused("read the settings of", topic, code),
        })?;
        Ok(found.get(setting).and_then(|entry| entry.value.clone()))
    }

    /// The number of partitions of a topic.
    ///
    /// # Errors
    /// [`AdminError::Missing`], [`AdminError::Unreachable`].
    pub fn partition_count(&self, topic: &str) -> Result<i32, AdminError> {
        let missing = || AdminError::Missing { topic: topic.to_owned() };
        self.topics()?.get(topic).copied().ok_or_else(missing)
    }

    /// The ids of the named topics, as shown by Kafka's own tools; a recreated topic has another one. Missing topics are omitted.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`]; [`AdminError::Refused`].
    pub fn ids(&self, topics: &[&str]) -> Result<BTreeMap<String, String>, AdminError> {
        let there = self.describe_topics(topics)?.into_iter().filter(|(_, topic)| !topic.id.is_empty());
        Ok(there.map(|(name, topic)| (name, topic.id)).collect())
    }

    /// Describes the named topics in one request. Missing topics are omitted.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`]; [`AdminError::Refused`].
    pub fn describe_topics(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicDescription>, AdminError> {
        let answers = describe(self.client.inner(), topics);
        let mut found = BTreeMap::new();
        for (name, answer) in answers.map_err(|error| unreachable(&self.connection.brokers, &error))? {
            match answer {
                Ok(topic) => {
                    found.insert(name, topic);
                }
                Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
                Err(code) if class(code) == Class::Retry => {
                    return Err(unreachable(&self.connection.brokers, &KafkaError::MetadataFetch(code)));
                }
                Err(code) => return Err(refused("look at", &name, code)),
            }
        }
        Ok(found)
    }

    /// Adds partitions to a topic, up to `partitions`. Only for tests: it breaks a pipeline.
    ///
    /// # Errors
    /// [`AdminError::Refused`]; [`AdminError::Unreachable`].
    #[doc(hidden)]
    pub fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), AdminError> {
        let new = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or_default());
        let answer = wait_for(self.client.create_partitions([&new], &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        match answer.into_iter().next() {
            Some(Err((topic, code))) => Err(refused("add partitions to", &topic, code)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Deletes topics with all records. A missing topic counts as deleted.
    ///
    /// # Errors
    /// [`AdminError::Refused`] for the first that stays; [`AdminError::Unreachable`].
    pub fn delete_topics(&self, topics: &[&str]) -> Result<(), AdminError> {
        if topics.is_empty() {
            return Ok(());
        }
        let answer = wait_for(self.client.delete_topics(topics, &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        for outcome in answer {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, code)) => return Err(refused("delete", &topic, code)),
            }
        }
        Ok(())
    }

    /// As [`delete_topics`](Self::delete_topics), and waits until the brokers no longer know them, so that they can be recreated.
    ///
    /// # Errors
    /// As there.
    pub fn delete_topics_and_wait(&self, topics: &[&str]) -> Result<(), AdminError> {
        self.delete_topics(topics)?;
        let deadline = Instant::now() + LEADERS;
        while let Some((topic, _)) = self.describe_topics(topics)?.pop_first() {
            if Instant::now() > deadline {
                return Err(refused("delete", &topic, RDKafkaErrorCode::OperationTimedOut));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Deletes groups with all commits. A missing group counts as deleted.
    ///
    /// # Errors
    /// [`AdminError::GroupRefused`] for the first that stays, such as one that has members; [`AdminError::Unreachable`].
    pub fn delete_groups(&self, groups: &[&str]) -> Result<(), AdminError> {
        let answer = wait_for(self.client.delete_groups(groups, &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        for outcome in answer {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, code)) if class(code) == Class::Retry => {
                    return Err(unreachable(&self.connection.brokers, &KafkaError::AdminOp(code)));
                }
                Err((group, code)) => {
                    return Err(AdminError::GroupRefused { group, reason: code.to_string() });
                }
            }
        }
        Ok(())
    }

    /// The number of partitions of every topic of the cluster. Requests all topics: requesting one could create it.
    ///
    /// # Errors
    /// [`AdminError::Unreachable`].
    pub fn topics(&self) -> Result<BTreeMap<String, i32>, AdminError> {
        let metadata = self.metadata()?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(topics
            .map(|topic| {
                (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX))
            })
            .collect())
    }

    /// The number of replicas of every topic of the cluster, in the partition with the fewest.
    fn copies(&self) -> Result<BTreeMap<String, i32>, AdminError> {
        let metadata = self.metadata()?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let copies = topics.filter_map(|topic| {
            let fewest = topic.partitions().iter().map(|partition| partition.replicas().len()).min()?;
            Some((topic.name().to_owned(), i32::try_from(fewest).unwrap_or(i32::MAX)))
        });
        Ok(copies.collect())
    }

    fn metadata(&self) -> Result<rdkafka::metadata::Metadata, AdminError> {
        self.client
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|error| unreachable(&self.connection.brokers, &error))
    }

    fn create(&self, topic: &TopicSpec) -> Result<Change, AdminError> {
        let replication = TopicReplication::Fixed(topic.replicas);
        let mut new = NewTopic::new(&topic.name, topic.partitions, replication);
        for (key, value) in &topic.settings {
            new = new.set(key, value);
        }
        let answer = wait_for(self.client.create_topics([&new], &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        match answer.into_iter().next() {
            Some(Ok(_)) => Ok(Change::Created),
            // Another process of the pipeline created it first, with the same settings.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Change::Unchanged),
            Some(Err((_, code))) => Err(refused("create", &topic.name, code)),
            None => Err(refused("create", &topic.name, RDKafkaErrorCode::Unknown)),
        }
    }

    /// Compares topics with their specs.
    fn differing<'a>(&self, topics: &[&'a TopicSpec]) -> Result<Vec<Existing<'a>>, AdminError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let answer = wait_for(self.client.describe_configs(&resources, &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        let mut differing = Vec::with_capacity(topics.len());
        for (topic, current) in topics.iter().zip(answer) {
            let current = current.map_err(|code| refused("read the settings of", &topic.name, code))?;
            let value = |key: &str| current.get(key).and_then(|entry| entry.value.clone());
            let difference = |(key, expected): (&String, &String)| {
                let found = value(key).unwrap_or_else(|| "nothing".to_owned());
                let (topic, setting) = (topic.name.clone(), key.clone());
                (found != *expected).then(|| Difference { topic, setting, found, expected: expected.clone() })
            };
            let differences = topic.settings.iter().filter_map(difference).collect();
            differing.push(Existing { spec: topic, current, differences });
        }
        Ok(differing)
    }

    /// rdkafka has no incremental change, and the plain one resets all settings that are not named: so all are named.
    fn update(&self, existing: Existing<'_>) -> Result<Change, AdminError> {
        let Existing { spec: topic, current, differences } = existing;
        let names: BTreeSet<String> = differences.into_iter().map(|difference| difference.setting).collect();
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(&topic.name));
        let set = current.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        for entry in set {
            if let Some(value) = &entry.value {
                alter = alter.set(&entry.name, value);
            }
        }
        for (key, value) in &topic.settings {
            alter = alter.set(key, value);
        }
        let answer = wait_for(self.client.alter_configs([&alter], &options()));
        let answer = answer.map_err(|error| unreachable(&self.connection.brokers, &error))?;
        match answer.into_iter().next() {
            Some(Ok(_)) => Ok(Change::Updated(names)),
            Some(Err((_, code))) => Err(refused("change the settings of", &topic.name, code)),
            None => Err(refused("change the settings of", &topic.name, RDKafkaErrorCode::Unknown)),
        }
    }

    /// Waits for leaders: clients take a topic without leaders for missing.
    fn await_leaders(&self, topics: &[&TopicSpec]) -> Result<(), AdminError> {
        let deadline = Instant::now() + LEADERS;
        for topic in topics {
            loop {
                let metadata = self.metadata()?;
                let found = metadata.topics().iter().find(|found| found.name() == topic.name);
                let led = |count: usize| i32::try_from(count) == Ok(topic.partitions);
                if found.is_some_and(|found| {
                    led(found.partitions().iter().filter(|partition| partition.leader() >= 0).count())
                }) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(refused(
                        "elect leaders for",
                        &topic.name,
                        RDKafkaErrorCode::LeaderNotAvailable,
                    ));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// As [`Admin::ensure_topics`], for a cluster without security and unknown topics.
///
/// # Errors
/// As there.
pub fn ensure_topics(bootstrap: &str, topics: &[TopicSpec]) -> Result<Vec<TopicOutcome>, AdminError> {
    Admin::new(&Connection::new(bootstrap, "weir-admin"))?.ensure_topics(topics, |_| false)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

fn unreachable(bootstrap: &str, error: &KafkaError) -> AdminError {
    AdminError::Unreachable { bootstrap: bootstrap.to_owned(), reason: error.to_string(), waited: ANSWER }
}

fn refused(doing: &'static str, topic: &str, code: RDKafkaErrorCode) -> AdminError {
    AdminError::Refused { topic: topic.to_owned(), doing, reason: code.to_string() }
}

struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        lines::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka administration");
    }
}
