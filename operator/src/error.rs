//! Errors of a pass, with their condition reasons.

use std::time::Duration;

use weir_kafka::admin::{AdminError, Mismatches};
use weir_log::identity::AFRESH;
use weir_manifest::{Role, SpecError};

use crate::loss::{Loss, RECREATE};
use crate::object::Kind;

/// With the value `true`: settings of topics that the pipeline did not create are changed, even if that deletes records.
pub(crate) const ADOPT: &str = "weir.dev/adopt-topics";

/// With the value `true`: topics of a pipeline that no longer runs become this one's, with their records.
pub(crate) const TAKE_OVER: &str = "weir.dev/take-over-topics";

/// An error of a pass. [`reason`](Error::reason) is its name in conditions, events and metrics.
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
    /// A Secret that the document names does not exist.
    #[error("secret {name} does not exist in namespace {namespace}: create it or correct {field}")]
    SecretMissing {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A Secret lacks an entry.
    #[error("secret {name} has no entry {key:?} (it has: {found}): add it or correct {field}")]
    SecretKeyMissing {
        /// Its name.
        name: String,
        /// The missing entry.
        key: String,
        /// The entries that it has.
        found: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A Secret's entry is unusable.
    #[error("entry {key:?} of secret {name} ({field}): {wrong}")]
    SecretKeyUnfit {
        /// The secret's name.
        name: String,
        /// The entry.
        key: String,
        /// What was found and what was expected.
        wrong: String,
        /// The field that names it.
        field: &'static str,
    },
    /// An older pipeline owns the topic.
    #[error("topic {topic} belongs to the older pipeline {owner}: {}", elsewhere(*.role))]
    TopicClaimed {
        /// The topic.
        topic: String,
        /// What it is for here.
        role: Role,
        /// `namespace/name`.
        owner: String,
    },
    /// The owner recorded in Kafka is another pipeline: one that is gone, or that another operator or command started.
    #[error(
        "topic {topic} belongs to the pipeline {owner}: two pipelines in one topic count everything twice. Once {owner} is gone for \
         good, set the annotation {TAKE_OVER}: \"true\"; else {}", elsewhere(*.role)
    )]
    TopicOwned {
        /// The topic.
        topic: String,
        /// What it is for here.
        role: Role,
        /// The pipeline's name.
        owner: String,
    },
    /// Another resource of the same name, which another operator keeps, owns the topic and runs.
    #[error(
        "topic {topic} belongs to another pipeline of this name, {owner}, which another operator or cluster keeps, and whose processors \
         run: two of one name on one Kafka end each other's processors. Set spec.state of the other to Suspended, and this one goes on \
         where it stands; or delete this one and apply it with another metadata.name and other names in spec.topics"
    )]
    TwinOwned {
        /// The topic.
        topic: String,
        /// The other resource.
        owner: String,
    },
    /// Topics were deleted, or recreated with another id.
    #[error("{0}")]
    TopicLost(Loss),
    /// Lost topics are about to be recreated, once the processors have ended.
    #[error("{}: recreated because of the annotation {RECREATE}, once the processors have ended", .0.names())]
    Recreating(Loss),
    /// The topic of generations no longer has the one that the pipeline is in.
    #[error(
        "{topic} no longer has generation {number}, in which the pipeline is. Pods are not changed, and none begins in an earlier one. If the \
         topic can come back, bring it back. If not, set the annotation {RECREATE}: \"true\": the record is made again from status.generation, \
         if that has a cut. Else {AFRESH}"
    )]
    GenerationLost {
        /// The topic.
        topic: String,
        /// The number of the generation.
        number: u32,
    },
    /// What is recorded of the generations could not be read.
    #[error("the generations of the pipeline are not known: {0}")]
    GenerationsUnknown(String),
    /// The next generation could not be recorded.
    #[error("the next generation could not be recorded, will be retried: {0}")]
    GenerationNotRecorded(String),
    /// The settings changed, and the generation before cannot be ended.
    #[error("pods are not changed, because the settings cannot: {0}. Change them back, or {AFRESH}")]
    GenerationCannotEnd(String),
    /// Processors would refuse the existing state.
    #[error("pods are not changed, because new processors would refuse to go on: the state of {topic} {why}")]
    StateDiffers {
        /// The topic.
        topic: String,
        /// What differs, and the way out.
        why: String,
    },
    /// The processors' committed offsets could not be read.
    #[error("the committed offsets of the processors are not known: {0}")]
    Offsets(String),
    /// Topics that the pipeline did not create would lose records.
    #[error("{0}; or set the annotation {ADOPT}: \"true\", and they are changed")]
    NotOurs(AdminError),
    /// The same for an events topic whose settings another pipeline keeps.
    #[error(
        "{differences}; topic {topic} is kept by the pipeline {owner}, which would set it back: let this one only read it, with \
         spec.topics.events.management External, or let both say the same"
    )]
    KeptByAnother {
        /// What differs.
        differences: AdminError,
        /// The topic.
        topic: String,
        /// The pipeline's name.
        owner: String,
    },
    /// Topics have other numbers of partitions.
    #[error("{}{}", .0, fixed(.0))]
    Partitions(Mismatches),
    /// Kafka was not reachable, or refused a request.
    #[error(transparent)]
    Kafka(AdminError),
    /// Kafka did not finish a request in time.
    #[error("kafka at {bootstrap} did not answer within {} s", .waited.as_secs())]
    KafkaSlow {
        /// The addresses that were tried.
        bootstrap: String,
        /// The time waited.
        waited: Duration,
    },
    /// No time was left for requests to Kafka, because those of other pipelines on the same brokers came first.
    #[error(
        "no time left for requests to kafka at {bootstrap}: {threads} run at a time, those of other pipelines too, and this pass timed \
         out; earlier conditions stand, and the requests will be retried"
    )]
    KafkaBusy {
        /// The addresses of the brokers.
        bootstrap: String,
        /// Maximum number of concurrent requests.
        threads: usize,
    },
    /// A pass exceeded its timeout.
    #[error("not finished within {} s: the API server does not answer in time; will be retried", .0.as_secs())]
    PassSlow(Duration),
    /// The API server was not reachable, or refused a request.
    #[error("could not {doing}: {}", api_message(.source))]
    Api {
        /// The attempted action.
        doing: String,
        /// The client's error.
        source: kube::Error,
    },
    /// Another operator took the pipeline over, or this one released it, since the pass began.
    #[error("this operator no longer keeps the pipeline")]
    KeptNoLonger,
    /// The custom resource's definition lacks fields that this operator needs.
    #[error(
        "the cluster's definition of ClickstreamPipeline is older than this operator, and drops status.operator: upgrade it (helm upgrade \
         with crds.install=true, or kubectl apply --server-side --filename crds/)"
    )]
    DefinitionOlder,
    /// The cluster does not have this kind.
    #[error(
        "this cluster knows no {}: install the Gateway API's definitions, or leave out spec.gateway.httpRoute",
        .0.as_str()
    )]
    KindMissing(Kind),
    /// Objects with names that the pipeline needs belong to others.
    #[error("{}", not_owned(.0))]
    NotOwned(Vec<NotOwned>),
}

