//! The processors: a StatefulSet, because with a stable name a restarted pod gets its partitions back without a rebalance.

use serde_json::{Value, json};

use super::component::PROCESSOR;
use super::{
    Hashes, Input,
    pods::{self, Pod},
    selector,
};
use crate::object::{Kind, Object};

/// The pods' port for probes and metrics.
pub(super) const PORT: (&str, u16) = ("health", 8081);

/// The mount path of the pseudonym key.
const PII: &str = "/etc/weir-pii";

pub(super) fn objects(input: &Input, hashes: &Hashes) -> Vec<Object> {
    let spec = &input.pipeline.spec;
    let replicas = input.pipeline.processor_replicas();
    let mut env = vec![
        pods::pod_name("WEIR_INSTANCE"),
        json!({"name": "WEIR_HEALTH", "value": format!("0.0.0.0:{}", PORT.1)}),
    ];
    // A file, because the key is arbitrary bytes, and an environment variable holds only text.
    let key = spec.pii.hash_key_secret_ref.as_ref().map(|key| {
        env.push(json!({"name": "WEIR_PII_KEY_FILE", "value": format!("{PII}/key")}));
        let items = json!([{"key": key.key, "path": "key", "mode": 0o440}]);
        ("pii", PII, json!({"secretName": key.name, "items": items}))
    });
    let resources = if spec.processor.resources.is_empty() {
        json!({"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}})
    } else {
        Value::Object(spec.processor.resources.0.clone())
    };
    let template = pods::template(
        input,
        &Pod {
            component: PROCESSOR,
            command: "process",
            config_hash: &hashes.processor,
            env,
            secret: key,
            port: PORT,
            resources,
            // The final seal and commit take well under a second; more if a broker fails over meanwhile.
            grace: 45,
            template: &spec.processor.pod_template,
        },
    );
    let labels = selector(input.name(), PROCESSOR);
    // The pipeline's name without a suffix: a longer one would leave no room for the pods' revision label.
    let mut objects = vec![input.object(
        Kind::StatefulSet,
        input.name(),
        PROCESSOR,
        json!({"spec": {
            "replicas": replicas,
            // Pods do not wait for each other: partitions are assigned to the running ones.
            "podManagementPolicy": "Parallel",
            // A ready pod has restored its state. A rollout goes on to the next pod only if it also stayed ready.
            "minReadySeconds": 5,
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": labels},
            "template": template,
        }}),
    )];
    if replicas > 1 {
        objects.push(input.object(
            Kind::PodDisruptionBudget,
            input.name(),
            PROCESSOR,
            pods::disruption_budget(&labels),
        ));
    }
    objects
}
