//! Readers beside a pipeline: two that follow its topics as they grow, and one that looks whether transactions end.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use weir_broker::Kafka;
use weir_kafka::{Connection, MemberOptions, Reader, Start, TopicInspector};
use weir_log::{Error, Record};
use weir_manifest::Pipeline;

const FOLLOWERS: usize = 2;
/// Maximum time until a follower has read everything in the end.
const READ_TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// A hanging transaction: a partition's last stable offset stands still for longer than transactions may be open, and the time that
/// their coordinator needs to abort them.
const MAX_STALLED: Duration = Duration::from_secs(15 + 10);

/// What a reader beside the pipeline found.
#[derive(Default)]
struct Seen {
    read: Read,
    /// The longest time without a new ranking, once there was one.
    longest_gap: Duration,
}

/// What all found.
pub(crate) struct Findings {
    /// I6: whether all readers saw the same.
    pub(crate) alike: anyhow::Result<()>,
    /// I8: whether all transactions ended.
    pub(crate) stalled: anyhow::Result<()>,
    /// The longest time without a new ranking, for a reader of committed records.
    pub(crate) longest_gap: Duration,
}

/// Offsets and hashes of a partition's records, in the order in which they were read.
type Read = BTreeMap<(String, i32), Vec<(i64, u64)>>;

/// The readers of one pipeline.
pub(crate) struct Witness {
    topics: Vec<String>,
    brokers: String,
    stop: Arc<AtomicBool>,
    followers: Vec<JoinHandle<anyhow::Result<Seen>>>,
    watch: JoinHandle<Stalled>,
}

/// The longest time that a last stable offset stood still before the end of its partition, by partition.
type Stalled = BTreeMap<(String, i32), Duration>;

impl Witness {
    pub(crate) fn start(pipeline: &Pipeline, kafka: &Kafka) -> anyhow::Result<Self> {
        let topics = vec![
            pipeline.results_topic().to_owned(),
            pipeline.top_pages_topic().to_owned(),
            pipeline.blocks_topic(),
            pipeline.state_topic(),
            pipeline.dead_letters_topic(),
        ];
        let (brokers, stop) = (kafka.bootstrap().to_owned(), Arc::new(AtomicBool::new(false)));
        let followers = (0..FOLLOWERS).map(|number| {
            let (topics, stop) = (topics.clone(), Arc::clone(&stop));
            let connection = Connection::new(&brokers, &format!("witness-{number}"));
            let rankings = pipeline.top_pages_topic().to_owned();
            thread::spawn(move || follow(&connection, &topics, &rankings, &stop))
        });
        let followers = followers.collect();
        let watch = thread::spawn({
            let (topics, brokers, stop) = (topics.clone(), brokers.clone(), Arc::clone(&stop));
            move || watch(&topics, &brokers, &stop)
        });
        Ok(Self { topics, brokers, stop, followers, watch })
    }

    /// Ends without a result: the topics are gone.
    pub(crate) fn give_up(self) {
        self.stop.store(true, Ordering::SeqCst);
        // What they found does not matter.
        let _ = self.watch.join();
        self.followers.into_iter().for_each(|follower| drop(follower.join()));
    }

    /// Once nothing more is written.
    pub(crate) fn finish(self) -> anyhow::Result<Findings> {
        self.stop.store(true, Ordering::SeqCst);
        let watched = self.watch.join().map_err(|_| anyhow!("a watch panicked"))?;
        let stalled = watched.into_iter().find(|(_, stalled)| *stalled > MAX_STALLED);
        let stalled = match stalled {
            None => Ok(()),
            Some(((topic, partition), time)) => {
                Err(anyhow!("{topic}/{partition}: a transaction was open for {time:?}"))
            }
        };
        let mut seen = Vec::new();
        for follower in self.followers {
            seen.push(follower.join().map_err(|_| anyhow!("a reader panicked"))?);
        }
        let gaps = seen.iter().filter_map(|seen| Some(seen.as_ref().ok()?.longest_gap));
        let longest_gap = gaps.max().unwrap_or_default();
        let all = read_all(&self.topics, &self.brokers)?;
        let alike = seen.into_iter().try_for_each(|seen| alike(&seen?.read, &all));
        Ok(Findings { alike, stalled, longest_gap })
    }
}

fn alike(seen: &Read, all: &Read) -> anyhow::Result<()> {
    for ((topic, partition), expected) in all {
        let seen = seen.get(&(topic.clone(), *partition)).map_or(&[][..], Vec::as_slice);
        let differ = seen.iter().zip(expected).position(|(a, b)| a != b);
        let differ =
            differ.or_else(|| (seen.len() != expected.len()).then_some(seen.len().min(expected.len())));
        if let Some(at) = differ {
            let (seen_at, expected_at) = (seen.get(at), expected.get(at));
            return Err(anyhow!(
                "{topic}/{partition}: record {at} of one committed reader is {seen_at:?}, of another {expected_at:?} (offset, hash)"
            ));
        }
    }
    Ok(())
}

