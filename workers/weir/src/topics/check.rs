//! Checks a pipeline's topics before it processes, and while it does: they exist, have the partitions of the document, are not
//! recreated, and no other pipeline writes them. All problems are reported at once.

use std::collections::BTreeMap;

use weir_kafka::admin::{Admin, AdminError, Owner};
use weir_log::{TopicDescription, identity};
use weir_manifest::{Pipeline, Role, TopicSpec};

use super::{apply::is_output, belongs};

/// The topic setting for the clock that stamps records.
const TIMESTAMPS: &str = "message.timestamp.type";

/// The result of a check without problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Each topic's id, by name.
    pub ids: BTreeMap<String, String>,
    /// Whether the events topic is stamped by its producers' clocks and not by the broker's.
    pub producers_clock: bool,
    /// Whether the topic of live values is there. Without it results are the same.
    pub has_live: bool,
}

/// Why processing may not start, or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicsError {
    /// No broker answers, so the topics are unknown.
    Unreachable(String),
    /// A topic is missing. A broker that was just started may not know all of them yet.
    Missing(String),
    /// The user must act.
    Wrong(String),
}

impl TopicsError {
    /// The message for the user.
    pub(super) fn why(&self) -> &str {
        let (Self::Unreachable(why) | Self::Missing(why) | Self::Wrong(why)) = self;
        why
    }
}

impl From<AdminError> for TopicsError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unreachable { .. } => Self::Unreachable(error.to_string()),
            other => Self::Wrong(other.to_string()),
        }
    }
}

/// Checks the topics, and records that the pipeline writes them.
///
/// # Errors
/// See [`TopicsError`].
pub fn check(admin: &Admin, pipeline: &Pipeline) -> Result<Checked, TopicsError> {
    let specs = pipeline.topics();
    let found = described(admin, &specs)?;
    let ids = ids(&found);
    let fits = fitting(admin, &specs, &found);
    // No ownership is recorded for a pipeline that cannot run.
    let owned = owned(admin, pipeline, &specs, &ids, fits.is_ok());
    let mut wrong = Vec::new();
    for result in [fits, owned] {
        match result {
            Err(TopicsError::Wrong(why)) => wrong.push(why),
            other => other?,
        }
    }
    if !wrong.is_empty() {
        return Err(TopicsError::Wrong(wrong.join("\n")));
    }
    let stamped = admin.setting(pipeline.events_topic(), TIMESTAMPS)?;
    let producers_clock = stamped.is_some_and(|stamped| stamped != "LogAppendTime");
    Ok(Checked { has_live: found.contains_key(&pipeline.live_topic()), ids, producers_clock })
}

/// Checks while the pipeline runs what can change; `before` has the ids that it started with. Owners are checked only with `owners`.
/// Returns whether the topic of live values exists, which may be deleted and recreated.
pub(super) fn check_again(
    admin: &Admin,
    pipeline: &Pipeline,
    before: &BTreeMap<String, String>,
    owners: bool,
) -> Result<bool, TopicsError> {
    let specs = pipeline.topics();
    let found = described(admin, &specs)?;
    let now = ids(&found);
    let mut wrong: Vec<String> = Vec::new();
    for spec in specs.iter().filter(|spec| spec.role != Role::Live) {
        let (Some(was), Some(is)) = (before.get(&spec.name), now.get(&spec.name)) else { continue };
        if was != is {
            let counted = matches!(spec.role, Role::Events | Role::Blocks | Role::State);
            wrong.push(identity::replaced(&spec.name, was, is, counted));
        }
    }
    let owned = if owners { owned(admin, pipeline, &specs, &now, wrong.is_empty()) } else { Ok(()) };
    for result in [fitting(admin, &specs, &found), owned] {
        match result {
            Err(TopicsError::Wrong(why)) => wrong.push(why),
            other => other?,
        }
    }
    let has_live = found.contains_key(&pipeline.live_topic());
    if wrong.is_empty() { Ok(has_live) } else { Err(TopicsError::Wrong(wrong.join("\n"))) }
}

fn ids(found: &BTreeMap<String, TopicDescription>) -> BTreeMap<String, String> {
    let known = found.iter().filter(|(_, topic)| !topic.id.is_empty());
    known.map(|(name, topic)| (name.clone(), topic.id.clone())).collect()
}

/// The existing topics. Only that of live values, which are provisional, may be missing.
fn described(admin: &Admin, specs: &[TopicSpec]) -> Result<BTreeMap<String, TopicDescription>, TopicsError> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let found = admin.describe_topics(&names)?;
    let needed = specs.iter().filter(|spec| spec.role != Role::Live).map(|spec| spec.name.as_str());
    let missing: Vec<&str> = needed.filter(|name| !found.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    Err(TopicsError::Missing(format!("there is no topic {}", missing.join(", "))))
}

/// Checks the topics' numbers of partitions.
fn fitting(
    admin: &Admin,
    specs: &[TopicSpec],
    found: &BTreeMap<String, TopicDescription>,
) -> Result<(), TopicsError> {
    let counts = found.iter().map(|(name, topic)| (name.clone(), topic.partitions)).collect();
    Ok(admin.compare_partitions(specs, &counts)?)
}

/// Checks that no other pipeline writes the topics. With `claim`, records that this pipeline does.
fn owned(
    admin: &Admin,
    pipeline: &Pipeline,
    specs: &[TopicSpec],
    ids: &BTreeMap<String, String>,
    claim: bool,
) -> Result<(), TopicsError> {
    let name = &pipeline.metadata.name;
    let outputs = specs.iter().filter(|spec| is_output(spec));
    let outputs =
        outputs.filter_map(|spec| Some((spec.name.clone(), ids.get(&spec.name)?.clone()))).collect();
    let others: BTreeMap<String, Owner> = if claim {
        admin.claim_topics(name.as_str(), &outputs, |_| false, |_| false)?
    } else {
        let owners = admin.owners(&outputs)?.into_iter();
        owners.filter(|(_, owner)| owner.pipeline != *name).collect()
    };
    if others.is_empty() {
        return Ok(());
    }
    let problems = specs.iter().filter_map(|spec| Some(belongs(spec, others.get(&spec.name)?)));
    let problems: Vec<_> = problems.collect();
    Err(TopicsError::Wrong(problems.join("\n")))
}
