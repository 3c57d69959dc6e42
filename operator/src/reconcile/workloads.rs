//! Conditions of the workloads, from the status of their controllers. Pure.

use std::collections::BTreeMap;

use weir_manifest::{ClickstreamPipeline, ProcessorStatus, State};

use crate::Error;
use crate::conditions::{Condition, ConditionStatus, ConditionType};
use crate::object::{Found, Kind};
use crate::objects;

pub(super) type Objects = BTreeMap<(Kind, String), Found>;

/// The processors' status and condition.
pub(super) fn processor(resource: &ClickstreamPipeline, objects: &Objects) -> (ProcessorStatus, Condition) {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let set = objects.get(&(Kind::StatefulSet, name.to_owned()));
    let status = ProcessorStatus {
        replicas: set.map_or(0, |set| set.number("/status/replicas")),
        ready_replicas: set.map_or(0, |set| set.number("/status/readyReplicas")),
        selector: objects::processor_selector(name),
        config_hash: set.and_then(config_hash).unwrap_or_default(),
    };
    let condition = |status, reason: &str, message: String| {
        Condition::new(ConditionType::ProcessorAvailable, status, reason, message)
    };
    let Some(set) = set else {
        return (
            status,
            condition(ConditionStatus::FalseForNow, "Progressing", "no processors yet".to_owned()),
        );
    };
    let wanted = set.number("/spec/replicas");
    let suspended = resource.spec.state == State::Suspended;
    let condition = if suspended && status.replicas > 0 {
        condition(
            ConditionStatus::FalseForNow,
            "Suspending",
            format!("{} processors have not ended yet", status.replicas),
        )
    } else if suspended {
        condition(ConditionStatus::FalseForNow, "Suspended", "spec.state is Suspended".to_owned())
    } else if wanted == 0 {
        condition(ConditionStatus::FalseForNow, "ScaledToZero", "spec.processor.replicas is 0".to_owned())
    } else {
        rollout(ConditionType::ProcessorAvailable, "processors", set)
    };
    (status, condition)
}

/// Whether no processor runs or will be started.
pub(super) fn ended(name: &str, objects: &Objects) -> bool {
    let Some(set) = objects.get(&(Kind::StatefulSet, name.to_owned())) else { return true };
    set.number("/spec/replicas") == 0
        && set.number("/status/replicas") == 0
        && set.number("/status/observedGeneration") >= set.number("/metadata/generation")
}

/// The gateway's condition.
pub(super) fn gateway(resource: &ClickstreamPipeline, objects: &Objects) -> Condition {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    if resource.spec.gateway.replicas == 0 {
        let message = "spec.gateway.replicas is 0";
        return Condition::new(ConditionType::GatewayAvailable, ConditionStatus::True, "Disabled", message);
    }
    match objects.get(&(Kind::Deployment, format!("{name}-gateway"))) {
        Some(deployment) => rollout(ConditionType::GatewayAvailable, "gateways", deployment),
        None => Condition::new(
            ConditionType::GatewayAvailable,
            ConditionStatus::FalseForNow,
            "Progressing",
            "no gateway yet",
        ),
    }
}

/// The generator's condition.
pub(super) fn generator(resource: &ClickstreamPipeline, objects: &Objects) -> Condition {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let condition = |status, reason: &str, message: &str| {
        Condition::new(ConditionType::GeneratorAvailable, status, reason, message)
    };
    if !resource.spec.generator.enabled {
        return condition(ConditionStatus::True, "Disabled", "spec.generator.enabled is false");
    }
    if resource.spec.state == State::Suspended {
        return condition(ConditionStatus::FalseForNow, "Suspended", "spec.state is Suspended");
    }
    match objects.get(&(Kind::Deployment, format!("{name}-generator"))) {
        Some(deployment) => rollout(ConditionType::GeneratorAvailable, "generators", deployment),
        None => condition(ConditionStatus::FalseForNow, "Progressing", "no generator yet"),
    }
}

const AVAILABILITY: [ConditionType; 3] =
    [ConditionType::ProcessorAvailable, ConditionType::GatewayAvailable, ConditionType::GeneratorAvailable];

/// Conditions of workloads that could not be read.
pub(super) fn unknown(error: &Error) -> [Condition; 3] {
    AVAILABILITY.map(|type_| Condition { status: ConditionStatus::Unknown, ..Condition::of(type_, error) })
}

/// Whether a workload has all pods that it should have, which may be none. True for other conditions.
pub(super) fn is_settled(condition: &Condition) -> bool {
    !AVAILABILITY.contains(&condition.type_)
        || condition.status == ConditionStatus::True
        || ["Suspended", "ScaledToZero"].contains(&condition.reason.as_str())
}

/// Whether all pods of a workload are of its newest template and ready.
fn rollout(type_: ConditionType, pods: &str, workload: &Found) -> Condition {
    let wanted = workload.number("/spec/replicas");
    let ready = workload.number("/status/readyReplicas");
    let seen = workload.number("/status/observedGeneration") >= workload.number("/metadata/generation");
    let updated = if seen { workload.number("/status/updatedReplicas").min(wanted) } else { 0 };
    if ready >= wanted && updated >= wanted {
        return Condition::new(
            type_,
            ConditionStatus::True,
            "AllReady",
            format!("{pods}: {ready} of {wanted} ready"),
        );
    }
    let message = if ready < wanted {
        format!("{pods}: {ready} of {wanted} ready")
    } else {
        format!("{pods}: {updated} of {wanted} updated, all ready")
    };
    Condition::new(type_, ConditionStatus::FalseForNow, "Progressing", message)
}

/// The config hash of a workload's pods.
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
        for (observed, ready, updated, status, message) in [
            (2, 2, 2, ConditionStatus::True, "processors: 2 of 2 ready"),
            (2, 1, 2, ConditionStatus::FalseForNow, "processors: 1 of 2 ready"),
            (2, 2, 1, ConditionStatus::FalseForNow, "processors: 1 of 2 updated, all ready"),
            // The controller's status is of an older template.
            (1, 2, 2, ConditionStatus::FalseForNow, "processors: 0 of 2 updated, all ready"),
        ] {
            let set = objects(Kind::StatefulSet, "shop", observed, ready, updated);
            let (pods, condition) = processor(&shop(|_| {}), &set);
            assert_eq!((condition.status, condition.message.as_str()), (status, message));
            assert_eq!((pods.replicas, pods.ready_replicas), (2, ready));
            let deployment = objects(Kind::Deployment, "shop-gateway", observed, ready, updated);
            assert_eq!(gateway(&shop(|_| {}), &deployment).status, status);
            let deployment = objects(Kind::Deployment, "shop-generator", observed, ready, updated);
            assert_eq!(generator(&shop(|_| {}), &deployment).status, status);
        }
        assert_eq!(processor(&shop(|_| {}), &Objects::new()).1.status, ConditionStatus::FalseForNow);
        assert_eq!(gateway(&shop(|_| {}), &Objects::new()).status, ConditionStatus::FalseForNow);
        assert_eq!(generator(&shop(|_| {}), &Objects::new()).status, ConditionStatus::FalseForNow);
    }

    #[test]
    fn suspended_and_disabled_workloads_are_reported() {
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
