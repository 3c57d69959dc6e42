//! Outcomes and errors of administration.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_manifest::TopicSpec;

use super::counts::Mismatches;
use super::settings::Difference;

/// What was done to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The topic was missing.
    Created,
    /// The topic was in sync.
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
    /// The number of replicas, if fewer than specified.
    pub copies: Option<i32>,
}

impl TopicOutcome {
    /// A warning about missing replicas.
    pub fn warning(&self, spec: &TopicSpec) -> Option<String> {
        let copies = self.copies?;
        Some(format!(
            "topic {} keeps {copies} of the {} copies of each record that the pipeline asks for: move its partitions with \
             kafka-reassign-partitions; until then min.insync.replicas is what {copies} allow",
            self.name, spec.replicas
        ))
    }
}

/// Errors of topic administration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No broker answered.
    #[error("no kafka broker answered at {bootstrap} within {} s: {reason}; check the address and that the broker runs", .waited.as_secs())]
    Unreachable {
        /// The addresses that were tried.
        bootstrap: String,
        /// librdkafka's reason.
        reason: String,
        /// The timeout.
        waited: Duration,
    },
    /// Topics exist with other partitions. Nothing was changed.
    #[error("{0}")]
    Partitions(Mismatches),
    /// Topics that are not of this pipeline's making have settings whose change could lose records. Nothing was changed.
    #[error(
        "{}\nthe pipeline did not create what it would change here, and records could be lost or change their meaning: give the topic \
         these settings, or let the pipeline say what the topic has, where it can",
        .0.iter().map(Difference::to_string).collect::<Vec<_>>().join("\n")
    )]
    NotOurs(Vec<Difference>),
    /// The topic does not exist.
    #[error(
        "topic {topic:?} does not exist, and nobody here creates it: create it, or set spec.topics.events.management to Managed"
    )]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The topic disappeared since the last check. Nothing was changed.
    #[error(
        "topic {topic:?} was deleted while it was compared with the pipeline: it is not made anew, and it is looked for again"
    )]
    Gone {
        /// The topic.
        topic: String,
    },
    /// The broker refused.
    #[error("kafka refused to {doing} topic {topic:?}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The attempted operation.
        doing: &'static str,
        /// The broker's reason.
        reason: String,
    },
    /// The broker refused to delete a group.
    #[error("kafka refused to delete the group {group:?}: {reason}")]
    GroupRefused {
        /// The group.
        group: String,
        /// The broker's reason.
        reason: String,
    },
}
