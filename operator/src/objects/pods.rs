//! The common part of all pods: identity, security, mounts, environment.

use serde_json::{Value, json};
use weir_manifest::FreeForm;

use super::{Input, merge::merge, selector};

/// The annotation whose change rolls the pods.
pub(crate) const CONFIG_HASH: &str = "weir.dev/config-hash";

/// Where the manifest is mounted.
const MANIFEST: &str = "/etc/weir/pipeline.yaml";

/// Where certificates of Kafka are mounted.
const CA: &str = "/etc/weir-kafka/ca";
const CLIENT: &str = "/etc/weir-kafka/client";

/// The component-specific part of a pod.
pub(super) struct Pod<'a> {
    pub(super) component: &'static str,
    pub(super) command: &'static str,
    pub(super) config_hash: &'a str,
    pub(super) env: Vec<Value>,
    /// A Secret that only this component reads: volume name, mount path, source.
    pub(super) secret: Option<(&'static str, &'static str, Value)>,
    pub(super) port: (&'static str, u16),
    /// Default requests and limits.
    pub(super) resources: Value,
    /// Termination grace period, seconds.
    pub(super) grace: u32,
    pub(super) template: &'a FreeForm,
}

/// A pod template that passes the restricted Pod Security profile, with `podTemplate` merged over it.
pub(super) fn template(input: &Input, pod: &Pod<'_>) -> Value {
    let (mounts, volumes) = files(input, pod);
    let (port_name, port) = pod.port;
    let mut env = vec![
        json!({"name": "WEIR_PIPELINE", "value": MANIFEST}),
        json!({"name": "WEIR_LOG_FORMAT", "value": "json"}),
    ];
    env.extend(pod.env.iter().cloned());
    env.extend(kafka_env(input));
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": port_name},
            "periodSeconds": period,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
        })
    };
    let mut template = json!({
        "metadata": {"annotations": {
            CONFIG_HASH: pod.config_hash,
            "prometheus.io/scrape": "true",
            "prometheus.io/port": port.to_string(),
        }},
        "spec": {
            "serviceAccountName": input.name(),
            // Nothing in a pod calls the API server.
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": pod.grace,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            // Not topologySpreadConstraints: a soft one for zones makes the scheduler pass over the others on nodes without a zone.
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                anti_affinity(input, pod.component, "kubernetes.io/hostname", 100),
                anti_affinity(input, pod.component, "topology.kubernetes.io/zone", 50),
            ]}},
            "containers": [{
                "name": pod.component,
                "image": input.image,
                "imagePullPolicy": "IfNotPresent",
                "args": [pod.command],
                "env": env,
                "ports": [{"name": port_name, "containerPort": port, "protocol": "TCP"}],
                "resources": pod.resources,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": true,
                },
                // An unreachable broker or a rebalance is no reason to restart: /healthz fails only when a thread hangs.
                "livenessProbe": probe("/healthz", 10, 6),
                "readinessProbe": probe("/readyz", 2, 3),
                "volumeMounts": mounts,
                // The pipeline's status repeats the last log line of a crashed container.
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }],
            "volumes": volumes,
        },
    });
    let pull: Vec<Value> =
        input.pipeline.spec.image_pull_secrets.iter().map(|secret| json!({"name": secret.name})).collect();
    if !pull.is_empty() {
        template["spec"]["imagePullSecrets"] = json!(pull);
    }
    merge(&mut template, &Value::Object(pod.template.0.clone()));
    // After the merge, so that `podTemplate` cannot change labels that selectors need.
    merge(&mut template["metadata"], &json!({"labels": input.labels(pod.component)}));
    template
}

fn anti_affinity(input: &Input, component: &str, topology: &str, weight: u32) -> Value {
    json!({
        "weight": weight,
        "podAffinityTerm": {
            "topologyKey": topology,
            "labelSelector": {"matchLabels": selector(input.name(), component)},
        },
    })
}

/// The manifest, and certificates where the document names some.
fn files(input: &Input, pod: &Pod<'_>) -> (Vec<Value>, Vec<Value>) {
    let mut mounts = vec![json!({"name": "pipeline", "mountPath": "/etc/weir", "readOnly": true})];
    let mut volumes = vec![json!({"name": "pipeline", "configMap": {"name": input.name()}})];
    let mut secret = |name: &str, path: &str, source: Value| {
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": true}));
        volumes.push(json!({"name": name, "secret": source}));
    };
    if let Some(tls) = &input.pipeline.spec.kafka.tls {
        if let Some(ca) = &tls.ca_secret_ref {
            let items = json!([{"key": ca.key, "path": "ca.crt"}]);
            secret("kafka-ca", CA, json!({"secretName": ca.name, "items": items}));
        }
        if let Some(client) = &tls.client_cert_secret_ref {
            secret("kafka-client", CLIENT, json!({"secretName": client.name}));
        }
    }
    if let Some((name, path, source)) = &pod.secret {
        secret(name, path, source.clone());
    }
    (mounts, volumes)
}

/// Environment variables for the access to Kafka.
fn kafka_env(input: &Input) -> Vec<Value> {
    let kafka = &input.pipeline.spec.kafka;
    let mut env = Vec::new();
    if let Some(tls) = &kafka.tls {
        if tls.ca_secret_ref.is_some() {
            env.push(json!({"name": "WEIR_KAFKA_CA", "value": format!("{CA}/ca.crt")}));
        }
        if tls.client_cert_secret_ref.is_some() {
            env.push(json!({"name": "WEIR_KAFKA_CERTIFICATE", "value": format!("{CLIENT}/tls.crt")}));
            env.push(json!({"name": "WEIR_KAFKA_KEY", "value": format!("{CLIENT}/tls.key")}));
        }
    }
    if let Some(sasl) = &kafka.sasl {
        for (name, key) in [("WEIR_KAFKA_USERNAME", "username"), ("WEIR_KAFKA_PASSWORD", "password")] {
            env.push(from_secret(name, &sasl.secret_ref.name, key));
        }
    }
    env
}

/// An environment variable with a secret's entry.
pub(super) fn from_secret(name: &str, secret: &str, key: &str) -> Value {
    json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
}

/// An environment variable with the pod's own name.
pub(super) fn pod_name(name: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}})
}

/// A drain may evict one ready pod at a time, and any pod that is not ready: without Kafka none is, and no node could be drained.
pub(super) fn disruption_budget(labels: &Value) -> Value {
    json!({"spec": {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": labels},
    }})
}
