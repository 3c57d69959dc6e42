//! Faults of brokers.

use std::{thread, time::Duration};

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use weir_broker::{Broker, Kafka};

use crate::{disk::Disk, pipeline::TestPipeline};

const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const AWAY: Duration = Duration::from_secs(5);
const FREEZE: Duration = Duration::from_secs(30);

/// F5: each broker is restarted and killed, then all at once.
pub(super) fn restarted_and_killed(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let kafka = &pipeline.cluster.kafka;
    for (number, broker) in kafka.brokers().iter().enumerate() {
        broker.stop()?;
        broker.start()?;
        pipeline.await_progress(&format!("broker {number} restarted"))?;
        broker.kill()?;
        thread::sleep(AWAY);
        broker.start()?;
        pipeline.await_progress(&format!("broker {number} killed"))?;
        pipeline.outcome.repetitions += 2;
    }
    kafka.brokers().iter().try_for_each(Broker::kill)?;
    start_all(kafka)?;
    pipeline.await_progress("all brokers killed")?;
    pipeline.outcome.repetitions += 1;
    Ok(())
}

/// Starts all at once, as none serves without the others: a majority makes the quorum.
fn start_all(kafka: &Kafka) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let started: Vec<_> = kafka.brokers().iter().map(|broker| scope.spawn(|| broker.start())).collect();
        started.into_iter().try_for_each(|started| match started.join() {
            Ok(started) => Ok(started?),
            Err(_) => bail!("the start of a broker panicked"),
        })
    })
}

/// F6: the brokers that lead what the pipeline's progress depends on.
pub(super) fn coordinators_killed(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let document = std::sync::Arc::clone(&pipeline.document);
    for group in [document.windows_group(), document.results_group()] {
        let id = format!("{group}.{}", pipeline.processors.name(0));
        for (topic, key, what) in [
            ("__consumer_offsets", Some(&group), "coordinator of a group"),
            ("__transaction_state", Some(&id), "coordinator of transactions"),
            (document.blocks_topic().as_str(), None, "leader of blocks"),
        ] {
            let leader = leader(pipeline.brokers(), topic, key.map(String::as_str))?;
            let broker = pipeline.cluster.kafka.broker(leader);
            broker.kill()?;
            thread::sleep(AWAY);
            broker.start()?;
            pipeline.await_progress(&format!("broker {leader}, {what}, killed"))?;
            pipeline.outcome.repetitions += 1;
        }
    }
    Ok(())
}

/// F9.
pub(super) fn frozen(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for (number, broker) in pipeline.cluster.kafka.brokers().iter().enumerate() {
        broker.pause()?;
        thread::sleep(FREEZE);
        broker.resume()?;
        pipeline.await_progress(&format!("broker {number} frozen"))?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F11: a broker whose disk is full ends, and so do two of three, which nothing goes on without.
pub(super) fn disk_full(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let (kafka, disks) = (&pipeline.cluster.kafka, &pipeline.cluster.disks);
    disks[0].fill()?;
    pipeline.wait_until("the broker ends", |_| Ok(!kafka.broker(0).runs()?))?;
    pipeline.await_progress("a disk is full")?;
    disks[0].free()?;
    kafka.broker(0).start()?;
    pipeline.await_progress("it has room again")?;
    pipeline.outcome.repetitions += 1;
    disks.iter().try_for_each(Disk::fill)?;
    pipeline.wait_until("a majority of the brokers ends", |_| {
        let running: Result<Vec<bool>, _> = kafka.brokers().iter().map(Broker::runs).collect();
        Ok(running?.into_iter().filter(|running| !running).count() >= 2)
    })?;
    thread::sleep(AWAY);
    disks.iter().try_for_each(Disk::free)?;
    start_all(kafka)?;
    pipeline.await_progress("every disk was full")?;
    pipeline.outcome.repetitions += 1;
    Ok(())
}

/// The broker that leads the partition of a key, or the first one.
fn leader(brokers: &str, topic: &str, key: Option<&str>) -> anyhow::Result<usize> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", brokers).set("group.id", "leaders").create()?;
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
    let number = key.map_or(0, |key| coordinated_in(key, partitions.len() as i32));
    let partition = partitions.iter().find(|partition| partition.id() == number);
    let leader = partition.with_context(|| format!("{topic} has no partition {number}"))?.leader();
    usize::try_from(leader).with_context(|| format!("{topic}/{number} has no leader"))
}

/// The partition in which brokers keep a group's or a transactional id's state: Java's hash of it.
fn coordinated_in(key: &str, partitions: i32) -> i32 {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_in_java() {
        // "weir".hashCode() = 3645309, "a longer group".hashCode() is negative.
        assert_eq!(coordinated_in("weir", 10), 3_645_309 % 10);
        assert_eq!(coordinated_in("", 10), 0);
    }
}
