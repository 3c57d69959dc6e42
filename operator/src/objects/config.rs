//! The manifest that pods read, and the hashes that roll the pods when it changes.

use std::mem;

use serde_json::{Value, json};
use weir_manifest::{
    Autoscaling, EventsTopic, Gateway, Generator, Pipeline, PipelineSpec, Processor, ResultsTopic, State,
    TopPagesTopic,
};

use super::{Input, component};

/// A changed hash rolls the pods, so each covers only the fields that its component uses.
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
        let of = |component: &str, secrets: &str| {
            hash(&[&yaml(&used_fields(&input.pipeline, component)), secrets])
        };
        Self {
            processor: of(component::PROCESSOR, &secrets),
            generator: of(component::GENERATOR, &kafka_secrets),
            gateway: of(component::GATEWAY, &secrets),
        }
    }
}

/// The fields that a component's pods use. The rest is set to defaults, so that hashes of documents without these fields equal those
/// of earlier operators, which included them.
fn used_fields(pipeline: &Pipeline, component: &str) -> Pipeline {
    let mut used = resolved(pipeline);
    let defaults = EventsTopic::default();
    let topics = &mut used.spec.topics;
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
        used.spec = PipelineSpec {
            kafka: used.spec.kafka,
            topics: used.spec.topics,
            generator: used.spec.generator,
            ..PipelineSpec::default()
        };
        return used;
    }
    events.compression = defaults.compression;
    used.spec.generator = Generator::default();
    // The only effect of the retention on processors is the snapshot interval.
    let interval = used.snapshot_interval();
    used.spec.topics.events.retention = defaults.retention;
    if component == component::PROCESSOR && used.snapshot_interval() != interval {
        used.spec.topics.events.retention = interval + interval + interval + interval;
    }
    used
}

/// A hash of the document's own fields about a component's pods: without Secrets, without what an operator derives from the document,
/// and without fields at their defaults, of which a later release has more. So every operator computes the same.
pub(super) fn spec_hash(pipeline: &Pipeline, component: &str) -> String {
    let spec = &pipeline.spec;
    let mut spec_fields = used_fields(pipeline, component).spec;
    // Scaling does not count.
    spec_fields.processor.replicas = Processor::default().replicas;
    spec_fields.image.clone_from(&spec.image);
    spec_fields.image_pull_secrets.clone_from(&spec.image_pull_secrets);
    match component {
        component::PROCESSOR => {
            spec_fields.processor.resources.clone_from(&spec.processor.resources);
            spec_fields.processor.pod_template.clone_from(&spec.processor.pod_template);
        }
        component::GENERATOR => spec_fields.generator.pod_template.clone_from(&spec.generator.pod_template),
        component::GATEWAY => spec_fields.gateway.pod_template.clone_from(&spec.gateway.pod_template),
        _ => {}
    }
    hash(&[&non_defaults(&json!(spec_fields), &json!(PipelineSpec::default())).to_string()])
}

/// The fields of a document that differ from their defaults.
fn non_defaults(fields: &Value, default: &Value) -> Value {
    match (fields, default) {
        (Value::Object(fields), Value::Object(default)) => {
            let default = |name: &str| default.get(name).unwrap_or(&Value::Null);
            let other = fields.iter().filter(|(name, value)| *value != default(name));
            other.map(|(name, value)| (name.clone(), non_defaults(value, default(name)))).collect()
        }
        (fields, _) => fields.clone(),
    }
}

/// The document as pods read it: without fields that only the operator uses, so that scaling or suspending changes nothing.
pub(super) fn resolved(pipeline: &Pipeline) -> Pipeline {
    let mut resolved = Pipeline::new(&pipeline.metadata.name, pipeline.spec.clone());
    let spec = &mut resolved.spec;
    spec.state = State::Running;
    spec.deletion_policy = weir_manifest::DeletionPolicy::default();
    spec.processor = Processor { autoscaling: Autoscaling::default(), ..Processor::default() };
    // More would lead to a warning, which the operator reports, not the pods.
    spec.processor.replicas = 1;
    spec.gateway = Gateway::default();
    spec.image = None;
    spec.image_pull_secrets = Vec::new();
    spec.generator.pod_template = weir_manifest::FreeForm::default();
    resolved
}

/// The document as it is mounted.
pub(super) fn yaml(pipeline: &Pipeline) -> String {
    // Free-form fields, the only ones whose serialization could fail, are not part of it.
    pipeline.to_yaml().unwrap_or_default()
}

/// The hashes of all Secrets, and of those that Kafka needs.
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
        // With its length, so that different lists of texts never concatenate to the same bytes.
        hasher.update(&text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
