//! What the operator reports about a pipeline.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClickstreamPipeline, Pipeline, PipelineSpec};

/// What the operator last saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineStatus {
    /// Generation of the document that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, KafkaReachable, TopicsSynced, ProcessorAvailable, GatewayAvailable, ...
    pub conditions: Vec<Condition>,
    /// The processors.
    pub processor: ProcessorStatus,
    /// The topics.
    pub topics: Vec<TopicStatus>,
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

/// A topic as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// Its id: a topic deleted and made anew has another.
    #[serde(rename = "topicID", skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Its partitions.
    pub partitions: i32,
    /// Whether this pipeline created it, and so may delete it.
    pub created: bool,
}

impl From<&ClickstreamPipeline> for Pipeline {
    /// The document of a custom resource, without what only Kubernetes needs. Not validated.
    fn from(resource: &ClickstreamPipeline) -> Self {
        let spec: PipelineSpec = resource.spec.clone();
        let mut pipeline = Self::new(resource.metadata.name.as_deref().unwrap_or_default(), spec);
        pipeline.metadata.namespace.clone_from(&resource.metadata.namespace);
        pipeline
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kube::CustomResourceExt;

    use super::*;

    #[test]
    fn the_definition_is_structural() {
        let crd = serde_json::to_value(ClickstreamPipeline::crd()).unwrap();
        assert_eq!(crd["metadata"]["name"], "clickstreampipelines.weir.dev");
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(crd["spec"]["names"]["shortNames"][0], "csp");
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["name"], "v1alpha1");
        let scale = &version["subresources"]["scale"];
        assert_eq!(scale["specReplicasPath"], ".spec.processor.replicas");
        assert_eq!(scale["statusReplicasPath"], ".status.processor.replicas");
        assert_eq!(scale["labelSelectorPath"], ".status.processor.selector");
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let processor = &spec["properties"]["processor"]["properties"];
        assert_eq!(processor["podTemplate"]["x-kubernetes-preserve-unknown-fields"], true);
        assert_eq!(spec["properties"]["state"]["enum"], serde_json::json!(["Running", "Suspended"]));
        // Kubernetes refuses both of these in a definition.
        let text = spec.to_string();
        assert!(!text.contains("\"additionalProperties\":false") && !text.contains("$ref"), "{text}");
    }

    #[test]
    fn a_resource_is_a_document() {
        let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
        assert_eq!(Pipeline::from(&resource), Pipeline::demo());
        resource.metadata.namespace = Some("web".to_owned());
        let pipeline = Pipeline::from(&resource);
        assert_eq!(pipeline.metadata.namespace.as_deref(), Some("web"));
        assert_eq!(pipeline.validate(), Ok(()));
    }
}
