//! `weir topics apply`.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Context, bail, ensure};
use weir_kafka::Connection;
use weir_kafka::admin::{Admin, AdminError, Change};
use weir_manifest::{Management, Pipeline, Role, TopicSpec};

use super::{belongs, kept_by};

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

/// Creates the pipeline's topics, and prints the change of each.
///
/// # Errors
/// The broker cannot be reached, or a topic that exists does not fit, belongs to another pipeline, or would lose records; nothing was
/// changed then. Or another pipeline took a topic meanwhile: then what was changed is printed first.
pub fn apply(pipeline: &Pipeline, brokers: &str, options: Apply) -> anyhow::Result<()> {
    let Apply { adopt, take_over } = options;
    let name = &pipeline.metadata.name;
    let specs = pipeline.topics();
    let admin = Admin::new(&Connection::new(brokers, "weir-admin"))?;
    let applied = || -> anyhow::Result<_> {
        admin.check_topics(&specs)?;
        let owners = admin.owners(&ids(&admin, &specs)?)?;
        let mut problems = Vec::new();
        for spec in specs.iter().filter(|spec| is_output(spec)) {
            let Some(owner) = owners.get(&spec.name).filter(|owner| owner.pipeline != *name) else {
                continue;
            };
            if !take_over {
                problems.push(belongs(spec, owner));
            } else if admin.running_members(&owner.pipeline)? > 0 {
                problems.push(format!(
                    "topic {} belongs to the pipeline {}, which runs: stop its processors first",
                    spec.name, owner.pipeline
                ));
            }
        }
        ensure!(problems.is_empty(), problems.join("\n"));
        let of_another = |topic: &str| owners.get(topic).filter(|owner| owner.pipeline != *name);
        let mine = |topic: &str| owners.get(topic).is_some_and(|owner| owner.pipeline == *name && owner.ours);
        // The events topic may belong to another pipeline, which manages its settings.
        let may_change = |topic: &str| mine(topic) || adopt && of_another(topic).is_none();
        let outcomes = match admin.ensure_topics(&specs, may_change) {
            Err(AdminError::NotOurs(differences)) => {
                let owner = differences
                    .iter()
                    .find_map(|difference| Some((&difference.topic, of_another(&difference.topic)?)));
                let way_out = match owner {
                    Some((topic, owner)) => kept_by(topic, owner),
                    None => "`weir topics apply --adopt` changes it all the same".to_owned(),
                };
                bail!("{}; {way_out}", AdminError::NotOurs(differences))
            }
            other => other?,
        };
        let ids = ids(&admin, &specs)?;
        let created = |topic: &str| {
            outcomes.iter().any(|outcome| outcome.name == topic && outcome.change == Change::Created)
        };
        // An events topic that another pipeline manages is only read here.
        let (outputs, events): (BTreeMap<_, _>, BTreeMap<_, _>) = ids
            .into_iter()
            .partition(|(topic, _)| specs.iter().any(|spec| spec.name == *topic && is_output(spec)));
        admin.claim_topics(name.as_str(), &events, |topic| adopt || created(topic), |_| false)?;
        let others =
            admin.claim_topics(name.as_str(), &outputs, |topic| adopt || created(topic), |_| take_over)?;
        Ok((outcomes, others))
    };
    let (outcomes, others) = applied().context("topics were not applied")?;
    let mut out = std::io::stdout();
    for outcome in outcomes {
        writeln!(out, "{:<40} {:?}", outcome.name, outcome.change)?;
        let spec = specs.iter().find(|spec| spec.name == outcome.name);
        if let Some(warning) = spec.and_then(|spec| outcome.warning(spec)) {
            tracing::warn!("{warning}");
        }
    }
    let others = specs.iter().filter_map(|spec| Some(belongs(spec, others.get(&spec.name)?)));
    let others: Vec<_> = others.collect();
    ensure!(others.is_empty(), "another pipeline has taken topics meanwhile:\n{}", others.join("\n"));
    Ok(())
}

/// Whether only one pipeline may write the topic.
pub(super) fn is_output(spec: &TopicSpec) -> bool {
    spec.role != Role::Events
}

/// The ids of the existing topics that the pipeline manages.
fn ids(admin: &Admin, specs: &[TopicSpec]) -> Result<BTreeMap<String, String>, AdminError> {
    let kept = specs.iter().filter(|spec| spec.management == Management::Managed);
    admin.ids(&kept.map(|spec| spec.name.as_str()).collect::<Vec<_>>())
}
