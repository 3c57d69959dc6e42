//! The topics: inspected, checked for other owners, created, kept in sync.
//!
//! Topics to be created are written into the status first, so that an operator that dies in between still knows which it created.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use kube::ResourceExt;
use weir_kafka::admin::{self, Admin, AdminError, Change, Claimant, Difference, Owner, TopicOutcome};
use weir_manifest::{ClickstreamPipeline, Management, Pipeline, Role, TopicSpec, TopicStatus};

use crate::Error;
use crate::claims::Claims;
use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::kafka::Connection;
use crate::loss::{Described, Loss};

/// Delay before a missing topic is checked once more.
const RECHECK_DELAY: Duration = Duration::from_secs(2);

/// The result of a sync.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) conditions: Vec<Condition>,
    pub(super) status: Vec<TopicStatus>,
    pub(super) notes: Vec<EventNote>,
    pub(super) error: Option<Error>,
}

/// The topics' state from the last pass, and settings of this one.
pub(super) struct Before {
    pub(super) topics: Vec<TopicStatus>,
    pub(super) conditions: Vec<ApiCondition>,
    /// The document's generation.
    pub(super) generation: i64,
    /// The pipeline that claims the topics.
    pub(super) claimant: Claimant,
    /// Whether settings of topics that it did not create may be changed, even if records are lost.
    pub(super) adopt: bool,
    /// Whether topics may be taken over from pipelines that no longer run.
    pub(super) take_over: bool,
}

/// Topic ids by name.
type Ids = BTreeMap<String, String>;

/// Brings the topics in sync, or changes none if there is an objection. `reached` is the result of an earlier request. `intend` receives the topics that are about to be created.
pub(super) async fn sync(
    connection: &Connection,
    pipeline: &Pipeline,
    claims: &Claims,
    before: Before,
    reached: Result<(), Error>,
    intend: impl AsyncFnOnce(Vec<TopicStatus>) -> Result<(), Error>,
) -> Topics {
    let reachable =
        Condition::new(ConditionType::KafkaReachable, ConditionStatus::True, "Answered", "Kafka answers");
    let mut topics =
        Topics { conditions: vec![reachable], status: before.topics.clone(), notes: Vec::new(), error: None };
    let synced = match reached {
        Ok(()) => topics.sync(connection, pipeline, claims, &before, intend).await,
        Err(error) => Err(error),
    };
    match synced {
        Ok(warnings) => {
            topics.conditions.push(if warnings.is_empty() {
                let message = format!("{} topics in sync", pipeline.topics().len());
                Condition::new(ConditionType::TopicsSynced, ConditionStatus::True, "Synced", message)
            } else {
                Condition::new(
                    ConditionType::TopicsSynced,
                    ConditionStatus::TrueWithWarning,
                    "FewerReplicas",
                    warnings.join("; "),
                )
            });
        }
        Err(error) => {
            if error.is_unreachable() {
                let unknown = "the state of the topics is not known while Kafka does not answer";
                topics.conditions = vec![
                    Condition::of(ConditionType::KafkaReachable, &error),
                    Condition::new(
                        ConditionType::TopicsSynced,
                        ConditionStatus::Unknown,
                        error.reason(),
                        unknown,
                    ),
                ];
            } else if error.is_waiting() {
                topics.conditions = waiting(&before.conditions, before.generation, &error);
            } else {
                let unread = matches!(error, Error::GenerationsUnknown(_));
                let status = if unread { ConditionStatus::Unknown } else { ConditionStatus::False };
                topics
                    .conditions
                    .push(Condition { status, ..Condition::of(ConditionType::TopicsSynced, &error) });
            }
            topics.error = Some(error);
        }
    }
    topics
}

/// Conditions while no time was left for requests to Kafka: earlier ones stand if they are of this generation.
fn waiting(before: &[ApiCondition], generation: i64, error: &Error) -> Vec<Condition> {
    let old = |type_| Condition::repeated(type_, before, generation);
    let unknown = |type_| Condition { status: ConditionStatus::Unknown, ..Condition::of(type_, error) };
    let mut reachable =
        old(ConditionType::KafkaReachable).unwrap_or_else(|| unknown(ConditionType::KafkaReachable));
    if reachable.status == ConditionStatus::True {
        reachable = Condition {
            status: ConditionStatus::True,
            ..Condition::of(ConditionType::KafkaReachable, error)
        };
    }
    vec![reachable, old(ConditionType::TopicsSynced).unwrap_or_else(|| unknown(ConditionType::TopicsSynced))]
}

