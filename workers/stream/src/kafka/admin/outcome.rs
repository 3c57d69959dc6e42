//! What became of topics, or why nothing did.

use std::collections::BTreeSet;
use std::time::Duration;

/// What was done to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was as it should be.
    Unchanged,
    /// These settings had other values.
    Updated(BTreeSet<String>),
}

/// A topic and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    /// Its name.
    pub name: String,
    /// What was done.
    pub change: Change,
}

/// Why topics are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No broker answered.
    #[error("no kafka broker answered at {bootstrap} within {} s: {reason}; check the address and that the broker runs", .waited.as_secs())]
    Unreachable {
        /// The addresses that were tried.
        bootstrap: String,
        /// What librdkafka says.
        reason: String,
        /// How long.
        waited: Duration,
    },
    /// Topics exist with other partitions. Nothing was changed.
    #[error("{}", .0.iter().map(Mismatch::to_string).collect::<Vec<_>>().join("\n"))]
    Partitions(Vec<Mismatch>),
    /// The topic does not exist.
    #[error("topic {topic:?} does not exist: create it or correct its name")]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The broker refused.
    #[error("kafka refused to {doing} topic {topic:?}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// What was tried.
        doing: &'static str,
        /// Its reason.
        reason: String,
    },
}

/// A topic whose partitions are not as many as they should be: keys and state are placed by that number, so it is never
/// changed under a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} has {found} partitions, the pipeline says {expected}: say {found} in the pipeline, or give it a new topic"
)]
pub struct Mismatch {
    /// The topic.
    pub topic: String,
    /// What it has.
    pub found: i32,
    /// What it should have.
    pub expected: i32,
}
