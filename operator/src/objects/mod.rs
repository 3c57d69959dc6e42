//! A pipeline's desired objects. Pure: the same input gives the same objects, byte for byte.

mod common;
mod component;
mod config;
mod gateway;
mod generator;
mod merge;
mod pods;
mod privileges;
mod processor;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_manifest::Pipeline;

pub use self::config::Hashes;
pub(crate) use self::merge::entry_key;
pub(crate) use self::pods::CONFIG_HASH;
pub use self::privileges::refused_fields;
use crate::object::{HASH, Kind, MANAGER, Object};

/// The annotation of a workload with the hash of its pod template: only this shows that a field was removed from the template.
pub(crate) const TEMPLATE_HASH: &str = "weir.dev/template-hash";

/// The annotation of a workload with the hash of the document's fields about its pods.
pub(crate) const SPEC_HASH: &str = "weir.dev/spec-hash";

/// The label with the component that an object or pod belongs to.
pub(crate) const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// Input of [`build`]. Callers validate the pipeline first.
#[derive(Debug, Clone)]
pub struct Input {
    /// The document. It is valid.
    pub pipeline: Pipeline,
    /// The resource's uid, for owner references.
    pub uid: String,
    /// The image of `weir`.
    pub image: String,
    /// Labels of its objects and pods, and annotations of its objects, beside the operator's own.
    pub labels: BTreeMap<String, String>,
    /// As `labels`.
    pub annotations: BTreeMap<String, String>,
    /// A hash of the contents of each secret that the document names.
    pub secrets: BTreeMap<String, String>,
}

impl Input {
    fn name(&self) -> &str {
        &self.pipeline.metadata.name
    }

    fn namespace(&self) -> &str {
        self.pipeline.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The labels of an object, and of pods.
    fn labels(&self, component: &str) -> Value {
        let mut labels = json!(self.labels);
        merge::merge(&mut labels, &labels_of(self.name(), component));
        labels
    }

    /// An object of this pipeline; `body` is everything except the metadata.
    fn object(&self, kind: Kind, name: &str, component: &str, body: Value) -> Object {
        let mut manifest = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": {
                "name": name,
                "namespace": self.namespace(),
                "labels": self.labels(component),
                "ownerReferences": [{
                    "apiVersion": weir_manifest::API_VERSION,
                    "kind": weir_manifest::KIND,
                    "name": self.name(),
                    "uid": self.uid,
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
        });
        if !self.annotations.is_empty() {
            manifest["metadata"]["annotations"] = json!(self.annotations);
        }
        merge::merge(&mut manifest, &body);
        if matches!(kind, Kind::StatefulSet | Kind::Deployment) {
            let hash = config::hash(&[&manifest["spec"]["template"].to_string()]);
            manifest["metadata"]["annotations"][TEMPLATE_HASH] = json!(hash);
            manifest["metadata"]["annotations"][SPEC_HASH] =
                json!(config::spec_hash(&self.pipeline, component));
        }
        let hash = config::hash(&[&manifest.to_string()]);
        manifest["metadata"]["annotations"][HASH] = json!(hash);
        Object { kind, name: name.to_owned(), manifest }
    }
}

/// All objects of a pipeline, in the order of their creation.
pub fn build(input: &Input) -> Vec<Object> {
    let hashes = Hashes::of(input);
    let mut objects = common::objects(input);
    objects.extend(processor::objects(input, &hashes));
    objects.extend(generator::objects(input, &hashes));
    objects.extend(gateway::objects(input, &hashes));
    objects.sort_by_key(|object| object.kind);
    objects
}

/// The operator's own labels.
fn labels_of(instance: &str, component: &str) -> Value {
    let mut labels = selector(instance, component);
    labels["app.kubernetes.io/managed-by"] = json!(MANAGER);
    labels
}

/// The labels that select a component's pods.
fn selector(instance: &str, component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "weir",
        "app.kubernetes.io/instance": instance,
        COMPONENT_LABEL: component,
    })
}

/// The selector of the processors' pods as autoscalers expect it (a string).
pub fn processor_selector(pipeline: &str) -> String {
    let selector = selector(pipeline, component::PROCESSOR);
    let pairs = selector.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

/// The selector of all objects that the operator created for a pipeline.
pub fn owned_selector(pipeline: &str) -> String {
    format!("app.kubernetes.io/instance={pipeline},app.kubernetes.io/managed-by={MANAGER}")
}
