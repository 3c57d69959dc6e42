//! The document's types and their defaults.

// Each printer column has a type: kube's attribute, of which clippy sees a second one.
#![cfg_attr(feature = "kube", allow(clippy::duplicated_attributes))]

mod exposure;
mod kafka;
mod limits;
mod privacy;
#[cfg(feature = "kube")]
mod resource;
mod topics;
mod window;
mod workloads;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use exposure::{GatewayService, HttpRoute, Ingress, ParentRef, ServiceType};
pub use kafka::{Kafka, Sasl, SaslMechanism, SchemaRegistry, Tls};
pub use limits::Limits;
pub use privacy::{DeadLetterPayload, DeadLetters, IdPolicy, IpPolicy, Pii, UserAgentPolicy};
pub use topics::{Compression, EventsTopic, Management, ResultsTopic, TopPagesTopic, Topics};
pub use window::{Ranking, Window};
pub use workloads::{Autoscaling, AutoscalingMode, Gateway, Generator, Processor, Profile};

use crate::pattern;

/// The `apiVersion` of the document.
pub const API_VERSION: &str = "weir.dev/v1alpha1";

/// The `kind` of the document.
pub const KIND: &str = "ClickstreamPipeline";

/// A pipeline's whole description. One made by [`from_yaml`](Self::from_yaml) is valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// What it is called.
    pub metadata: Metadata,
    /// What it is.
    #[serde(default)]
    pub spec: PipelineSpec,
    /// The number of its generation, which the names of its internal topics and groups carry: not in the document, but in the topic of
    /// generations.
    #[serde(skip, default = "first_generation")]
    pub generation: u32,
}

/// The number of a pipeline's first generation, in which the names of internal topics and groups are plain.
pub const FIRST_GENERATION: u32 = 1;

const fn first_generation() -> u32 {
    FIRST_GENERATION
}

/// What a pipeline is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Its name, which also begins the names of its internal topics and of its objects in Kubernetes.
    #[schemars(regex(pattern = pattern::NAME))]
    pub name: String,
    /// Where it lives in Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Free.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a pipeline is: everything that is not said has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "kube", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "kube",
    kube(
        group = "weir.dev",
        version = "v1alpha1",
        kind = "ClickstreamPipeline",
        shortname = "csp",
        namespaced,
        status = "crate::PipelineStatus",
        derive = "PartialEq",
        doc = "Real-time analytics of one clickstream: its Kafka topics, the processors that count, simulated visitors, and \
               the gateway that serves the results.",
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
            description = "Whether everything that the pipeline is made of is there and runs."
        ),
        printcolumn(
            name = "State",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
            description = "What it is at."
        ),
        printcolumn(
            name = "Replicas",
            type_ = "integer",
            json_path = ".status.processor.readyReplicas",
            description = "Processors that are ready."
        ),
        printcolumn(
            name = "Partitions",
            type_ = "integer",
            json_path = ".spec.topics.events.partitions",
            description = "Partitions of the events topic: the most processors that can share the work."
        ),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
            priority = 1
        ),
        scale(
            spec_replicas_path = ".spec.processor.replicas",
            status_replicas_path = ".status.processor.replicas",
            label_selector_path = ".status.processor.selector"
        )
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PipelineSpec {
    /// Whether it runs.
    pub state: State,
    /// What becomes of its topics when it is deleted.
    pub deletion_policy: DeletionPolicy,
    /// The image of all pods. Absent: the operator's, and when that changes, pipelines get it one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::IMAGE))]
    pub image: Option<String>,
    /// Secrets of the pipeline's namespace with which the image is pulled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<ObjectRef>,
    /// The Kafka cluster.
    pub kafka: Kafka,
    /// Its public topics.
    pub topics: Topics,
    /// Which events a result covers, and how long it waits for them.
    pub window: Window,
    /// The pods that compute the results.
    pub processor: Processor,
    /// Simulated visitors.
    pub generator: Generator,
    /// The pods that answer REST and WebSocket and serve the dashboard.
    pub gateway: Gateway,
    /// The top pages and the trending pages of a window.
    pub ranking: Ranking,
    /// What a partition's state may hold at most.
    #[serde(skip_serializing_if = "Limits::are_default")]
    pub limits: Limits,
    /// What is hidden of visitors.
    pub pii: Pii,
    /// What is kept of records that cannot be counted.
    pub dead_letters: DeadLetters,
}

/// Whether a pipeline runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It does.
    #[default]
    Running,
    /// Processors drain and stop; topics and gateway stay.
    Suspended,
}

/// What becomes of a deleted pipeline's topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// Those that this pipeline created are deleted.
    Delete,
}

/// An object in the pipeline's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// Its name.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub name: String,
}

/// One entry of a secret in the pipeline's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The secret's name.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub name: String,
    /// The entry's name.
    #[schemars(regex(pattern = pattern::SECRET_KEY))]
    pub key: String,
}

/// Fields of Kubernetes' own types, passed on as they are: the API server knows best what is right in them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FreeForm(pub serde_json::Map<String, serde_json::Value>);

impl FreeForm {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl JsonSchema for FreeForm {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FreeForm".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}
