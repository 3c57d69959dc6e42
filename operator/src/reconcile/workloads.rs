//! How the pods are, as their controllers say. Pure.

use std::collections::BTreeMap;

use weir_manifest::{ClickstreamPipeline, ProcessorStatus, State};

use crate::Error;
use crate::conditions::{Aspect, Truth, Verdict};
use crate::object::{Found, Kind};
use crate::objects;

pub(super) type Objects = BTreeMap<(Kind, String), Found>;

/// The processors.
pub(super) fn processor(resource: &ClickstreamPipeline, objects: &Objects) -> (ProcessorStatus, Verdict) {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let set = objects.get(&(Kind::StatefulSet, name.to_owned()));
    let status = ProcessorStatus {
        replicas: set.map_or(0, |set| set.number("/status/replicas")),
        ready_replicas: set.map_or(0, |set| set.number("/status/readyReplicas")),
        selector: objects::processor_selector(name),
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

/// Whether no processor runs, and none will be started.
pub(super) fn ended(name: &str, objects: &Objects) -> bool {
    let Some(set) = objects.get(&(Kind::StatefulSet, name.to_owned())) else { return true };
    set.number("/spec/replicas") == 0
        && set.number("/status/replicas") == 0
        && set.number("/status/observedGeneration") >= set.number("/metadata/generation")
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

/// The simulated visitors.
pub(super) fn generator(resource: &ClickstreamPipeline, objects: &Objects) -> Verdict {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let verdict =
        |truth, reason: &str, message: &str| Verdict::new(Aspect::GeneratorAvailable, truth, reason, message);
    if !resource.spec.generator.enabled {
        return verdict(Truth::Yes, "Disabled", "spec.generator.enabled is false");
    }
    if resource.spec.state == State::Suspended {
        return verdict(Truth::NotYet, "Suspended", "spec.state is Suspended");
    }
    match objects.get(&(Kind::Deployment, format!("{name}-generator"))) {
        Some(deployment) => rollout(Aspect::GeneratorAvailable, "generators", deployment),
        None => verdict(Truth::NotYet, "Progressing", "no generator yet"),
    }
}

const ASPECTS: [Aspect; 3] =
    [Aspect::ProcessorAvailable, Aspect::GatewayAvailable, Aspect::GeneratorAvailable];

/// What is said of workloads that could not be looked at.
pub(super) fn unknown(error: &Error) -> [Verdict; 3] {
    ASPECTS.map(|aspect| Verdict { truth: Truth::Unknown, ..Verdict::of(aspect, error) })
}

/// Whether pods are where they are asked to be, also where that is nowhere. Of other verdicts: yes.
pub(super) fn is_settled(verdict: &Verdict) -> bool {
    !ASPECTS.contains(&verdict.aspect)
        || verdict.truth == Truth::Yes
        || ["Suspended", "ScaledToZero"].contains(&verdict.reason.as_str())
}

/// Whether all pods of a workload are of its newest template and ready.
fn rollout(aspect: Aspect, pods: &str, workload: &Found) -> Verdict {
    let wanted = workload.number("/spec/replicas");
    let ready = workload.number("/status/readyReplicas");
    let seen = workload.number("/status/observedGeneration") >= workload.number("/metadata/generation");
    let updated = if seen { workload.number("/status/updatedReplicas").min(wanted) } else { 0 };
    if ready >= wanted && updated >= wanted {
        return Verdict::new(aspect, Truth::Yes, "AllReady", format!("{pods}: {ready} of {wanted} ready"));
    }
    let message = if ready < wanted {
        format!("{pods}: {ready} of {wanted} ready")
    } else {
        format!("{pods}: {updated} of {wanted} as they should be, all ready")
    };
    Verdict::new(aspect, Truth::NotYet, "Progressing", message)
}

/// What the pods of a workload were configured with.
fn config_hash(workload: &Found) -> Option<String> {
    let annotations = &workload.manifest["spec"]["template"]["metadata"]["annotations"];
    annotations[objects::CONFIG_HASH].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_manifest::PipelineSpec;

    use super::*;

    /// A workload of generation 2 with two pods wanted.
    fn objects(kind: Kind, name: &str, observed: i32, ready: i32, updated: i32) -> Objects {
        let manifest = json!({
            "metadata": {"name": name, "generation": 2},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": observed, "replicas": 2, "readyReplicas": ready, "updatedReplicas": updated},
        });
        [((kind, name.to_owned()), Found { kind, manifest })].into()
    }

    fn shop(change: impl FnOnce(&mut PipelineSpec)) -> ClickstreamPipeline {
        let mut spec = PipelineSpec::default();
        change(&mut spec);
        ClickstreamPipeline::new("shop", spec)
    }

    #[test]
    fn pods_are_available_when_all_are_new_and_ready() {
        for (observed, ready, updated, truth, message) in [
            (2, 2, 2, Truth::Yes, "processors: 2 of 2 ready"),
            (2, 1, 2, Truth::NotYet, "processors: 1 of 2 ready"),
            (2, 2, 1, Truth::NotYet, "processors: 1 of 2 as they should be, all ready"),
            // What the controller says is of another template than the newest.
            (1, 2, 2, Truth::NotYet, "processors: 0 of 2 as they should be, all ready"),
        ] {
            let set = objects(Kind::StatefulSet, "shop", observed, ready, updated);
            let (status, verdict) = processor(&shop(|_| {}), &set);
            assert_eq!((verdict.truth, verdict.message.as_str()), (truth, message));
            assert_eq!((status.replicas, status.ready_replicas), (2, ready));
            let deployment = objects(Kind::Deployment, "shop-gateway", observed, ready, updated);
            assert_eq!(gateway(&shop(|_| {}), &deployment).truth, truth);
            let deployment = objects(Kind::Deployment, "shop-generator", observed, ready, updated);
            assert_eq!(generator(&shop(|_| {}), &deployment).truth, truth);
        }
        assert_eq!(processor(&shop(|_| {}), &Objects::new()).1.truth, Truth::NotYet);
        assert_eq!(gateway(&shop(|_| {}), &Objects::new()).truth, Truth::NotYet);
        assert_eq!(generator(&shop(|_| {}), &Objects::new()).truth, Truth::NotYet);
    }

    #[test]
    fn what_is_asked_not_to_run_is_said_to_be_so() {
        let set = objects(Kind::StatefulSet, "shop", 2, 2, 2);
        let suspended = shop(|spec| spec.state = State::Suspended);
        assert_eq!(processor(&suspended, &set).1.reason, "Suspending");
        assert_eq!(generator(&suspended, &set).reason, "Suspended");
        assert_eq!(generator(&shop(|spec| spec.generator.enabled = false), &set).reason, "Disabled");
        let mut ended = set;
        for found in ended.values_mut() {
            found.manifest = json!({"spec": {"replicas": 0}, "status": {"replicas": 0}});
        }
        assert_eq!(processor(&suspended, &ended).1.reason, "Suspended");
        assert_eq!(processor(&shop(|_| {}), &ended).1.reason, "ScaledToZero");
        assert_eq!(gateway(&shop(|spec| spec.gateway.replicas = 0), &ended).reason, "Disabled");
    }
}