impl Topics {
    async fn sync(
        &mut self,
        connection: &Connection,
        pipeline: &Pipeline,
        claims: &Claims,
        before: &Before,
        intend: impl AsyncFnOnce(Vec<TopicStatus>) -> Result<(), Error>,
    ) -> Result<Vec<String>, Error> {
        let specs = pipeline.topics();
        let Before { adopt, take_over, .. } = *before;
        let inspect_since = |known: Vec<TopicStatus>| {
            let (wanted, claimant) = (specs.clone(), before.claimant.clone());
            let generation = pipeline.generation;
            connection
                .administer(move |admin| inspect(admin, &wanted, generation, &claimant, &known, take_over))
        };
        let (ids, owners) = inspect_since(before.topics.clone()).await?.map_err(Error::TopicLost)?;
        claims.check(pipeline, &ids)?;
        let claimant = &before.claimant;
        let mut outputs = specs.iter().filter(|spec| is_output(spec));
        let of_another = |topic: &str| owners.get(topic).filter(|owner| !owner.is(claimant));
        if let Some((spec, owner)) = outputs.find_map(|spec| Some((spec, of_another(&spec.name)?))) {
            return Err(owned(spec, owner, claimant, true));
        }
        let events_owner = of_another(pipeline.events_topic()).map(ToString::to_string);
        self.status = expected(&specs, &ids, &self.status);
        let is_own = |topic: &TopicStatus| specs.iter().any(|spec| spec.name == topic.name);
        if self.status.iter().any(|topic| topic.topic_id.is_none() && topic.created && is_own(topic)) {
            intend(self.status.clone()).await?;
        }
        let wanted = specs.clone();
        let created = self.status.iter().filter(|topic| topic.created).map(|topic| topic.name.clone());
        let mine = owners.into_iter().filter(|(_, owner)| owner.ours && owner.is(claimant));
        let ours: BTreeSet<String> = created.chain(mine.map(|(topic, _)| topic)).collect();
        let kept_by_another = events_owner.is_some().then(|| pipeline.events_topic().to_owned());
        let there: BTreeSet<String> = ids.keys().cloned().collect();
        let ensure_as = Ensure { claimant: claimant.clone(), ours, kept_by_another, adopt, take_over };
        let ensured = connection.administer(move |admin| ensure(admin, &wanted, ids, &ensure_as)).await;
        let (outcomes, others, mut ids) = match ensured {
            Ok(ensured) => ensured,
            Err(Error::NotOurs(AdminError::NotOurs(differences))) => {
                return Err(not_ours(differences, pipeline.events_topic(), events_owner));
            }
            Err(error @ Error::Kafka(AdminError::Gone { .. })) => {
                inspect_since(self.status.clone()).await?.map_err(Error::TopicLost)?;
                return Err(error);
            }
            Err(error @ Error::Kafka(AdminError::Refused { .. })) => {
                // A missing topic that appears later is somebody else's. Without an answer none counts as created, so none is ever deleted.
                let wanted = specs.clone();
                let made = connection.administer(move |admin| existing(admin, &wanted)).await;
                let made = made.unwrap_or_default();
                self.disown(|topic| {
                    topic.topic_id.is_none() && is_own(topic) && !made.contains_key(&topic.name)
                });
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        // Another pipeline claimed a topic first.
        let found = outcomes.iter().filter(|topic| topic.change != Change::Created).map(|topic| &topic.name);
        let found: BTreeSet<&String> = found.filter(|name| !there.contains(*name)).collect();
        self.disown(|topic| found.contains(&topic.name));
        for topic in self.status.iter_mut().filter(|topic| is_own(topic)) {
            topic.topic_id = ids.remove(&topic.name);
        }
        let created: Vec<&str> = outcomes
            .iter()
            .filter(|topic| topic.change == Change::Created)
            .map(|topic| topic.name.as_str())
            .collect();
        if !created.is_empty() {
            self.notes.push(event_note("TopicsCreated", created.join(", ")));
        }
        for outcome in &outcomes {
            if let Change::Updated(names) = &outcome.change {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                self.notes.push(event_note("TopicRepaired", format!("{}: {names}", outcome.name)));
            }
        }
        if let Some((spec, owner)) = specs.iter().find_map(|spec| Some((spec, others.get(&spec.name)?))) {
            return Err(owned(spec, owner, claimant, true));
        }
        let warnings = outcomes.iter().zip(&specs).filter_map(|(outcome, spec)| outcome.warning(spec));
        Ok(warnings.collect())
    }

    /// Marks topics as not created by the pipeline.
    fn disown(&mut self, which: impl Fn(&TopicStatus) -> bool) {
        for topic in self.status.iter_mut().filter(|topic| which(topic)) {
            topic.created = false;
        }
    }
}

/// The claimant of a pipeline's topics.
pub(super) fn claimant(resource: &ClickstreamPipeline) -> Claimant {
    Claimant {
        pipeline: resource.name_any(),
        resource: Some(admin::Resource {
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
        }),
    }
}

/// The result of a reset.
pub(super) enum Reset {
    Done,
    /// This group still has this number of members.
    Running(String, usize),
}

/// Deletes offsets and topics that refer to lost topics, so that the pipeline can start over: by name, so not if those now belong to
/// another pipeline. The processors must have ended, and their group sessions too.
pub(super) async fn reset(
    connection: &Connection,
    pipeline: &Pipeline,
    claims: &Claims,
    claimant: Claimant,
    take_over: bool,
    loss: &Loss,
) -> Result<Reset, Error> {
    let (specs, loss, generation) = (pipeline.topics(), loss.clone(), pipeline.generation);
    let wanted = specs.clone();
    let ids = connection.administer(move |admin| existing(admin, &wanted)).await?;
    claims.check(pipeline, &ids)?;
    let reset = connection.administer(move |admin| {
        let owners = permitted(admin.owners(&existing(admin, &specs)?))?;
        for (spec, owner) in not_to_be_reset(&specs, &owners, &claimant, loss.to_delete()) {
            let runs = admin.running_members(&owner.pipeline)? > 0;
            if runs || !take_over {
                return Ok(Err(owned(spec, owner, &claimant, runs)));
            }
        }
        if loss.resets() {
            let groups = weir_manifest::groups(&claimant.pipeline, generation);
            for group in &groups {
                let members = admin.members(group)?;
                if members > 0 {
                    return Ok(Ok(Reset::Running(group.clone(), members)));
                }
            }
            admin.delete_groups(&groups.each_ref().map(String::as_str))?;
        }
        admin.delete_topics_and_wait(&loss.to_delete().iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Ok(Reset::Done))
    });
    reset.await?
}

/// The ids of existing topics, by name.
fn existing(admin: &Admin, specs: &[TopicSpec]) -> Result<Ids, AdminError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    Ok(identified(admin.describe_topics(&names)?))
}

fn identified(found: Described) -> Ids {
    let there = found.into_iter().filter(|(_, topic)| !topic.id.is_empty());
    there.map(|(name, topic)| (name, topic.id)).collect()
}

/// Topics of other pipelines that forbid a reset. Events may be shared; a pipeline of the same name shares the groups, too.
fn not_to_be_reset<'a>(
    specs: &'a [TopicSpec],
    owners: &'a BTreeMap<String, Owner>,
    claimant: &Claimant,
    delete: &[String],
) -> Vec<(&'a TopicSpec, &'a Owner)> {
    let of_others = specs.iter().filter_map(|spec| Some((spec, owners.get(&spec.name)?)));
    let matters = |spec: &TopicSpec, owner: &Owner| {
        is_output(spec) || owner.is_twin_of(claimant) || delete.contains(&spec.name)
    };
    of_others.filter(|(spec, owner)| !owner.is(claimant) && matters(spec, owner)).collect()
}