/// Follows the topics until everything in them at the end is read.
fn follow(
    connection: &Connection,
    topics: &[String],
    rankings: &str,
    stop: &AtomicBool,
) -> anyhow::Result<Seen> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = Reader::follow(connection, &names, Start::Beginning)?;
    let Seen { mut read, mut longest_gap } = Seen::default();
    let (mut ends, mut deadline, mut last_ranking) = (None, None, None::<Instant>);
    loop {
        let polled = reader.poll(1_000, POLL_INTERVAL, &mut |topic, record| {
            if topic == rankings {
                let gap = last_ranking.replace(Instant::now()).map(|last| last.elapsed());
                longest_gap = longest_gap.max(gap.unwrap_or_default());
            }
            let records = read.entry((topic.to_owned(), record.partition)).or_default();
            records.push((record.offset, hash(&record)));
        });
        match polled {
            Ok(_) | Err(Error::Retry(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if stop.load(Ordering::SeqCst) {
            if ends.is_none() {
                ends = Some(last_offsets(topics, &connection.brokers)?);
            }
            let is_read = |(partition, last): (&(String, i32), &i64)| {
                read.get(partition)
                    .and_then(|records| records.last())
                    .is_some_and(|(offset, _)| offset >= last)
            };
            if ends.iter().flatten().all(is_read) {
                reader.close();
                return Ok(Seen { read, longest_gap });
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + READ_TIMEOUT);
            ensure!(Instant::now() < deadline, "a reader did not reach the end of {topics:?}");
        }
    }
}

/// The offset of the last committed record of each partition that has any.
fn last_offsets(topics: &[String], brokers: &str) -> anyhow::Result<BTreeMap<(String, i32), i64>> {
    let all = read_all(topics, brokers)?;
    Ok(all.into_iter().filter_map(|(partition, records)| Some((partition, records.last()?.0))).collect())
}

fn read_all(topics: &[String], brokers: &str) -> anyhow::Result<Read> {
    let mut read = Read::new();
    for topic in topics {
        let inspector = inspector(topic, brokers)?;
        for partition in 0..inspector.partition_count()? {
            let records = read.entry((topic.clone(), partition)).or_default();
            inspector
                .read(topic, partition, 0, &mut |record| records.push((record.offset, hash(&record))))
                .with_context(|| format!("read {topic}/{partition}"))?;
        }
    }
    Ok(read)
}

/// Samples the last stable offsets until it is stopped. Only times between samples that follow each other closely are added up: without
/// brokers nothing can be aborted.
fn watch(topics: &[String], brokers: &str, stop: &AtomicBool) -> Stalled {
    let mut longest = Stalled::new();
    let mut since: BTreeMap<(String, i32), (i64, Duration)> = BTreeMap::new();
    let inspectors: Vec<(&String, TopicInspector)> =
        topics.iter().filter_map(|topic| Some((topic, inspector(topic, brokers).ok()?))).collect();
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(SAMPLE_INTERVAL);
        let elapsed = last.elapsed().min(3 * SAMPLE_INTERVAL);
        last = Instant::now();
        for (topic, inspector) in &inspectors {
            for partition in 0..inspector.partition_count().unwrap_or(0) {
                let (Ok(stable), Ok(end)) = (inspector.end(partition), inspector.high_watermark(partition))
                else {
                    continue;
                };
                let key = ((*topic).clone(), partition);
                let (at, stalled) = since.entry(key.clone()).or_insert((stable, Duration::ZERO));
                if *at != stable || stable >= end {
                    (*at, *stalled) = (stable, Duration::ZERO);
                } else {
                    *stalled += elapsed;
                }
                let longest = longest.entry(key).or_default();
                *longest = (*longest).max(*stalled);
            }
        }
    }
    longest
}

fn inspector(topic: &str, brokers: &str) -> anyhow::Result<TopicInspector> {
    Ok(TopicInspector::connect(&MemberOptions::new(brokers, "witness", topic, "witness"))?)
}

fn hash(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (record.key, record.value, record.timestamp).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_saw_something_else_are_found() {
        let read = |records: &[(i64, u64)]| Read::from([(("t".to_owned(), 0), records.to_vec())]);
        let all = read(&[(0, 7), (2, 8)]);
        assert!(alike(&all, &all).is_ok());
        assert!(alike(&read(&[(0, 7), (1, 9), (2, 8)]), &all).is_err(), "one more");
        assert!(alike(&read(&[(0, 7)]), &all).is_err(), "one less");
        assert!(alike(&read(&[(0, 7), (2, 9)]), &all).is_err(), "another");
        assert!(alike(&Read::new(), &all).is_err());
    }
}
