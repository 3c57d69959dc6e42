//! How the pods are, as their controllers say. Pure.

use std::collections::BTreeMap;

use weir_spec::{ClickstreamPipeline, ProcessorStatus, State};

use crate::build;
use crate::conditions::{Aspect, Truth, Verdict};
use crate::object::{Found, Kind};

type Objects = BTreeMap<(Kind, String), Found>;

/// The processors.
pub(super) fn processor(resource: &ClickstreamPipeline, objects: &Objects) -> (ProcessorStatus, Verdict) {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let set = objects.get(&(Kind::StatefulSet, name.to_owned()));
    let status = ProcessorStatus {
        replicas: set.map_or(0, |set| set.number("/status/replicas")),
        ready_replicas: set.map_or(0, |set| set.number("/status/readyReplicas")),
        selector: build::processor_selector(name),
        config_hash: set.and_then(config_hash).unwrap_or_default(),
    };
    let verdict = |truth, reason: &str, message: String| {
        Verdict::new(Aspect::ProcessorAvailable, truth, reason, message)
    };
    let Some(set) = set else {
        return (status, verdict(Truth::NotYet, "Progressing", "no processors yet".to_owned()));
    };
    let wanted = set.number("/spec/replicas");
    let suspended = resource.spec.state == State::Suspended;
    let verdict = if suspended && status.replicas > 0 {
        verdict(Truth::NotYet, "Suspending", format!("{} processors are still to end", status.replicas))
    } else if suspended {
        verdict(Truth::NotYet, "Suspended", "spec.state is Suspended".to_owned())
    } else if wanted == 0 {
        verdict(Truth::NotYet, "ScaledToZero", "spec.processor.replicas is 0".to_owned())
    } else {
        rollout(Aspect::ProcessorAvailable, "processors", set)
    };
    (status, verdict)
}

/// The gateway.
pub(super) fn gateway(resource: &ClickstreamPipeline, objects: &Objects) -> Verdict {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    if resource.spec.gateway.replicas == 0 {
        let message = "spec.gateway.replicas is 0";
        return Verdict::new(Aspect::GatewayAvailable, Truth::Yes, "Disabled", message);
    }
    match objects.get(&(Kind::Deployment, format!("{name}-gateway"))) {
        Some(deployment) => rollout(Aspect::GatewayAvailable, "gateways", deployment),
        None => Verdict::new(Aspect::GatewayAvailable, Truth::NotYet, "Progressing", "no gateway yet"),
    }
}

/// Whether all pods of a workload are of its newest template and ready.
fn rollout(aspect: Aspect, pods: &str, workload: &Found) -> Verdict {
    let wanted = workload.number("/spec/replicas");
    let ready = workload.number("/status/readyReplicas");
    let seen = workload.number("/status/observedGeneration") >= workload.number("/metadata/generation");
    let updated = if seen { workload.number("/status/updatedReplicas").min(wanted) } else { 0 };
    if ready >= wanted && updated >= wanted {
        return Verdict::new(aspect, Truth::Yes, "AllReady", format!("{wanted} {pods} are ready"));
    }
    let message = if ready < wanted {
        format!("{ready} of {wanted} {pods} are ready")
    } else {
        format!("{updated} of {wanted} {pods} are as they should be, all are ready")
    };
    Verdict::new(aspect, Truth::NotYet, "Progressing", message)
}

/// What the pods of a workload were configured with.
fn config_hash(workload: &Found) -> Option<String> {
    let annotations = &workload.manifest["spec"]["template"]["metadata"]["annotations"];
    annotations[build::CONFIG_HASH].as_str().map(str::to_owned)
}