/// Existing topics: their ids and owners.
type Inspected = (Ids, BTreeMap<String, Owner>);

/// Ids and owners of the existing topics if there is no objection; or the loss since `known`. Topics that may be taken over have no
/// owner.
fn inspect(
    admin: &Admin,
    specs: &[TopicSpec],
    generation: u32,
    claimant: &Claimant,
    known: &[TopicStatus],
    take_over: bool,
) -> Result<Result<Inspected, Loss>, AdminError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let lost = |found: &Described| Loss::of((&claimant.pipeline, generation), specs, known, found);
    let mut found = admin.describe_topics(&names)?;
    if lost(&found).is_some() {
        // A broker that has just restarted may not know all of its topics.
        thread::sleep(RECHECK_DELAY);
        found = admin.describe_topics(&names)?;
        if let Some(loss) = lost(&found) {
            return Ok(Err(loss));
        }
    }
    admin.check_topics(specs)?;
    let ids = identified(found);
    let mut owners = permitted(admin.owners(&ids))?;
    let mut running = BTreeMap::new();
    for owner in owners.values_mut().filter(|owner| !owner.is(claimant)) {
        let twin = owner.is_twin_of(claimant);
        if !twin && !take_over {
            continue;
        }
        let runs = match running.get(&owner.pipeline) {
            Some(runs) => *runs,
            None => admin.running_members(&owner.pipeline)? > 0,
        };
        running.insert(owner.pipeline.clone(), runs);
        if twin && !runs {
            // An earlier resource of this name, or one in another cluster that has stopped: this one continues its work.
            owner.resource.clone_from(&claimant.resource);
        }
    }
    // Topics that may be taken over have no owner.
    owners
        .retain(|_, owner| owner.is(claimant) || !take_over || running.get(&owner.pipeline) != Some(&false));
    Ok(Ok((ids, owners)))
}

