//! `weir topics apply`.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Context, bail, ensure};
use weir_spec::{Management, Pipeline, Role, TopicSpec};
use weir_stream::kafka::admin::{Admin, AdminError, Change};

use super::belongs;

/// What may be done to topics that this pipeline did not create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
pub struct Apply {
    /// Change the settings of topics that this pipeline did not create, also where records are deleted by it.
    #[arg(long)]
    pub adopt: bool,
    /// Take topics from another pipeline, which must no longer run. What it wrote stays in them.
    #[arg(long)]
    pub take_over: bool,
}

/// Creates the pipeline's topics, and says what became of each.
///
/// # Errors
/// The broker cannot be reached, or a topic that exists does not fit, belongs to another pipeline, or would lose records; nothing was
/// changed then.
pub fn apply(pipeline: &Pipeline, brokers: &str, options: Apply) -> anyhow::Result<()> {
    let Apply { adopt, take_over } = options;
    let name = &pipeline.metadata.name;
    let specs = pipeline.topics();
    let applied = || -> anyhow::Result<_> {
        let admin = Admin::new(brokers, &[])?;
        admin.check_topics(&specs)?;
        let owners = admin.owners(&ids(&admin, &specs)?)?;
        let mut problems = Vec::new();
        for spec in specs.iter().filter(|spec| is_output(spec)) {
            let Some(owner) = owners.get(&spec.name).filter(|owner| owner.pipeline != *name) else {
                continue;
            };
            if !take_over {
                problems.push(belongs(&spec.name, &owner.pipeline));
            } else if admin.running_members(&owner.pipeline)? > 0 {
                problems.push(format!(
                    "topic {} belongs to the pipeline {}, which runs: stop its processors first",
                    spec.name, owner.pipeline
                ));
            }
        }
        ensure!(problems.is_empty(), problems.join("\n"));
        let mine = |topic: &str| owners.get(topic).is_some_and(|owner| owner.pipeline == *name && owner.ours);
        let outcomes = match admin.ensure_topics(&specs, |topic| adopt || mine(topic)) {
            Err(error @ AdminError::NotOurs(_)) => {
                bail!("{error}; `weir topics apply --adopt` changes it all the same")
            }
            other => other?,
        };
        let ids = ids(&admin, &specs)?;
        let created = |topic: &str| {
            outcomes.iter().any(|outcome| outcome.name == topic && outcome.change == Change::Created)
        };
        // Events that another pipeline keeps are only read here.
        let (outputs, events): (BTreeMap<_, _>, BTreeMap<_, _>) = ids
            .into_iter()
            .partition(|(topic, _)| specs.iter().any(|spec| spec.name == *topic && is_output(spec)));
        admin.claim_topics(name, &events, |topic| adopt || created(topic), false)?;
        let others = admin.claim_topics(name, &outputs, |topic| adopt || created(topic), take_over)?;
        let others: Vec<_> = others.iter().map(|(topic, owner)| belongs(topic, owner)).collect();
        ensure!(others.is_empty(), others.join("\n"));
        Ok(outcomes)
    };
    let mut out = std::io::stdout();
    for outcome in applied().context("topics were not applied")? {
        writeln!(out, "{:<40} {:?}", outcome.name, outcome.change)?;
    }
    Ok(())
}

/// Whether only one pipeline may write the topic.
pub(super) fn is_output(spec: &TopicSpec) -> bool {
    spec.role != Role::Events
}

/// The ids of the topics that there are and the pipeline keeps.
fn ids(admin: &Admin, specs: &[TopicSpec]) -> Result<BTreeMap<String, String>, AdminError> {
    let kept = specs.iter().filter(|spec| spec.management == Management::Managed);
    admin.ids(&kept.map(|spec| spec.name.as_str()).collect::<Vec<_>>())
}
