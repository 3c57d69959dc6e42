//! The gateway: REST, WebSocket and the dashboard. Every replica is whole, so any may answer.

use serde_json::json;

use super::{
    Hashes, Input,
    pods::{self, Pod},
    selector,
};
use crate::object::{Kind, Object};

const COMPONENT: &str = "gateway";

/// The port of its pods and of its service.
const PORT: (&str, u16) = ("http", 8080);

pub(super) fn objects(input: &Input, hashes: &Hashes) -> Vec<Object> {
    let gateway = &input.pipeline.spec.gateway;
    if gateway.replicas == 0 {
        return Vec::new();
    }
    let name = format!("{}-{COMPONENT}", input.name());
    let labels = selector(input.name(), COMPONENT);
    let template = pods::template(
        input,
        &Pod {
            component: COMPONENT,
            command: "serve",
            config_hash: &hashes.gateway,
            env: vec![json!({"name": "WEIR_LISTEN", "value": format!("0.0.0.0:{}", PORT.1)})],
            secret: None,
            port: PORT,
            resources: json!({"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}),
            grace: 30,
            template: &gateway.pod_template,
        },
    );
    let mut objects = vec![
        input.object(
            Kind::Deployment,
            &name,
            COMPONENT,
            json!({"spec": {
                "replicas": gateway.replicas,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": labels},
                "template": template,
            }}),
        ),
        input.object(
            Kind::Service,
            &name,
            COMPONENT,
            json!({"spec": {
                "type": "ClusterIP",
                "selector": labels,
                "ports": [{"name": PORT.0, "port": 80, "targetPort": PORT.0, "protocol": "TCP", "appProtocol": "http"}],
            }}),
        ),
        input.object(
            Kind::NetworkPolicy,
            &name,
            COMPONENT,
            json!({"spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": PORT.0, "protocol": "TCP"}]}],
            }}),
        ),
    ];
    if gateway.replicas > 1 {
        let body = pods::disruption_budget(&labels);
        objects.push(input.object(Kind::PodDisruptionBudget, &name, COMPONENT, body));
    }
    objects
}