/// An object with a name that the pipeline needs, and with another owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOwned {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Kind and name of its owner, if any.
    pub owner: Option<(String, String)>,
}

/// Appended where only another document helps: the API server refuses changes of topic names and partitions.
const FIXED: &str = ". The API server does not change that in a pipeline that there is: set spec.deletionPolicy to Retain, delete the \
                     pipeline, which leaves its topics and offsets, and apply it as it should be";

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotOurs(_) => Self::NotOurs(error),
            AdminError::Partitions(mismatches) => Self::Partitions(mismatches),
            error => Self::Kafka(error),
        }
    }
}

impl Error {
    /// Its name in conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "Undecodable",
            Self::Invalid(_) => "InvalidSpec",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKeyUnfit { .. } => "SecretKeyUnfit",
            Self::SecretKeyMissing { .. } => "SecretKeyMissing",
            Self::TopicClaimed { .. } | Self::TopicOwned { .. } | Self::TwinOwned { .. } => "TopicClaimed",
            Self::TopicLost(_) | Self::GenerationLost { .. } => "TopicLost",
            Self::GenerationsUnknown(_) => "GenerationsUnknown",
            Self::GenerationNotRecorded(_) => "GenerationNotRecorded",
            Self::GenerationCannotEnd(_) => "GenerationCannotEnd",
            Self::StateDiffers { .. } => "StateDiffers",
            Self::Offsets(_) => "OffsetsUnknown",
            Self::Recreating(_) => "RecreatingTopics",
            Self::KeptByAnother { .. } | Self::NotOurs(_) | Self::Kafka(AdminError::NotOurs(_)) => {
                "TopicSettingsDiffer"
            }
            Self::Kafka(AdminError::Unreachable { .. }) | Self::KafkaSlow { .. } => "KafkaUnreachable",
            Self::KafkaBusy { .. } => "WaitingForKafka",
            Self::Partitions(_) | Self::Kafka(AdminError::Partitions(_)) => "TopicPartitionsDiffer",
            Self::Kafka(AdminError::Missing { .. } | AdminError::Gone { .. }) => "TopicMissing",
            Self::Kafka(AdminError::Refused { .. } | AdminError::GroupRefused { .. }) => "KafkaRefused",
            Self::Api { source: kube::Error::Api(status), .. } if status.code == 403 => "Forbidden",
            Self::Api { source: kube::Error::Api(_), .. } => "ApiRefused",
            Self::Api { .. } => "ApiUnreachable",
            Self::PassSlow(_) => "PassSlow",
            Self::KeptNoLonger => "KeptNoLonger",
            Self::DefinitionOlder => "DefinitionOlder",
            Self::KindMissing(_) => "KindMissing",
            Self::NotOwned(_) => "ObjectNotOwned",
        }
    }

    /// Whether Kafka did not answer, so that the topics' state is unknown.
    pub fn is_unreachable(&self) -> bool {
        self.reason() == "KafkaUnreachable"
    }

    /// Whether this pass had no time for requests to Kafka, so that earlier conditions stand.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::KafkaBusy { .. })
    }

    /// Whether another writer changed the object first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }

    /// Whether retrying is useless until the resource changes.
    pub fn awaits_change(&self) -> bool {
        matches!(self, Self::Undecodable(_) | Self::Invalid(_))
    }
}