/// Owners are optional: without the right to read them, only claims among this operator's pipelines are checked.
pub(super) fn permitted<T: Default>(answer: Result<T, AdminError>) -> Result<T, AdminError> {
    match answer {
        Err(AdminError::Refused { doing, topic, reason }) => {
            tracing::warn!(
                topic,
                reason,
                "could not {doing} the topic: only this operator's pipelines are checked"
            );
            Ok(T::default())
        }
        other => other,
    }
}

/// Claimant and permissions of [`ensure`].
struct Ensure {
    claimant: Claimant,
    /// Topics that the pipeline created or owns.
    ours: BTreeSet<String>,
    /// Events whose settings another pipeline keeps.
    kept_by_another: Option<String>,
    adopt: bool,
    take_over: bool,
}

/// Outcomes by topic, topics that others claimed meanwhile, and the ids of all.
type Ensured = (Vec<TopicOutcome>, BTreeMap<String, Owner>, Ids);

fn ensure(admin: &Admin, specs: &[TopicSpec], mut ids: Ids, by: &Ensure) -> Result<Ensured, AdminError> {
    let adopted = |topic: &str| by.adopt && by.kept_by_another.as_deref() != Some(topic);
    let ours = |topic: &str| adopted(topic) || by.ours.contains(topic);
    let outcomes = admin.ensure_topics_since(specs, |topic| ids.contains_key(topic), ours)?;
    let new = specs.iter().map(|spec| spec.name.as_str());
    let new: Vec<&str> = new.filter(|name| !ids.contains_key(*name)).collect();
    if !new.is_empty() {
        ids.extend(admin.ids(&new)?);
    }
    let kept = |outputs: bool| {
        let kept = specs.iter().filter(|spec| spec.management == Management::Managed);
        let kept = kept.filter(|spec| is_output(spec) == outputs);
        kept.filter_map(|spec| Some((spec.name.clone(), ids.get(&spec.name)?.clone()))).collect()
    };
    // A pipeline of the same name no longer runs; other owners claimed the topics since the inspection.
    let may_take = |owner: &Owner| by.take_over || owner.is_twin_of(&by.claimant);
    let others = permitted(admin.claim_topics(by.claimant.clone(), &kept(true), ours, may_take))?;
    let twins = |owner: &Owner| owner.is_twin_of(&by.claimant);
    permitted(admin.claim_topics(by.claimant.clone(), &kept(false), ours, twins))?;
    Ok((outcomes, others, ids))
}

/// The error for settings that may not be changed; `events_owner` is another pipeline that keeps the events topic, if any.
fn not_ours(differences: Vec<Difference>, events: &str, events_owner: Option<String>) -> Error {
    let of_events = differences.iter().any(|difference| difference.topic == events);
    let differences = AdminError::NotOurs(differences);
    match events_owner {
        Some(owner) if of_events => Error::KeptByAnother { differences, topic: events.to_owned(), owner },
        _ => Error::NotOurs(differences),
    }
}

fn owned(spec: &TopicSpec, owner: &Owner, claimant: &Claimant, runs: bool) -> Error {
    let (topic, role, twin) = (spec.name.clone(), spec.role, owner.is_twin_of(claimant));
    let owner = owner.to_string();
    if twin && runs { Error::TwinOwned { topic, owner } } else { Error::TopicOwned { topic, role, owner } }
}

/// Whether only one pipeline may write the topic.
fn is_output(spec: &TopicSpec) -> bool {
    spec.role != Role::Events
}

/// The expected status of the topics. A topic with a known id is unchanged: see [`Loss`]. Those of other generations stay as they are.
fn expected(specs: &[TopicSpec], ids: &BTreeMap<String, String>, before: &[TopicStatus]) -> Vec<TopicStatus> {
    let topic = |spec: &TopicSpec| {
        let old = before.iter().find(|topic| topic.name == spec.name);
        let id = ids.get(&spec.name);
        let created = match (id, old) {
            // Missing: about to be created.
            (None, _) => spec.management == Management::Managed,
            (Some(_), None) => false,
            // Without an id: the operator died while creating it (`created`), or Kafka refused it and it is somebody else's.
            (Some(_), Some(TopicStatus { created, .. })) => *created,
        };
        TopicStatus { name: spec.name.clone(), topic_id: id.cloned(), partitions: spec.partitions, created }
    };
    let of_others = before.iter().filter(|topic| specs.iter().all(|spec| spec.name != topic.name));
    specs.iter().map(topic).chain(of_others.cloned()).collect()
}

pub(super) fn event_note(reason: &str, note: String) -> EventNote {
    EventNote { warning: false, reason: reason.to_owned(), action: "SyncTopics", note }
}

#[cfg(test)]
mod tests;
