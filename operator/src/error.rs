//! Why a pipeline is not as it should be.

use std::time::Duration;

use weir_kafka::admin::{AdminError, Mismatches};
use weir_manifest::{Role, SpecError};

use crate::loss::{Loss, RECREATE};
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
    #[error("topic {topic} belongs to the older pipeline {owner}: {}", elsewhere(*.role))]
    TopicClaimed {
        /// The topic.
        topic: String,
        /// What it is for here.
        role: Role,
        /// `namespace/name`.
        owner: String,
    },
    /// Kafka remembers another pipeline that writes the topic, one that is gone or that another operator or command started.
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
    /// Another resource of the pipeline's name, which another operator keeps, has the topic and runs.
    #[error(
        "topic {topic} belongs to another pipeline of this name, {owner}, which another operator or cluster keeps, and whose processors \
         run: two of one name on one Kafka end each other's processors. Set spec.state of the other to Suspended, and this one goes on \
         where it stands; or delete this one and apply it with another metadata.name and other names in spec.topics"
    )]
    TwinOwned {
        /// The topic.
        topic: String,
        /// The other.
        owner: String,
    },
    /// Topics are gone, or are others than they were.
    #[error("{0}")]
    TopicLost(Loss),
    /// Lost topics are about to be made anew, once the processors have ended.
    #[error("{}: made anew because of the annotation {RECREATE}, once the processors have ended", .0.names())]
    Recreating(Loss),
    /// Processors would refuse the state that there is.
    #[error("pods are not changed, because new processors would refuse to go on: the state of {place} {why}")]
    StateDiffers {
        /// Topic and partition.
        place: String,
        /// What differs, and the way out.
        why: String,
    },
    /// Where the processors stand could not be read.
    #[error("where the processors stand is not known: {0}")]
    Offsets(String),
    /// Topics that the pipeline did not create would lose records.
    #[error("{0}; or set the annotation {ADOPT}: \"true\", and they are changed")]
    NotOurs(AdminError),
    /// The same of events that another pipeline keeps.
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
    /// Topics have other partitions.
    #[error("{}{}", .0, fixed(.0))]
    Partitions(Mismatches),
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
    /// There was no time left to ask Kafka, because other pipelines of the cluster asked.
    #[error(
        "waiting to ask kafka at {bootstrap}: {threads} questions run at a time, those of other pipelines too, and the time of this pass \
         was up; what was found before stands, and it is asked again"
    )]
    KafkaBusy {
        /// The addresses that were to be asked.
        bootstrap: String,
        /// How many questions run at a time.
        threads: usize,
    },
    /// A pass was given up.
    #[error("not done within {} s: the API server does not answer in time; tried again", .0.as_secs())]
    PassSlow(Duration),
    /// The API server could not be asked, or refused.
    #[error("could not {doing}: {}", said(.source))]
    Api {
        /// What was tried.
        doing: String,
        /// What came of it.
        source: kube::Error,
    },
    /// Another operator has taken the pipeline, or this one has let go of it, since the pass began.
    #[error("this operator keeps the pipeline no longer")]
    KeptNoLonger,
    /// The resource's definition lacks fields of this operator's.
    #[error(
        "the cluster's definition of ClickstreamPipeline is older than this operator, and drops status.operator: upgrade it (helm upgrade \
         with crds.install=true, or kubectl apply --server-side --filename crds/)"
    )]
    DefinitionOlder,
    /// The cluster has no such kind of objects.
    #[error(
        "this cluster knows no {}: install the Gateway API's definitions, or leave out spec.gateway.httpRoute",
        .0.as_str()
    )]
    KindMissing(Kind),
    /// Objects of the pipeline's names belong to others.
    #[error("{}", not_owned(.0))]
    NotOwned(Vec<NotOwned>),
}

/// An object that has the name of one of a pipeline's, and is not its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOwned {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Kind and name of what it belongs to, if anything.
    pub owner: Option<(String, String)>,
}

/// The API server changes neither names of topics nor their partitions.
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
    /// One word for it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "Undecodable",
            Self::Invalid(_) => "InvalidSpec",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKeyUnfit { .. } => "SecretKeyUnfit",
            Self::SecretKeyMissing { .. } => "SecretKeyMissing",
            Self::TopicClaimed { .. } | Self::TopicOwned { .. } | Self::TwinOwned { .. } => "TopicClaimed",
            Self::TopicLost(_) | Self::Kafka(AdminError::Gone { .. }) => "TopicLost",
            Self::StateDiffers { .. } => "StateDiffers",
            Self::Offsets(_) => "OffsetsUnknown",
            Self::Recreating(_) => "RecreatingTopics",
            Self::KeptByAnother { .. } | Self::NotOurs(_) | Self::Kafka(AdminError::NotOurs(_)) => {
                "TopicSettingsDiffer"
            }
            Self::Kafka(AdminError::Unreachable { .. }) | Self::KafkaSlow { .. } => "KafkaUnreachable",
            Self::KafkaBusy { .. } => "WaitingForKafka",
            Self::Partitions(_) | Self::Kafka(AdminError::Partitions(_)) => "TopicPartitionsDiffer",
            Self::Kafka(AdminError::Missing { .. }) => "TopicMissing",
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

    /// Whether Kafka did not answer, so that nothing is known of the topics.
    pub fn is_unreachable(&self) -> bool {
        self.reason() == "KafkaUnreachable"
    }

    /// Whether this pass had no time to ask Kafka, so that what was found before is all that is known.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::KafkaBusy { .. })
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

/// How a pipeline gets another topic where that is somebody else's.
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
    let said = objects.iter().map(|NotOwned { kind, name, owner }| {
        let owner = match owner {
            Some((kind, name)) => format!("belongs to {kind} {name}"),
            None => "belongs to nobody".to_owned(),
        };
        format!("{} {name} {owner}", kind.as_str())
    });
    let said = said.collect::<Vec<_>>().join(", ");
    let of_pipeline = objects
        .iter()
        .any(|object| object.owner.as_ref().is_some_and(|(kind, _)| kind == weir_manifest::KIND));
    let way_out = if of_pipeline {
        "two pipelines whose names differ by -gateway or -generator cannot share a namespace: delete one of them, and apply it with \
         another metadata.name or in another namespace"
    } else {
        "delete them, or delete this pipeline and apply it with another metadata.name or in another namespace"
    };
    format!("{said}: left alone. This pipeline needs objects of these names: {way_out}")
}
