//! The topics of a pipeline and their desired settings in Kafka.

use std::collections::BTreeMap;

use crate::{Compression, Duration, FIRST_GENERATION, Management, Pipeline};

/// The purpose of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The input.
    Events,
    /// Results per page and window.
    Results,
    /// Rankings, trends and totals of windows.
    TopPages,
    /// From stage 1 to stage 2: the sums of a window in one input partition.
    Blocks,
    /// Snapshots and decisions, from which stage 1 restores its state.
    State,
    /// Provisional values of the open window.
    Live,
    /// Records that could not be counted.
    DeadLetters,
    /// The generations that began after the first one.
    Generations,
}

impl Role {
    /// The document's path of the topic's name; `None` for an internal topic, whose name is derived from the pipeline's.
    pub const fn path(self) -> Option<&'static str> {
        match self {
            Self::Events => Some("spec.topics.events.name"),
            Self::Results => Some("spec.topics.results.name"),
            Self::TopPages => Some("spec.topics.topPages.name"),
            Self::Blocks | Self::State | Self::Live | Self::DeadLetters | Self::Generations => None,
        }
    }
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its purpose.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replication factor.
    pub replicas: i32,
    /// Compression of its producers.
    pub compression: Compression,
    /// Whether the operator manages it; external topics are only checked.
    pub management: Management,
    /// Kafka's topic settings by name.
    pub settings: BTreeMap<String, String>,
}

/// The number of in-sync replicas required for a write.
const MIN_IN_SYNC: &str = "min.insync.replicas";

/// With three replicas one broker may be down; with fewer, a higher minimum would block all writes then.
const fn min_in_sync(replicas: i32) -> &'static str {
    if replicas >= 3 { "2" } else { "1" }
}

impl TopicSpec {
    /// The topic with `replicas` actual replicas. With fewer than specified, `min.insync.replicas` is lowered to match: otherwise
    /// nothing could be written.
    #[must_use]
    pub fn with_replicas(&self, replicas: i32) -> Self {
        let mut spec = self.clone();
        if replicas < spec.replicas
            && let Some(minimum) = spec.settings.get_mut(MIN_IN_SYNC)
        {
            min_in_sync(replicas).clone_into(minimum);
        }
        spec
    }
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The name of something that each generation of a pipeline has of its own.
fn numbered(pipeline: &str, suffix: &str, generation: u32) -> String {
    match generation {
        FIRST_GENERATION => format!("{pipeline}.{suffix}"),
        later => format!("{pipeline}.{suffix}.{later}"),
    }
}

/// Ends of the names of internal topics: those that each generation has of its own, and the one that names the generations.
const BLOCKS: &str = "blocks";
const STATE: &str = "state";
const LIVE: &str = "live";
const DEAD_LETTERS: &str = "dead-letters";
const OF_EACH_GENERATION: [&str; 4] = [BLOCKS, STATE, LIVE, DEAD_LETTERS];
const GENERATIONS: &str = "generations";

/// The consumer groups of the two stages of a generation of the named pipeline.
pub fn groups(pipeline: &str, generation: u32) -> [String; 2] {
    ["windows", "results"].map(|stage| numbered(pipeline, stage, generation))
}

/// Whether a consumer group is one of the named pipeline's, in any generation.
pub fn is_group_of(pipeline: &str, group: &str) -> bool {
    let own = group.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('.'));
    let (stage, generation) = own.map_or(("", None), |own| match own.split_once('.') {
        None => (own, None),
        Some((stage, generation)) => (stage, Some(generation)),
    });
    matches!(stage, "windows" | "results") && generation.is_none_or(|number| number.parse::<u32>().is_ok())
}

/// Whether a topic's name is that of an internal topic of the named pipeline, in any generation. Kafka takes `.` and `_` for the same.
pub(crate) fn is_internal_topic_of(pipeline: &str, topic: &str) -> bool {
    let topic = topic.replace('_', ".");
    let own = topic.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    own.is_some_and(|own| {
        let (suffix, generation) =
            own.split_once('.').map_or((own, None), |(suffix, number)| (suffix, Some(number)));
        OF_EACH_GENERATION.contains(&suffix) && generation.is_none_or(is_number) || own == GENERATIONS
    })
}

impl Pipeline {
    /// The pipeline in another generation.
    #[must_use]
    pub fn in_generation(&self, generation: u32) -> Self {
        Self { generation, ..self.clone() }
    }

    /// The topic that names the generations. It is made with the second one: without it the pipeline is in its first.
    pub fn generations_topic(&self) -> String {
        numbered(&self.metadata.name, GENERATIONS, FIRST_GENERATION)
    }

    /// The topic that events are read from.
    pub fn events_topic(&self) -> &str {
        &self.spec.topics.events.name
    }

    /// The topic of results per page and window.
    pub fn results_topic(&self) -> &str {
        &self.spec.topics.results.name
    }

    /// The topic of rankings, trends and totals.
    pub fn top_pages_topic(&self) -> &str {
        &self.spec.topics.top_pages.name
    }

