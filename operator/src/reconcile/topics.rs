//! The topics: looked at, checked against what others have, created, kept as they should be.
//!
//! What is to be created is written into the status before, so that an operator that dies in between still knows what it made.

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

/// Time until a topic that is gone is looked for once more.
const RECHECK_DELAY: Duration = Duration::from_secs(2);

/// How the topics are.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) conditions: Vec<Condition>,
    pub(super) status: Vec<TopicStatus>,
    pub(super) notes: Vec<EventNote>,
    pub(super) error: Option<Error>,
}

/// What is known of them from the last pass.
pub(super) struct Before {
    pub(super) topics: Vec<TopicStatus>,
    pub(super) conditions: Vec<ApiCondition>,
    /// The document's.
    pub(super) generation: i64,
    /// On whose behalf.
    pub(super) claimant: Claimant,
    /// Settings of topics that it did not create may be changed, whatever is lost.
    pub(super) adopt: bool,
    /// Topics may be taken from pipelines that no longer run.
    pub(super) take_over: bool,
}

/// Topics by name: their ids.
type Ids = BTreeMap<String, String>;

/// Makes the topics as they should be, unless something speaks against it: then none is touched. `intend` is told of topics that
/// are about to be created.
pub(super) async fn sync(
    connection: &Connection,
    pipeline: &Pipeline,
    claims: &Claims,
    before: Before,
    intend: impl AsyncFnOnce(Vec<TopicStatus>) -> Result<(), Error>,
) -> Topics {
    let reachable =
        Condition::new(ConditionType::KafkaReachable, ConditionStatus::True, "Answered", "Kafka answers");
    let mut topics =
        Topics { conditions: vec![reachable], status: before.topics.clone(), notes: Vec::new(), error: None };
    match topics.sync(connection, pipeline, claims, &before, intend).await {
        Ok(warnings) => {
            topics.conditions.push(if warnings.is_empty() {
                let message = format!("{} topics in sync", topics.status.len());
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
                let unknown = "nothing is known of the topics while Kafka does not answer";
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
                topics.conditions.push(Condition::of(ConditionType::TopicsSynced, &error));
            }
            topics.error = Some(error);
        }
    }
    topics
}

/// What is said while Kafka could not be asked: what was found before, as far as it is about this document.
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
        let look_since = |known: Vec<TopicStatus>| {
            let (wanted, claimant) = (specs.clone(), before.claimant.clone());
            connection.administer(move |admin| look(admin, &wanted, &claimant, &known, take_over))
        };
        let (ids, owners) = look_since(before.topics.clone()).await?.map_err(Error::TopicLost)?;
        claims.check(pipeline, &ids)?;
        let claimant = &before.claimant;
        let mut outputs = specs.iter().filter(|spec| is_output(spec));
        let of_another = |topic: &str| owners.get(topic).filter(|owner| !owner.is(claimant));
        if let Some((spec, owner)) = outputs.find_map(|spec| Some((spec, of_another(&spec.name)?))) {
            return Err(owned(spec, owner, claimant, true));
        }
        let events_owner = of_another(pipeline.events_topic()).map(ToString::to_string);
        self.status = expected(&specs, &ids, &self.status);
        if self.status.iter().any(|topic| topic.topic_id.is_none() && topic.created) {
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
                look_since(self.status.clone()).await?.map_err(Error::TopicLost)?;
                return Err(error);
            }
            Err(error @ Error::Kafka(AdminError::Refused { .. })) => {
                // What is there later is somebody else's. Without an answer nothing is this pipeline's, and so nothing is deleted.
                let wanted = specs.clone();
                let made = connection.administer(move |admin| existing(admin, &wanted)).await;
                let made = made.unwrap_or_default();
                self.disown(|topic| topic.topic_id.is_none() && !made.contains_key(&topic.name));
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        // Somebody was faster.
        let found = outcomes.iter().filter(|topic| topic.change != Change::Created).map(|topic| &topic.name);
        let found: BTreeSet<&String> = found.filter(|name| !there.contains(*name)).collect();
        self.disown(|topic| found.contains(&topic.name));
        for topic in &mut self.status {
            topic.topic_id = ids.remove(&topic.name);
        }
        let created: Vec<&str> = outcomes
            .iter()
            .filter(|topic| topic.change == Change::Created)
            .map(|topic| topic.name.as_str())
            .collect();
        if !created.is_empty() {
            self.notes.push(told("TopicsCreated", created.join(", ")));
        }
        for outcome in &outcomes {
            if let Change::Updated(names) = &outcome.change {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                self.notes.push(told("TopicRepaired", format!("{}: {names}", outcome.name)));
            }
        }
        if let Some((spec, owner)) = specs.iter().find_map(|spec| Some((spec, others.get(&spec.name)?))) {
            return Err(owned(spec, owner, claimant, true));
        }
        let warnings = outcomes.iter().zip(&specs).filter_map(|(outcome, spec)| outcome.warning(spec));
        Ok(warnings.collect())
    }

    /// These topics are none of the pipeline's making.
    fn disown(&mut self, which: impl Fn(&TopicStatus) -> bool) {
        for topic in self.status.iter_mut().filter(|topic| which(topic)) {
            topic.created = false;
        }
    }
}

