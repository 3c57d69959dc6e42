//! What the operator reports about a pipeline.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineStatus {
    /// Generation of the document that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The operator that keeps it, NAMESPACE/NAME: another one with the same scope stands back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Another operator, which asks whether that one is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contender: Option<Contender>,
    /// Ready, and what makes it so: Valid, KafkaReachable, TopicsSynced, ProcessorAvailable, GatewayAvailable, ...
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The processors.
    pub processor: ProcessorStatus,
    /// What the autoscaler last decided; absent where it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// The generation of settings that it is in, once these have changed; absent in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationStatus>,
    /// The topics; those of ended generations too, until they are deleted.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub topics: Vec<TopicStatus>,
}

/// A generation: what is counted with one set of settings. Other settings begin the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// Its number, which the names of its internal topics and consumer groups carry.
    pub number: u32,
    /// The end of the last window that the generations before emitted (RFC 3339). Absent until this one has taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// The end up to which windows are not emitted by this generation (RFC 3339): later than the cut where events that they need had been
    /// deleted by retention. Absent until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_after: Option<String>,
}

/// An operator that stands back for another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contender {
    /// Which, NAMESPACE/NAME.
    pub operator: String,
    /// Since when it has had no answer, by its own clock (RFC 3339).
    pub since: String,
}

/// The processors as they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessorStatus {
    /// Pods that there are.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
    /// Label selector of the pods, for autoscalers.
    pub selector: String,
    /// Hash of what the pods were configured with.
    pub config_hash: String,
}

/// The autoscaler's last decision. It changes with the decision only; what is measured meanwhile are metrics of the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalingStatus {
    /// Processors that it wants.
    pub desired_replicas: i32,
    /// Why.
    pub reason: String,
    /// When it last changed the number (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<String>,
    /// Events a second that one processor was seen to manage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_processor: Option<i32>,
}

/// A topic as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// Its id: a topic deleted and made anew has another.
    #[serde(rename = "topicID", default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Its partitions.
    #[serde(default)]
    pub partitions: i32,
    /// Whether this pipeline created it, and so may delete it.
    #[serde(default)]
    pub created: bool,
}
