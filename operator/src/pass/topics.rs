//! The topics: looked at, checked against what others have, created, kept as they should be.
//!
//! What is to be created is written into the status before, so that an operator that dies in between still knows what it made.

use std::collections::{BTreeMap, BTreeSet};

use weir_spec::{Management, Pipeline, Role, TopicSpec, TopicStatus};
use weir_stream::kafka::admin::{Admin, AdminError, Change, Owner, TopicOutcome};

use crate::Error;
use crate::claims::Claims;
use crate::conditions::{Aspect, News, Truth, Verdict};
use crate::kafka::Connection;

/// How the topics are.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) verdicts: [Verdict; 2],
    pub(super) status: Vec<TopicStatus>,
    pub(super) news: Vec<News>,
    pub(super) error: Option<Error>,
}

/// What is known of them from the last pass.
pub(super) struct Before {
    pub(super) topics: Vec<TopicStatus>,
    /// Kafka refused something then: a topic that is there now may be another's.
    pub(super) refused: bool,
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
    let reachable = Verdict::new(Aspect::KafkaReachable, Truth::Yes, "Answered", "Kafka answers");
    let mut topics = Topics {
        verdicts: [reachable.clone(), reachable],
        status: before.topics.clone(),
        news: Vec::new(),
        error: None,
    };
    match topics.sync(connection, pipeline, claims, &before, intend).await {
        Ok(()) => {
            let message = format!("{} topics are as they should be", topics.status.len());
            topics.verdicts[1] = Verdict::new(Aspect::TopicsSynced, Truth::Yes, "Synced", message);
        }
        Err(error) => {
            topics.verdicts[1] = Verdict::of(Aspect::TopicsSynced, &error);
            if error.is_unreachable() {
                topics.verdicts[0] = Verdict::of(Aspect::KafkaReachable, &error);
                let unknown = "nothing is known of the topics while Kafka does not answer";
                topics.verdicts[1] =
                    Verdict::new(Aspect::TopicsSynced, Truth::Unknown, error.reason(), unknown);
            }
            topics.error = Some(error);
        }
    }
    topics
}