/// Maps a client's error to [`Error::Api`].
pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let doing = doing.into();
    move |source| Error::Api { doing, source }
}

/// The API server's message where it answered.
fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The way to another topic where the topic belongs to another pipeline.
fn elsewhere(role: Role) -> String {
    let again = |field: &str| {
        format!(
            "the API server does not change it in a pipeline that there is: delete this one and apply it with another {field}"
        )
    };
    match role.path() {
        None => again("metadata.name"),
        Some(field) if role == Role::Events => format!(
            "if this one only reads it, set spec.topics.events.management to External; else another topic is needed, and {}",
            again(field)
        ),
        Some(field) => again(field),
    }
}

fn fixed(mismatches: &Mismatches) -> &'static str {
    if mismatches.asks_for_another_document { FIXED } else { "" }
}

fn not_owned(objects: &[NotOwned]) -> String {
    let objects_and_owners = objects.iter().map(|NotOwned { kind, name, owner }| {
        let owner = match owner {
            Some((kind, name)) => format!("belongs to {kind} {name}"),
            None => "has no owner".to_owned(),
        };
        format!("{} {name} {owner}", kind.as_str())
    });
    let objects_and_owners = objects_and_owners.collect::<Vec<_>>().join(", ");
    let of_pipeline = objects
        .iter()
        .any(|object| object.owner.as_ref().is_some_and(|(kind, _)| kind == weir_manifest::KIND));
    let way_out = if of_pipeline {
        "two pipelines whose names differ by -gateway or -generator cannot share a namespace: delete one of them, and apply it with \
         another metadata.name or in another namespace"
    } else {
        "delete them, or delete this pipeline and apply it with another metadata.name or in another namespace"
    };
    format!("{objects_and_owners}: left alone. This pipeline needs objects of these names: {way_out}")
}
