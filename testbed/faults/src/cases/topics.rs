//! Faults of topics.

use anyhow::{Context, ensure};
use weir_kafka::{Connection, admin::Admin};
use weir_manifest::Role;

use crate::pipeline::TestPipeline;

/// F14: an offset means nothing in another log, so nothing may be read or committed any more.
pub(super) fn made_again(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    pipeline.stop_traffic()?;
    let admin = Admin::new(&Connection::new(pipeline.brokers(), "faults"))?;
    let topics = pipeline.document.topics();
    let spec = topics.iter().find(|spec| spec.role == Role::Events).context("no events topic")?;
    admin.delete_topics_and_wait(&[&spec.name])?;
    let made = admin.ensure_topics(std::slice::from_ref(spec), |_| true)?;
    ensure!(!made.is_empty(), "{} was not made again", spec.name);
    stops(pipeline, &["was deleted and made again", "made anew", "recreated"])
}

/// F15: users would move to other partitions than their visits.
pub(super) fn partitions_added(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let admin = Admin::new(&Connection::new(pipeline.brokers(), "faults"))?;
    let partitions = pipeline.document.spec.topics.events.partitions;
    admin.add_partitions(pipeline.document.events_topic(), partitions + 2)?;
    stops(pipeline, &["partitions"])
}

/// All processors end with an error that names the reason, do so again when they are started again, and commit nothing more.
fn stops(pipeline: &mut TestPipeline<'_>, reasons: &[&str]) -> anyhow::Result<()> {
    let mut before = None;
    for _ in 0..2 {
        for number in 0..pipeline.processors.count() {
            pipeline.wait_until("the processor ends", |pipeline| {
                Ok(pipeline.processors.status(number)?.is_some())
            })?;
            let (log, status) = (pipeline.processors.log(number), pipeline.processors.status(number)?);
            let last = weir_broker::tail(&log);
            ensure!(status == Some(1), "status {status:?}:\n{last}");
            ensure!(reasons.iter().any(|reason| last.contains(reason)), "none of {reasons:?} in:\n{last}");
            pipeline.outcome.note = last.lines().last().unwrap_or_default().to_owned();
        }
        let committed = pipeline.progress.offsets()?;
        ensure!(before.is_none_or(|before| before == committed), "more was committed: {committed:?}");
        before = Some(committed);
        for number in 0..pipeline.processors.count() {
            pipeline.processors.launch(number, None)?;
        }
    }
    pipeline.outcome.held("I9");
    pipeline.outcome.repetitions += 1;
    Ok(())
}