impl Topics {
    async fn sync(
        &mut self,
        connection: &Connection,
        pipeline: &Pipeline,
        claims: &Claims,
        before: &Before,
        intend: impl AsyncFnOnce(Vec<TopicStatus>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let specs = pipeline.topics();
        let wanted = specs.clone();
        let name = pipeline.metadata.name.clone();
        let Before { refused, adopt, take_over, .. } = *before;
        let (ids, owners) =
            connection.administer(move |admin| look(admin, &wanted, &name, take_over)).await?;
        claims.check(pipeline, &ids)?;
        let name = &pipeline.metadata.name;
        let mut outputs = specs.iter().filter(|spec| is_output(spec));
        let of_another = |topic: &str| owners.get(topic).filter(|owner| owner.pipeline != *name);
        if let Some((topic, owner)) = outputs.find_map(|spec| Some((&spec.name, of_another(&spec.name)?))) {
            return Err(Error::TopicOwned { topic: topic.clone(), owner: owner.pipeline.clone() });
        }
        let (expected, replaced) = expected(&specs, &ids, &self.status, refused);
        self.status = expected;
        if !replaced.is_empty() {
            let note = format!("{}: deleted and made anew by someone else", replaced.join(", "));
            self.news.push(News { warning: true, ..told("TopicReplaced", note) });
        }
        if self.status.iter().any(|topic| topic.topic_id.is_none() && topic.created) {
            intend(self.status.clone()).await?;
        }
        let wanted = specs.clone();
        let created = self.status.iter().filter(|topic| topic.created).map(|topic| topic.name.clone());
        let mine = owners.into_iter().filter(|(_, owner)| owner.ours && owner.pipeline == *name);
        let ours: BTreeSet<String> = created.chain(mine.map(|(topic, _)| topic)).collect();
        let ensure_as = Ensure { pipeline: name.clone(), ours, adopt, take_over };
        let (outcomes, mut ids) =
            connection.administer(move |admin| ensure(admin, &wanted, ids, &ensure_as)).await?;
        for topic in &mut self.status {
            topic.topic_id = ids.remove(&topic.name);
        }
        let created: Vec<&str> = outcomes
            .iter()
            .filter(|topic| topic.change == Change::Created)
            .map(|topic| topic.name.as_str())
            .collect();
        if !created.is_empty() {
            self.news.push(told("TopicsCreated", created.join(", ")));
        }
        for outcome in &outcomes {
            if let Change::Updated(names) = &outcome.change {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                self.news.push(told("TopicRepaired", format!("{}: {names}", outcome.name)));
            }
        }
        Ok(())
    }
}

/// The ids of those that exist, once nothing speaks against going on, and whose they are. What may be taken over is nobody's.
fn look(
    admin: &Admin,
    specs: &[TopicSpec],
    pipeline: &str,
    take_over: bool,
) -> Result<(Ids, BTreeMap<String, Owner>), AdminError> {
    let present = admin.check_topics(specs)?;
    let names = specs.iter().map(|spec| spec.name.as_str());
    let names: Vec<&str> = names.filter(|name| present.contains_key(*name)).collect();
    let ids = admin.ids(&names)?;
    let mut owners = permitted(admin.owners(&ids))?;
    if take_over {
        let mut running = BTreeMap::new();
        for owner in owners.values().filter(|owner| owner.pipeline != pipeline) {
            running.insert(owner.pipeline.clone(), admin.running_members(&owner.pipeline)? > 0);
        }
        owners.retain(|_, owner| running.get(&owner.pipeline).copied().unwrap_or(true));
    }
    Ok((ids, owners))
}

/// Whose topics are is nice to know: without the right to it, claims among this operator's pipelines are all there is.
fn permitted<T: Default>(answer: Result<T, AdminError>) -> Result<T, AdminError> {
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
    pipeline: String,
    /// Topics of its making.
    ours: BTreeSet<String>,
    adopt: bool,
    take_over: bool,
}

fn ensure(
    admin: &Admin,
    specs: &[TopicSpec],
    mut ids: Ids,
    by: &Ensure,
) -> Result<(Vec<TopicOutcome>, Ids), AdminError> {
    let ours = |topic: &str| by.adopt || by.ours.contains(topic);
    let outcomes = admin.ensure_topics(specs, ours)?;
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
    permitted(admin.claim_topics(&by.pipeline, &kept(true), ours, by.take_over))?;
    permitted(admin.claim_topics(&by.pipeline, &kept(false), ours, false))?;
    Ok((outcomes, ids))
}

/// Whether only one pipeline may write the topic.
fn is_output(spec: &TopicSpec) -> bool {
    spec.role != Role::Events
}

/// The topics as they will be, and those that are not the same as before.
fn expected(
    specs: &[TopicSpec],
    ids: &BTreeMap<String, String>,
    before: &[TopicStatus],
    refused: bool,
) -> (Vec<TopicStatus>, Vec<String>) {
    let mut replaced = Vec::new();
    let mut status = Vec::with_capacity(specs.len());
    for spec in specs {
        let old = before.iter().find(|topic| topic.name == spec.name);
        let id = ids.get(&spec.name);
        let created = match (id, old) {
            // Missing: it is about to be created.
            (None, _) => spec.management == Management::Managed,
            (Some(_), None) => false,
            // It was about to be created when this was written, and then either Kafka refused or the operator died.
            (Some(_), Some(TopicStatus { topic_id: None, created, .. })) => *created && !refused,
            (Some(id), Some(TopicStatus { topic_id: Some(old), created, .. })) => {
                if id != old {
                    replaced.push(spec.name.clone());
                }
                *created && id == old
            }
        };
        status.push(TopicStatus {
            name: spec.name.clone(),
            topic_id: id.cloned(),
            partitions: spec.partitions,
            created,
        });
    }
    (status, replaced)
}

fn told(reason: &str, note: String) -> News {
    News { warning: false, reason: reason.to_owned(), action: "SyncTopics", note }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_made_a_topic_is_known_by_its_id() {
        let specs = &Pipeline::demo().topics()[1..2];
        let name = specs[0].name.clone();
        let old = |id: Option<&str>, created| TopicStatus {
            name: name.clone(),
            topic_id: id.map(str::to_owned),
            partitions: 3,
            created,
        };
        for (what, found, before, refused, created, replaced) in [
            ("missing", None, None, false, true, false),
            ("deleted by someone", None, Some(old(Some("a"), false)), false, true, false),
            ("was there", Some("a"), None, false, false, false),
            ("made by an operator that died", Some("a"), Some(old(None, true)), false, true, false),
            ("made by someone after a refusal", Some("a"), Some(old(None, true)), true, false, false),
            ("ours", Some("a"), Some(old(Some("a"), true)), false, true, false),
            ("not ours", Some("a"), Some(old(Some("a"), false)), false, false, false),
            ("ours, but made anew by someone", Some("b"), Some(old(Some("a"), true)), false, false, true),
        ] {
            let ids = found.map(|id: &str| (name.clone(), id.to_owned())).into_iter().collect();
            let (status, told) = expected(specs, &ids, before.as_slice(), refused);
            assert_eq!((status[0].created, !told.is_empty()), (created, replaced), "{what}");
            assert_eq!(status[0].topic_id.as_deref(), found, "{what}");
        }
    }
}
