//! What must hold of a pipeline's topics before it processes, and while it does: they are there, have the partitions that the
//! document says, are the ones they were, and are written by nobody else. Everything that does not hold is said at once.

use std::collections::BTreeMap;

use weir_kafka::admin::{Admin, AdminError, Owner};
use weir_log::{TopicDescription, identity};
use weir_manifest::{Pipeline, Role, TopicSpec};

use super::{apply::is_output, belongs};

/// The setting that says whose clock stamps records.
const TIMESTAMPS: &str = "message.timestamp.type";

/// What was found where nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Each topic's id, by name.
    pub ids: BTreeMap<String, String>,
    /// Whether the events topic is stamped by its producers' clocks and not by the broker's.
    pub producers_clock: bool,
    /// Whether the topic of live values is there. Without it results are the same.
    pub has_live: bool,
}

/// Why processing may not begin, or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No broker answers: nothing is known of the topics.
    Away(String),
    /// A topic is missing. A broker that was just started may not know all of them yet.
    Missing(String),
    /// A person must act.
    Wrong(String),
}

impl Trouble {
    /// In words for a person.
    pub(super) fn why(&self) -> &str {
        let (Self::Away(why) | Self::Missing(why) | Self::Wrong(why)) = self;
        why
    }
}

impl From<AdminError> for Trouble {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unreachable { .. } => Self::Away(error.to_string()),
            other => Self::Wrong(other.to_string()),
        }
    }
}

/// Checks the topics, and records that the pipeline writes them.
///
/// # Errors
/// As [`Trouble`] says.
pub fn check(admin: &Admin, pipeline: &Pipeline) -> Result<Checked, Trouble> {
    let specs = pipeline.topics();
    let found = described(admin, &specs)?;
    let ids = ids(&found);
    let fits = fitting(admin, &specs, &found);
    // Nothing is recorded for a pipeline that cannot run.
    let owned = owned(admin, pipeline, &specs, &ids, fits.is_ok());
    let mut wrong = Vec::new();
    for result in [fits, owned] {
        match result {
            Err(Trouble::Wrong(why)) => wrong.push(why),
            other => other?,
        }
    }
    if !wrong.is_empty() {
        return Err(Trouble::Wrong(wrong.join("\n")));
    }
    let stamped = admin.setting(pipeline.events_topic(), TIMESTAMPS)?;
    let producers_clock = stamped.is_some_and(|stamped| stamped != "LogAppendTime");
    Ok(Checked { has_live: found.contains_key(&pipeline.live_topic()), ids, producers_clock })
}

/// Checks again, while the pipeline runs, what can change under it; `ids` are those it began with. Owners only where `owners` says so.
/// Returns whether the topic of live values is there, which may come and go.
pub(super) fn check_again(
    admin: &Admin,
    pipeline: &Pipeline,
    before: &BTreeMap<String, String>,
    owners: bool,
) -> Result<bool, Trouble> {
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
            Err(Trouble::Wrong(why)) => wrong.push(why),
            other => other?,
        }
    }
    let has_live = found.contains_key(&pipeline.live_topic());
    if wrong.is_empty() { Ok(has_live) } else { Err(Trouble::Wrong(wrong.join("\n"))) }
}

fn ids(found: &BTreeMap<String, TopicDescription>) -> BTreeMap<String, String> {
    let known = found.iter().filter(|(_, topic)| !topic.id.is_empty());
    known.map(|(name, topic)| (name.clone(), topic.id.clone())).collect()
}

/// The topics as they are, all of them but, if it is missing, that of live values, which are provisional.
fn described(admin: &Admin, specs: &[TopicSpec]) -> Result<BTreeMap<String, TopicDescription>, Trouble> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let found = admin.describe_topics(&names)?;
    let needed = specs.iter().filter(|spec| spec.role != Role::Live).map(|spec| spec.name.as_str());
    let missing: Vec<&str> = needed.filter(|name| !found.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    Err(Trouble::Missing(format!("there is no topic {}", missing.join(", "))))
}

/// Whether they have the partitions that they should have.
fn fitting(
    admin: &Admin,
    specs: &[TopicSpec],
    found: &BTreeMap<String, TopicDescription>,
) -> Result<(), Trouble> {
    let counts = found.iter().map(|(name, topic)| (name.clone(), topic.partitions)).collect();
    Ok(admin.compare_partitions(specs, &counts)?)
}

/// Whether nobody else writes them. With `claim` it is recorded that this pipeline does.
fn owned(
    admin: &Admin,
    pipeline: &Pipeline,
    specs: &[TopicSpec],
    ids: &BTreeMap<String, String>,
    claim: bool,
) -> Result<(), Trouble> {
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
    Err(Trouble::Wrong(problems.join("\n")))
}
