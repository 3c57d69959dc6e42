//! The topics that a pipeline reads and writes and others see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, pattern};

/// The pipeline's public topics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Topics {
    /// Where events come from.
    pub events: EventsTopic,
    /// Where the numbers of each page and window go.
    pub results: ResultsTopic,
    /// Where each window's ranking, trends and totals go: one partition.
    pub top_pages: TopPagesTopic,
}

/// The input. Its records are keyed by user, so that visitors do not span partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventsTopic {
    /// The topic's name.
    #[schemars(length(max = 249), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// Partitions: the most processors that can share the work. Fixed once the pipeline runs.
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: i32,
    /// Copies of each record.
    #[schemars(range(min = 1, max = 32767))]
    pub replicas: i32,
    /// How long records are kept.
    pub retention: Duration,
    /// How records are compressed.
    pub compression: Compression,
    /// Who creates the topic and keeps its settings.
    pub management: Management,
}

impl Default for EventsTopic {
    fn default() -> Self {
        Self {
            name: "clickstream-events".to_owned(),
            partitions: 6,
            replicas: 1,
            retention: Duration::from_secs(7_200),
            compression: Compression::Snappy,
            management: Management::Managed,
        }
    }
}

/// The output: one record per page and window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResultsTopic {
    /// The topic's name.
    #[schemars(length(max = 249), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// Partitions; the internal blocks topic has as many.
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: i32,
    /// Copies of each record.
    #[schemars(range(min = 1, max = 32767))]
    pub replicas: i32,
    /// How long records are kept.
    pub retention: Duration,
    /// How records are compressed.
    pub compression: Compression,
}

impl Default for ResultsTopic {
    fn default() -> Self {
        Self {
            name: "analytics-results".to_owned(),
            partitions: 3,
            replicas: 1,
            retention: Duration::from_secs(86_400),
            compression: Compression::Gzip,
        }
    }
}

/// The rankings: one partition, otherwise as the results where nothing is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopPagesTopic {
    /// The topic's name.
    #[schemars(length(max = 249), regex(pattern = pattern::TOPIC))]
    pub name: String,
    /// Copies of each record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32767))]
    pub replicas: Option<i32>,
    /// How long records are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// How records are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

impl Default for TopPagesTopic {
    fn default() -> Self {
        Self { name: "analytics-top-pages".to_owned(), replicas: None, retention: None, compression: None }
    }
}

/// How records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Small, slow.
    Gzip,
    /// Fast.
    Snappy,
    /// Fast.
    Lz4,
    /// Small, and fast to read.
    Zstd,
}

impl Compression {
    /// The value of a producer's `compression.type`.
    pub const fn codec(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The value of a topic's `compression.type`, where `none` is called `uncompressed`.
    pub const fn topic_setting(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            other => other.codec(),
        }
    }
}

/// Who creates a topic and keeps its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// This pipeline.
    Managed,
    /// Someone else: the topic must be there, with the partitions that the document says.
    External,
}
