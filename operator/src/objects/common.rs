//! Objects shared by all components: ServiceAccount, ConfigMap, NetworkPolicy.

use serde_json::json;

use super::{Input, config, processor};
use crate::object::{Kind, Object};

/// Builds the objects that belong to no single component.
const COMPONENT: &str = "pipeline";

pub(super) fn objects(input: &Input) -> Vec<Object> {
    let manifest = config::yaml(&config::resolved(&input.pipeline));
    vec![
        input.object(
            Kind::ServiceAccount,
            input.name(),
            COMPONENT,
            json!({"automountServiceAccountToken": false}),
        ),
        input.object(Kind::ConfigMap, input.name(), COMPONENT, json!({"data": {"pipeline.yaml": manifest}})),
        // Processors and the generator accept connections to their metrics port only.
        input.object(
            Kind::NetworkPolicy,
            input.name(),
            COMPONENT,
            json!({"spec": {
                "podSelector": {
                    "matchLabels": {
                        "app.kubernetes.io/name": "weir",
                        "app.kubernetes.io/instance": input.name(),
                    },
                    "matchExpressions": [{
                        "key": "app.kubernetes.io/component",
                        "operator": "In",
                        "values": ["processor", "generator"],
                    }],
                },
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": processor::PORT.0, "protocol": "TCP"}]}],
            }}),
        ),
    ]
}