    /// The consumer group of stage 1.
    pub fn windows_group(&self) -> String {
        let [windows, _] = groups(&self.metadata.name, self.generation);
        windows
    }

    /// The consumer group of stage 2.
    pub fn results_group(&self) -> String {
        let [_, results] = groups(&self.metadata.name, self.generation);
        results
    }

    /// The topic between the two stages.
    pub fn blocks_topic(&self) -> String {
        self.internal(BLOCKS)
    }

    /// The topic of stage 1's snapshots and decisions.
    pub fn state_topic(&self) -> String {
        self.internal(STATE)
    }

    /// The topic of live values.
    pub fn live_topic(&self) -> String {
        self.internal(LIVE)
    }

    /// The topic of records that could not be counted.
    pub fn dead_letters_topic(&self) -> String {
        self.internal(DEAD_LETTERS)
    }

    fn internal(&self, suffix: &str) -> String {
        numbered(&self.metadata.name, suffix, self.generation)
    }

    /// All topics of the pipeline and its generation, the input first. Internal topics have the higher replication factor of events and
    /// results.
    pub fn topics(&self) -> Vec<TopicSpec> {
        let topics = &self.spec.topics;
        let (events, results, top_pages) = (&topics.events, &topics.results, &topics.top_pages);
        let inner = events.replicas.max(results.replicas);
        let blocks_kept = events.retention.as_millis().max(2 * HOUR);

        let events_topic = Draft::new(Role::Events, self.events_topic(), events.partitions, events.replicas);
        let results_topic =
            Draft::new(Role::Results, self.results_topic(), results.partitions, results.replicas);
        let top_pages_replicas = top_pages.replicas.unwrap_or(results.replicas);
        let top_pages_topic = Draft::new(Role::TopPages, self.top_pages_topic(), 1, top_pages_replicas);
        let top_pages_compression = top_pages.compression.unwrap_or(results.compression);
        let mut specs = vec![
            TopicSpec {
                management: events.management,
                ..events_topic.recompressed(events.compression).kept(events.retention)
            },
            results_topic.recompressed(results.compression).kept(results.retention),
            top_pages_topic
                .recompressed(top_pages_compression)
                .kept(top_pages.retention.unwrap_or(results.retention)),
            Draft::new(Role::Blocks, &self.blocks_topic(), results.partitions, inner)
                .kept_millis(blocks_kept),
            Draft::new(Role::State, &self.state_topic(), events.partitions, inner).compacted(),
            Draft::new(Role::Live, &self.live_topic(), 1, inner).kept_millis(10 * MINUTE),
            Draft::new(Role::DeadLetters, &self.dead_letters_topic(), 1, inner).kept_millis(7 * DAY),
        ];
        if self.generation > FIRST_GENERATION {
            specs.push(Draft::new(Role::Generations, &self.generations_topic(), 1, inner).compacted());
        }
        specs
    }

    /// The topics that end with the generation: those of its own.
    pub fn topics_of_generation(&self) -> Vec<TopicSpec> {
        let own = |role| matches!(role, Role::Blocks | Role::State | Role::Live | Role::DeadLetters);
        self.topics().into_iter().filter(|spec| own(spec.role)).collect()
    }
}

/// A topic without a cleanup policy yet. Internal topics keep the producer's compression.
struct Draft(TopicSpec);

impl Draft {
    fn new(role: Role, name: &str, partitions: i32, replicas: i32) -> Self {
        let settings = [
            ("compression.type", "producer".to_owned()),
            // The broker's clock: part of the log, so that a replay judges `maxFuture` alike, and independent of
            // the events' own times, so that old events loaded today are kept as long as new ones.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            (MIN_IN_SYNC, min_in_sync(replicas).to_owned()),
        ];
        let mut settings: BTreeMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if role != Role::Events {
            // Kafka's default. All records fit below it, whatever the cluster's own default is.
            settings.insert("max.message.bytes".to_owned(), "1048588".to_owned());
        }
        Self(TopicSpec {
            role,
            name: name.to_owned(),
            partitions,
            replicas,
            compression: Compression::Lz4,
            management: Management::Managed,
            settings,
        })
    }

    fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.0.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// The broker recompresses the topic this way, whatever its producers use.
    fn recompressed(mut self, compression: Compression) -> Self {
        self.0.compression = compression;
        self.set("compression.type", compression.topic_setting())
    }

    fn kept(self, retention: Duration) -> TopicSpec {
        self.kept_millis(retention.as_millis())
    }

    fn kept_millis(self, retention: i64) -> TopicSpec {
        // Only whole closed segments are deleted: with Kafka's default of a week per segment, a retention of two hours would
        // keep a week.
        let segment = (retention / 4).clamp(MINUTE, DAY);
        self.set("cleanup.policy", "delete").set("retention.ms", retention).set("segment.ms", segment).0
    }

    fn compacted(self) -> TopicSpec {
        // A restart reads the topic from its start, so overwritten records must be compacted soon.
        self.set("cleanup.policy", "compact")
            .set("min.cleanable.dirty.ratio", "0.1")
            .set("segment.ms", 10 * MINUTE)
            .0
    }
}

#[cfg(test)]
mod tests;
