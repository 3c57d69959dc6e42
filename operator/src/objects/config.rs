//! The manifest that pods read, and the hashes by which they notice that they must read it anew.

use std::mem;

use serde_json::{Value, json};
use weir_manifest::{
    Autoscaling, EventsTopic, Gateway, Generator, Pipeline, PipelineSpec, Processor, ResultsTopic, State,
    TopPagesTopic,
};

use super::{Input, component};

/// Pods with another hash than before are rolled: so each holds only what its own pods act upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Of the processors.
    pub processor: String,
    /// Of the generator.
    pub generator: String,
    /// Of the gateway.
    pub gateway: String,
}

impl Hashes {
    /// The hashes of a pipeline.
    pub fn of(input: &Input) -> Self {
        let (secrets, kafka_secrets) = secrets(input);
        let of =
            |component: &str, secrets: &str| hash(&[&yaml(&acted_upon(&input.pipeline, component)), secrets]);
        Self {
            processor: of(component::PROCESSOR, &secrets),
            generator: of(component::GENERATOR, &kafka_secrets),
            gateway: of(component::GATEWAY, &secrets),
        }
    }
}

/// The part of the document that a component's pods act upon. The rest is left at its defaults, so that hashes of documents that say
/// nothing of it are those of operators that took it for theirs.
fn acted_upon(pipeline: &Pipeline, component: &str) -> Pipeline {
    let mut acted = resolved(pipeline);
    let defaults = EventsTopic::default();
    let topics = &mut acted.spec.topics;
    topics.results = ResultsTopic {
        name: mem::take(&mut topics.results.name),
        partitions: topics.results.partitions,
        ..ResultsTopic::default()
    };
    topics.top_pages =
        TopPagesTopic { name: mem::take(&mut topics.top_pages.name), ..TopPagesTopic::default() };
    let events = &mut topics.events;
    events.replicas = defaults.replicas;
    if component != component::PROCESSOR {
        events.management = defaults.management;
    }
    if component == component::GENERATOR {
        events.retention = defaults.retention;
        acted.spec = PipelineSpec {
            kafka: acted.spec.kafka,
            topics: acted.spec.topics,
            generator: acted.spec.generator,
            ..PipelineSpec::default()
        };
        return acted;
    }
    events.compression = defaults.compression;
    acted.spec.generator = Generator::default();
    // Of the retention processors take the time between snapshots alone.
    let interval = acted.snapshot_interval();
    acted.spec.topics.events.retention = defaults.retention;
    if component == component::PROCESSOR && acted.snapshot_interval() != interval {
        acted.spec.topics.events.retention = interval + interval + interval + interval;
    }
    acted
}

/// A hash of what the document itself says of a component's pods. Neither Secrets nor what an operator makes of the document are in it, nor
/// fields left at their defaults, of which the next release has more: so it is the same for every operator.
pub(super) fn spec_hash(pipeline: &Pipeline, component: &str) -> String {
    let spec = &pipeline.spec;
    let mut said = acted_upon(pipeline, component).spec;
    // As asked for by nobody.
    said.processor.replicas = Processor::default().replicas;
    said.image.clone_from(&spec.image);
    said.image_pull_secrets.clone_from(&spec.image_pull_secrets);
    match component {
        component::PROCESSOR => {
            said.processor.resources.clone_from(&spec.processor.resources);
            said.processor.pod_template.clone_from(&spec.processor.pod_template);
        }
        component::GENERATOR => said.generator.pod_template.clone_from(&spec.generator.pod_template),
        component::GATEWAY => said.gateway.pod_template.clone_from(&spec.gateway.pod_template),
        _ => {}
    }
    hash(&[&beyond(&json!(said), &json!(PipelineSpec::default())).to_string()])
}

/// The fields of a document that are not as by default.
fn beyond(said: &Value, default: &Value) -> Value {
    match (said, default) {
        (Value::Object(said), Value::Object(default)) => {
            let default = |name: &str| default.get(name).unwrap_or(&Value::Null);
            let other = said.iter().filter(|(name, value)| *value != default(name));
            other.map(|(name, value)| (name.clone(), beyond(value, default(name)))).collect()
        }
        (said, _) => said.clone(),
    }
}

/// The document as pods read it: without what only the operator acts upon, so that scaling or suspending changes nothing.
pub(super) fn resolved(pipeline: &Pipeline) -> Pipeline {
    let mut resolved = Pipeline::new(&pipeline.metadata.name, pipeline.spec.clone());
    let spec = &mut resolved.spec;
    spec.state = State::Running;
    spec.deletion_policy = weir_manifest::DeletionPolicy::default();
    spec.processor = Processor { autoscaling: Autoscaling::default(), ..Processor::default() };
    // More would be a warning, which is not the pods' to give.
    spec.processor.replicas = 1;
    spec.gateway = Gateway::default();
    spec.image = None;
    spec.image_pull_secrets = Vec::new();
    spec.generator.pod_template = weir_manifest::FreeForm::default();
    resolved
}

/// The document in the form in which it is mounted.
pub(super) fn yaml(pipeline: &Pipeline) -> String {
    // Free-form fields, the only ones that could fail, are left out of what pods read.
    pipeline.to_yaml().unwrap_or_default()
}

/// The hashes of all secrets, and of those alone that Kafka needs.
fn secrets(input: &Input) -> (String, String) {
    let pii = input.pipeline.spec.pii.hash_key_secret_ref.as_ref().map(|key| key.name.as_str());
    let joined = |keep: &dyn Fn(&str) -> bool| {
        let kept = input.secrets.iter().filter(|(name, _)| keep(name));
        kept.map(|(name, hash)| format!("{name}={hash}\n")).collect::<String>()
    };
    (joined(&|_| true), joined(&|name| Some(name) != pii))
}

/// A hash of texts, short enough for a label.
pub(crate) fn hash(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        // With its length, so that no two lists of texts run together alike.
        hasher.update(&text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
