//! The manifest that pods read, and the hashes by which they notice that they must read it anew.

use weir_manifest::{Autoscaling, Gateway, Generator, Pipeline, Processor, State};

use super::Input;

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
        let whole = resolved(&input.pipeline);
        let mut others = whole.clone();
        others.spec.generator = Generator::default();
        let generator = Pipeline::new(
            &whole.metadata.name,
            weir_manifest::PipelineSpec {
                kafka: whole.spec.kafka.clone(),
                topics: whole.spec.topics.clone(),
                generator: whole.spec.generator.clone(),
                ..weir_manifest::PipelineSpec::default()
            },
        );
        let (secrets, kafka_secrets) = secrets(input);
        let of = |pipeline: &Pipeline, secrets: &str| hash(&[&yaml(pipeline), secrets]);
        Self {
            processor: of(&others, &secrets),
            generator: of(&generator, &kafka_secrets),
            gateway: of(&others, &secrets),
        }
    }
}

/// The document as pods read it: without what only the operator acts upon, so that scaling or suspending changes nothing.
pub(super) fn resolved(pipeline: &Pipeline) -> Pipeline {
    let mut resolved = Pipeline::new(&pipeline.metadata.name, pipeline.spec.clone());
    let spec = &mut resolved.spec;
    spec.state = State::Running;
    spec.deletion_policy = weir_manifest::DeletionPolicy::default();
    spec.processor = Processor { autoscaling: Autoscaling::default(), ..Processor::default() };
    // More would be remarked upon, and it is not the pods' to say.
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
