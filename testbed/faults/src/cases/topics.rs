//! Faults of topics.

use anyhow::{Context, ensure};
use weir_kafka::{Connection, admin::Admin};
use weir_manifest::Role;

use crate::pipeline::TestPipeline;

/// Events that are deleted before they are read.
const UNREAD: u64 = 1_000;

/// F14: an offset means nothing in another log, so nothing may be read or committed any more.
pub(super) fn made_again(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    pipeline.stop_traffic()?;
    let admin = Admin::new(&Connection::new(pipeline.brokers(), "faults"))?;
    let topics = pipeline.document.topics();
    let spec = topics.iter().find(|spec| spec.role == Role::Events).context("no events topic")?;
    admin.delete_topics_and_wait(&[&spec.name])?;
    let made = admin.ensure_topics(std::slice::from_ref(spec), |_| true)?;
    ensure!(!made.is_empty(), "{} was not made again", spec.name);
    stops(pipeline, &["was deleted and made anew"])
}

/// F15: users would move to other partitions than their visits.
pub(super) fn partitions_added(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let admin = Admin::new(&Connection::new(pipeline.brokers(), "faults"))?;
    let partitions = pipeline.document.spec.topics.events.partitions;
    admin.add_partitions(pipeline.document.events_topic(), partitions + 2)?;
    stops(pipeline, &["partitions cannot be taken away"])
}

/// F24, while the processors are stopped: they must not go on behind the gap.
pub(super) fn deleted_while_stopped(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    pipeline.processors.stop()?;
    let sent = pipeline.traffic.sent();
    pipeline.wait_until("events come meanwhile", |pipeline| Ok(pipeline.traffic.sent() > sent + UNREAD))?;
    delete_events(pipeline)?;
    for number in 0..pipeline.processors.count() {
        pipeline.processors.launch(number, None)?;
    }
    let topic = pipeline.document.events_topic().to_owned();
    stops(pipeline, &["retention deleted", &topic, "begins at"])
}

/// F24, while they are too slow: frozen for less than a session, so that they go on where they were.
pub(super) fn deleted_while_reading(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for number in 0..pipeline.processors.count() {
        pipeline.processors.signal(number, "STOP")?;
    }
    let sent = pipeline.traffic.sent();
    pipeline.wait_until("events come meanwhile", |pipeline| Ok(pipeline.traffic.sent() > sent + UNREAD))?;
    delete_events(pipeline)?;
    for number in 0..pipeline.processors.count() {
        pipeline.processors.signal(number, "CONT")?;
    }
    let topic = pipeline.document.events_topic().to_owned();
    stops(pipeline, &["retention deleted", &topic, "offset"])
}

/// Deletes all events that are there, as retention would.
fn delete_events(pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let topic = pipeline.document.events_topic();
    let partitions = (0..pipeline.document.spec.topics.events.partitions)
        .map(|partition| serde_json::json!({"topic": topic, "partition": partition, "offset": -1}));
    let offsets = serde_json::json!({"version": 1, "partitions": partitions.collect::<Vec<_>>()});
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), offsets.to_string())?;
    let file = file.path().to_string_lossy();
    let arguments = ["--bootstrap-server", pipeline.brokers(), "--offset-json-file", &file];
    let kafka = pipeline.cluster.kafka.distribution();
    kafka.tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments)?;
    Ok(())
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
            ensure!(reasons.iter().all(|reason| last.contains(reason)), "not all of {reasons:?} in:\n{last}");
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