/// On whose behalf topics are claimed.
pub(super) fn claimant(resource: &ClickstreamPipeline) -> Claimant {
    Claimant {
        pipeline: resource.name_any(),
        resource: Some(admin::Resource {
            namespace: resource.namespace().unwrap_or_default(),
            uid: resource.uid().unwrap_or_default(),
        }),
    }
}

/// What became of a pipeline that begins anew.
pub(super) enum Reset {
    Done,
    /// This group still has so many members.
    Running(String, usize),
}

/// Deletes what speaks of topics that are gone, so that the pipeline can begin anew: by name, so not where what has the names now
/// is another's. Its processors must have ended, and Kafka must not wait for one of them to come back.
pub(super) async fn reset(
    connection: &Connection,
    pipeline: &Pipeline,
    claims: &Claims,
    claimant: Claimant,
    take_over: bool,
    loss: &Loss,
) -> Result<Reset, Error> {
    let (specs, loss) = (pipeline.topics(), loss.clone());
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
            let groups = weir_manifest::groups(&claimant.pipeline);
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

/// The ids of those that exist, by name.
fn existing(admin: &Admin, specs: &[TopicSpec]) -> Result<Ids, AdminError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    Ok(identified(admin.describe_topics(&names)?))
}

fn identified(found: Described) -> Ids {
    let there = found.into_iter().filter(|(_, topic)| !topic.id.is_empty());
    there.map(|(name, topic)| (name, topic.id)).collect()
}

/// Topics of others, because of which nothing may be deleted. Events may be shared; one of the same name shares the groups, too.
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

/// What is there, and whose it is.
type Looked = (Ids, BTreeMap<String, Owner>);

/// The ids of those that exist, once nothing speaks against going on, and whose they are; or what was lost since `known`. What may
/// be taken over is nobody's.
fn look(
    admin: &Admin,
    specs: &[TopicSpec],
    claimant: &Claimant,
    known: &[TopicStatus],
    take_over: bool,
) -> Result<Result<Looked, Loss>, AdminError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let lost = |found: &Described| Loss::of(&claimant.pipeline, specs, known, found);
    let mut found = admin.describe_topics(&names)?;
    if lost(&found).is_some() {
        // A broker that has just come back may not know all of its topics.
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
            // The resource before this one, or one in another cluster that has stopped: this one goes on where it was.
            owner.resource.clone_from(&claimant.resource);
        }
    }
    // What may be taken over is nobody's.
    owners
        .retain(|_, owner| owner.is(claimant) || !take_over || running.get(&owner.pipeline) != Some(&false));
    Ok(Ok((ids, owners)))
}

/// Whose topics are is nice to know: without the right to it, claims among this operator's pipelines are all there is.
pub(super) fn permitted<T: Default>(answer: Result<T, AdminError>) -> Result<T, AdminError> {
    match answer {
        Err(AdminError::Refused { doing, topic, reason }) => {
            tracing::warn!(topic, reason, "could not {doing} it: only this operator's pipelines are known");
            Ok(T::default())
        }
        other => other,
    }
}

/// On whose behalf, and what may be done.
struct Ensure {
    claimant: Claimant,
    /// Topics of its making.
    ours: BTreeSet<String>,
    /// Events whose settings another pipeline keeps.
    kept_by_another: Option<String>,
    adopt: bool,
    take_over: bool,
}

/// What became of the topics, those that others took meanwhile, and the ids of all.
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
    // Of one name, whoever was there before runs no longer. Others were faster since it was looked.
    let may_take = |owner: &Owner| by.take_over || owner.is_twin_of(&by.claimant);
    let others = permitted(admin.claim_topics(by.claimant.clone(), &kept(true), ours, may_take))?;
    let twins = |owner: &Owner| owner.is_twin_of(&by.claimant);
    permitted(admin.claim_topics(by.claimant.clone(), &kept(false), ours, twins))?;
    Ok((outcomes, others, ids))
}

/// Why topics are not given the settings that they should have; `events_owner` is another pipeline, where one keeps the events.
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

/// The topics as they will be. What is known by an id is the one that it was: see [`Loss`].
fn expected(specs: &[TopicSpec], ids: &BTreeMap<String, String>, before: &[TopicStatus]) -> Vec<TopicStatus> {
    let topic = |spec: &TopicSpec| {
        let old = before.iter().find(|topic| topic.name == spec.name);
        let id = ids.get(&spec.name);
        let created = match (id, old) {
            // Missing: it is about to be created.
            (None, _) => spec.management == Management::Managed,
            (Some(_), None) => false,
            // Without an id: it was about to be created when the operator died, or Kafka refused it, and then it is somebody else's.
            (Some(_), Some(TopicStatus { created, .. })) => *created,
        };
        TopicStatus { name: spec.name.clone(), topic_id: id.cloned(), partitions: spec.partitions, created }
    };
    specs.iter().map(topic).collect()
}

fn told(reason: &str, note: String) -> EventNote {
    EventNote { warning: false, reason: reason.to_owned(), action: "SyncTopics", note }
}

#[cfg(test)]
mod tests;
