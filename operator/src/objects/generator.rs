//! The generator: simulated visitors.

use serde_json::json;
use weir_manifest::State;

use super::component::GENERATOR;
use super::{
    Hashes, Input,
    pods::{self, Pod},
    processor, selector,
};
use crate::object::{Kind, Object};

pub(super) fn objects(input: &Input, hashes: &Hashes) -> Vec<Object> {
    let spec = &input.pipeline.spec;
    if !spec.generator.enabled {
        return Vec::new();
    }
    let template = pods::template(
        input,
        &Pod {
            component: GENERATOR,
            command: "generate",
            config_hash: &hashes.generator,
            env: vec![json!({"name": "WEIR_HEALTH", "value": format!("0.0.0.0:{}", processor::PORT.1)})],
            secret: None,
            port: processor::PORT,
            resources: json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}),
            grace: 15,
            template: &spec.generator.pod_template,
        },
    );
    vec![input.object(
        Kind::Deployment,
        &format!("{}-{GENERATOR}", input.name()),
        GENERATOR,
        json!({"spec": {
            "replicas": i32::from(spec.state == State::Running),
            // Two at once would send at twice the rate.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(input.name(), GENERATOR)},
            "template": template,
        }}),
    )]
}
