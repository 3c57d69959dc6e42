//! The gateway: REST, WebSocket and the dashboard. Every replica holds all windows, so any may answer.

use serde_json::json;

use super::component::GATEWAY;
use super::{
    Hashes, Input,
    pods::{self, Pod},
    selector,
};
use crate::object::{Kind, Object};

/// The port of its pods and of its service.
const PORT: (&str, u16) = ("http", 8080);

pub(super) fn objects(input: &Input, hashes: &Hashes) -> Vec<Object> {
    let gateway = &input.pipeline.spec.gateway;
    if gateway.replicas == 0 {
        return Vec::new();
    }
    let name = format!("{}-{GATEWAY}", input.name());
    let labels = selector(input.name(), GATEWAY);
    let template = pods::template(
        input,
        &Pod {
            component: GATEWAY,
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
    let annotations = &gateway.service.annotations;
    let service = if annotations.is_empty() { json!({}) } else { json!({"annotations": annotations}) };
    let mut objects = vec![
        input.object(
            Kind::Deployment,
            &name,
            GATEWAY,
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
            GATEWAY,
            json!({"metadata": service, "spec": {
                "type": gateway.service.kind.as_str(),
                "selector": labels,
                "ports": [{"name": PORT.0, "port": 80, "targetPort": PORT.0, "protocol": "TCP", "appProtocol": "http"}],
            }}),
        ),
        input.object(
            Kind::NetworkPolicy,
            &name,
            GATEWAY,
            json!({"spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": PORT.0, "protocol": "TCP"}]}],
            }}),
        ),
    ];
    objects.extend(gateway.ingress.as_ref().map(|ingress| {
        let service = json!({"name": name, "port": {"name": PORT.0}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]);
        let mut spec = json!({"rules": [{"host": ingress.host, "http": {"paths": paths}}]});
        if let Some(class) = &ingress.class_name {
            spec["ingressClassName"] = json!(class);
        }
        if let Some(secret) = &ingress.tls_secret_name {
            spec["tls"] = json!([{"hosts": [ingress.host], "secretName": secret}]);
        }
        let body = json!({"metadata": {"annotations": ingress.annotations}, "spec": spec});
        input.object(Kind::Ingress, &name, GATEWAY, body)
    }));
    objects.extend(gateway.http_route.as_ref().map(|route| {
        let mut spec = json!({
            "parentRefs": route.parent_refs,
            "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
        });
        if !route.hostnames.is_empty() {
            spec["hostnames"] = json!(route.hostnames);
        }
        let body = json!({"metadata": {"annotations": route.annotations}, "spec": spec});
        input.object(Kind::HttpRoute, &name, GATEWAY, body)
    }));
    if gateway.replicas > 1 {
        let body = pods::disruption_budget(&labels);
        objects.push(input.object(Kind::PodDisruptionBudget, &name, GATEWAY, body));
    }
    objects
}
