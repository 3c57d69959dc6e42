//! Why a pipeline is not as it should be.

use std::time::Duration;

use weir_spec::SpecError;
use weir_stream::kafka::admin::AdminError;

use crate::object::Kind;

/// With the value `true`: settings of topics that the pipeline did not create are changed, also where records are deleted by it.
pub(crate) const ADOPT: &str = "weir.dev/adopt-topics";

/// With the value `true`: topics of a pipeline that no longer runs become this one's, with what is in them.
pub(crate) const TAKE_OVER: &str = "weir.dev/take-over-topics";

/// What stands in the way. [`reason`](Error::reason) is what conditions, events and metrics call it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource does not fit this operator's types.
    #[error(
        "the resource cannot be read: {0}; correct it, or run the operator that its definition belongs to"
    )]
    Undecodable(String),
    /// The document contradicts itself.
    #[error(transparent)]
    Invalid(#[from] SpecError),
    /// A secret that the document names is not there.
    #[error("secret {name} does not exist in namespace {namespace}: create it or correct {field}")]
    SecretMissing {
        /// Its name.
        name: String,
        /// Where it should be.
        namespace: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A secret lacks an entry.
    #[error("secret {name} has no entry {key:?} (it has: {found}): add it or correct {field}")]
    SecretKeyMissing {
        /// Its name.
        name: String,
        /// What it lacks.
        key: String,
        /// What it has.
        found: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A secret's entry is no use.
    #[error("entry {key:?} of secret {name} ({field}): {wrong}")]
    SecretKeyUnfit {
        /// The secret's name.
        name: String,
        /// The entry.
        key: String,
        /// What was found and what is expected.
        wrong: String,
        /// The field that names it.
        field: &'static str,
    },
    /// An older pipeline has the topic.
    #[error("topic {topic} belongs to the older pipeline {owner}: give this one topics of its own")]
    TopicClaimed {
        /// The topic.
        topic: String,
        /// `namespace/name`.
        owner: String,
    },
    /// Kafka remembers another pipeline that writes the topic, one that is gone or that another operator or command started.
    #[error(
        "topic {topic} belongs to the pipeline {owner}: two pipelines in one topic count everything twice. Name another topic in \
         spec.topics, or, once {owner} is gone for good, set the annotation {TAKE_OVER}: \"true\""
    )]
    TopicOwned {
        /// The topic.
        topic: String,
        /// The pipeline's name.
        owner: String,
    },
    /// Topics that the pipeline did not create would lose records.
    #[error("{0}; or set the annotation {ADOPT}: \"true\", and they are changed")]
    NotOurs(AdminError),
    /// Kafka could not be asked, or refused.
    #[error(transparent)]
    Kafka(AdminError),
    /// Kafka did not come to an end.
    #[error("kafka at {bootstrap} did not answer within {} s", .waited.as_secs())]
    KafkaSlow {
        /// The addresses that were tried.
        bootstrap: String,
        /// How long.
        waited: Duration,
    },
    /// The API server could not be asked, or refused.
    #[error("could not {doing}: {}", said(.source))]
    Api {
        /// What was tried.
        doing: String,
        /// What came of it.
        source: kube::Error,
    },
    /// The cluster has no such kind of objects.
    #[error(
        "this cluster knows no {}: install the Gateway API's definitions, or leave out spec.gateway.httpRoute",
        .0.as_str()
    )]
    KindMissing(Kind),
    /// Objects of the pipeline's names belong to others.
    #[error("{} are not this pipeline's, and are left alone: delete or rename them", names(.0))]
    Foreign(Vec<(Kind, String)>),
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotOurs(_) => Self::NotOurs(error),
            error => Self::Kafka(error),
        }
    }
}

impl Error {
    /// One word for it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "Undecodable",
            Self::Invalid(_) => "InvalidSpec",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKeyUnfit { .. } => "SecretKeyUnfit",
            Self::SecretKeyMissing { .. } => "SecretKeyMissing",
            Self::TopicClaimed { .. } | Self::TopicOwned { .. } => "TopicClaimed",
            Self::NotOurs(_) | Self::Kafka(AdminError::NotOurs(_)) => "TopicSettingsDiffer",
            Self::Kafka(AdminError::Unreachable { .. }) | Self::KafkaSlow { .. } => "KafkaUnreachable",
            Self::Kafka(AdminError::Partitions(_)) => "TopicPartitionsDiffer",
            Self::Kafka(AdminError::Missing { .. }) => "TopicMissing",
            Self::Kafka(AdminError::Refused { .. }) => "KafkaRefused",
            Self::Api { source: kube::Error::Api(status), .. } if status.code == 403 => "Forbidden",
            Self::Api { source: kube::Error::Api(_), .. } => "ApiRefused",
            Self::Api { .. } => "ApiUnreachable",
            Self::KindMissing(_) => "KindMissing",
            Self::Foreign(_) => "ForeignObject",
        }
    }

    /// Whether Kafka did not answer, so that nothing is known of the topics.
    pub fn is_unreachable(&self) -> bool {
        self.reason() == "KafkaUnreachable"
    }

    /// Whether somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }

    /// Whether trying again without a change of the resource is in vain.
    pub fn awaits_change(&self) -> bool {
        matches!(self, Self::Undecodable(_) | Self::Invalid(_))
    }
}

/// What happened while `doing` something with the API server.
pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let doing = doing.into();
    move |source| Error::Api { doing, source }
}

/// The API server's own words where it answered.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn names(objects: &[(Kind, String)]) -> String {
    objects.iter().map(|(kind, name)| format!("{} {name}", kind.as_str())).collect::<Vec<_>>().join(", ")
}
