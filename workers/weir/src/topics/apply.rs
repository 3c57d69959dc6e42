//! `weir topics apply`.

use std::{collections::BTreeMap, io::Write, path::PathBuf, sync::atomic::AtomicBool};

use anyhow::{Context, bail, ensure};
use weir_kafka::Connection;
use weir_kafka::admin::{Admin, AdminError, Change, EndedGeneration, Owner};
use weir_log::Generations;
use weir_manifest::{FIRST_GENERATION, Management, Pipeline, Role, TopicSpec};
use weir_telemetry::millis;

use super::{belongs, kept_by};
use crate::generation;

/// What may be done to topics that this pipeline did not create, and what a new generation is compared by.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct Apply {
    /// Change the settings of topics that this pipeline did not create, also where records are deleted by it.
    #[arg(long)]
    pub adopt: bool,
    /// Take topics from another pipeline, which must no longer run. What it wrote stays in them.
    #[arg(long)]
    pub take_over: bool,
    /// The key that spec.pii hashes with, as for `weir process`: without it, and without WEIR_PII_KEY, it is not known whether the settings
    /// of such a pipeline have changed.
    #[arg(long, env = "WEIR_PII_KEY_FILE", value_name = "FILE")]
    pub pii_key_file: Option<PathBuf>,
}

/// Creates the pipeline's topics, and prints the change of each. Where the document has other settings than what was counted, begins the
/// next generation with them.
///
/// # Errors
/// See [`apply_topics`]; and what was counted cannot go on in another generation.
pub fn apply(pipeline: &Pipeline, brokers: &str, options: &Apply, stop: &AtomicBool) -> anyhow::Result<()> {
    let Some(generations) = generation::read(pipeline, brokers, stop)? else { return Ok(()) };
    let next = match generation::decisive_settings(pipeline, options.pii_key_file.as_deref())? {
        Some(decisive) => generation::next(pipeline, brokers, &decisive, &generations, millis())?,
        None => {
            tracing::warn!(
                "without the key of spec.pii it is not known whether settings have changed: give --pii-key-file"
            );
            None
        }
    };
    // Visitors have moved between partitions: the processors say what to do.
    let next = next.filter(|next| !next.difference.repartitioned);
    let newest = generations.newest().map_or(FIRST_GENERATION, |newest| newest.number);
    let number = next.as_ref().map_or(newest, |next| next.number);
    apply_topics(&pipeline.in_generation(number), brokers, options)?;
    if let Some(next) = next {
        generation::declare(pipeline, brokers, &generations, &next)?;
        println!(
            "generation {number} of {} begins: {} before, {} now. Running processors of generation {newest} leave by themselves; others go on: start them then, or now under other names (--instance)",
            pipeline.metadata.name, next.difference.before, next.difference.now
        );
    }
    delete_ended(pipeline, brokers, &generations, millis())
}

/// Deletes the internal topics and groups of generations that ended longer ago than results are kept.
fn delete_ended(
    pipeline: &Pipeline,
    brokers: &str,
    generations: &Generations,
    now: i64,
) -> anyhow::Result<()> {
    let before = now - pipeline.spec.topics.results.retention.as_millis();
    let ended: Vec<u32> = generations.ended_before(before).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let admin = Admin::new(&Connection::new(brokers, "weir-admin"))?;
    let name = pipeline.metadata.name.as_str();
    let is_ours = |_: &str, _: &str, owner: Option<&Owner>| {
        owner.is_some_and(|owner| owner.pipeline == name && owner.ours)
    };
    for EndedGeneration { number, topics } in admin.delete_ended(pipeline, &ended, is_ours)? {
        println!("generation {number} ended long ago: deleted {}", topics.join(", "));
    }
    Ok(())
}

/// Creates the topics of the pipeline's generation, and prints the change of each.
///
/// # Errors
/// The broker cannot be reached, or a topic that exists does not fit, belongs to another pipeline, or would lose records; nothing was
/// changed then. Or another pipeline took a topic meanwhile: then what was changed is printed first.
fn apply_topics(pipeline: &Pipeline, brokers: &str, options: &Apply) -> anyhow::Result<()> {
    let Apply { adopt, take_over, .. } = *options;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use weir_log::Generation;

    #[test]
    fn topics_of_an_ended_generation_are_deleted_once_results_are_that_old() {
        let brokers = weir_broker::Kafka::shared();
        let mut pipeline = Pipeline::new(&format!("ended-{}", std::process::id()), Pipeline::demo().spec);
        let topics = &mut pipeline.spec.topics;
        (topics.events.name, topics.events.replicas) = (format!("{}-events", pipeline.metadata.name), 1);
        (topics.results.name, topics.results.replicas) = (format!("{}-results", pipeline.metadata.name), 1);
        topics.top_pages.name = format!("{}-top", pipeline.metadata.name);
        let kept = topics.results.retention.as_millis();
        for generation in [1, 2] {
            apply_topics(&pipeline.in_generation(generation), brokers, &Apply::default()).unwrap();
        }
        let admin = Admin::new(&Connection::new(brokers, "weir-admin")).unwrap();
        let there = |generation: u32| {
            let own = pipeline.in_generation(generation).topics_of_generation();
            let all = admin.topics().unwrap();
            own.iter().filter(|spec| all.contains_key(&spec.name)).count()
        };
        let recorded = |cut: Option<i64>| {
            let second = Generation::declared(2, "other", 1_000);
            let second = cut.map_or(second.clone(), |cut| second.after(cut));
            Generations::of([Generation::declared(1, "settings", 1_000).after(0), second])
        };
        for (generations, now) in [(recorded(Some(5)), 1_000 + kept), (recorded(None), 2_000 + kept)] {
            delete_ended(&pipeline, brokers, &generations, now).unwrap();
            assert_eq!((there(1), there(2)), (4, 4), "too early, or it has not ended");
        }
        for _ in 0..2 {
            delete_ended(&pipeline, brokers, &recorded(Some(5)), 1_001 + kept).unwrap();
            assert_eq!((there(1), there(2)), (0, 4));
        }
        let left = pipeline.in_generation(2).topics();
        assert!(left.iter().all(|spec| admin.topics().unwrap().contains_key(&spec.name)), "all others stay");
    }
}
