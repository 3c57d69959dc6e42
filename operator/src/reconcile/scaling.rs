//! The autoscaler's part of a pass: sample, decide, write the number of processors.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_manifest::{AutoscalingMode, AutoscalingStatus, ClickstreamPipeline, Pipeline, State};

use crate::Error;
use crate::autoscale::{Decision, Measured, Memory, Now, Reason};
use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::Context;
use crate::error::api;
use crate::kafka::Connection;
use crate::object::MANAGER;

/// Minimum time between samples, milliseconds: other changes trigger passes too.
const MIN_SAMPLE_GAP_MS: i64 = 10_000;

/// The result of the autoscaler's step.
#[derive(Debug, Default)]
pub(super) struct Scaled {
    pub(super) condition: Option<Condition>,
    pub(super) notes: Vec<EventNote>,
    pub(super) error: Option<Error>,
}

/// Whether the autoscaler is on, dry run included.
pub(super) fn is_active(resource: &ClickstreamPipeline) -> bool {
    matches!(resource.spec.processor.autoscaling.mode, AutoscalingMode::Lag | AutoscalingMode::LagDryRun)
}

/// Samples the lag of the pipeline in its newest generation, and writes another number of processors if needed.
pub(super) async fn scale(
    context: &Context,
    resource: &ClickstreamPipeline,
    pipeline: &Pipeline,
    connection: &Connection,
    ready: i32,
    status: &mut Option<AutoscalingStatus>,
) -> Scaled {
    let settings = &resource.spec.processor.autoscaling;
    let off = |reason: &str, message: &str| {
        Condition::new(ConditionType::ScalingActive, ConditionStatus::FalseForNow, reason, message)
    };
    if !is_active(resource) {
        *status = None;
        let reported = resource.status.iter().flat_map(|status| &status.conditions);
        let reported =
            reported.into_iter().any(|condition| condition.type_ == ConditionType::ScalingActive.as_str());
        let condition = reported.then(|| off("Off", "spec.processor.autoscaling.mode leaves it to others"));
        return Scaled { condition, ..Scaled::default() };
    }
    if resource.spec.state == State::Suspended {
        return Scaled { condition: Some(off("Suspended", "spec.state is Suspended")), ..Scaled::default() };
    }
    let key = (resource.namespace().unwrap_or_default(), resource.name_any());
    let mut memory = context.memory(&key).unwrap_or_else(|| remembered(status.as_ref()));
    let at = Timestamp::now().as_millisecond();
    if memory.last_sample().is_some_and(|last| at - last < MIN_SAMPLE_GAP_MS) {
        return Scaled::default();
    }
    let sample = connection.sample(pipeline.windows_group(), pipeline.events_topic().to_owned()).await;
    let replicas = resource.spec.processor.replicas;
    let decision =
        memory.decide(settings, resource.spec.topics.events.partitions, Now { at, replicas, ready, sample });
    tracing::debug!(name = pipeline.metadata.name, ?decision, "autoscaling");
    let scaled = apply_decision(context, resource, &decision, &memory, status).await;
    // A dry run or a failed write changed nothing: the next decision uses the same samples.
    if decision.replicas != replicas && !is_dry(resource) && scaled.error.is_none() {
        memory.changed(at);
    }
    context.remember(key, memory, decision.measured);
    scaled
}

fn is_dry(resource: &ClickstreamPipeline) -> bool {
    resource.spec.processor.autoscaling.mode == AutoscalingMode::LagDryRun
}

async fn apply_decision(
    context: &Context,
    resource: &ClickstreamPipeline,
    decision: &Decision,
    memory: &Memory,
    status: &mut Option<AutoscalingStatus>,
) -> Scaled {
    let current = resource.spec.processor.replicas;
    let dry = is_dry(resource);
    let desired = status.as_ref().map(|status| status.desired_replicas);
    let condition = |status, message: &str| {
        Condition::new(ConditionType::ScalingActive, status, decision.reason.as_str(), message)
    };
    let mut scaled = Scaled::default();
    if decision.replicas != current {
        let text = sentence(current, decision, dry);
        scaled.condition = Some(condition(ConditionStatus::True, &text));
        if dry && desired == Some(decision.replicas) {
            scaled.condition = None;
            return scaled;
        }
        if !dry && let Err(error) = write(context, resource, decision.replicas).await {
            scaled.condition = Some(Condition::of(ConditionType::ScalingActive, &error));
            scaled.error = Some(error);
            return scaled;
        }
        scaled.notes.push(EventNote {
            warning: false,
            reason: decision.reason.as_str().to_owned(),
            action: "Scale",
            note: text.clone(),
        });
        let before = status.take().and_then(|status| status.last_scale_time);
        *status = Some(AutoscalingStatus {
            desired_replicas: decision.replicas,
            reason: text,
            last_scale_time: if dry { before } else { Some(Timestamp::now().to_string()) },
            events_per_processor: memory.capacity().map(|capacity| capacity.round() as i32),
        });
        return scaled;
    }
    let reported = resource.status.iter().flat_map(|status| &status.conditions);
    let reported =
        reported.into_iter().find(|condition| condition.type_ == ConditionType::ScalingActive.as_str());
    scaled.condition = match decision.reason {
        Reason::NoSample => Some(condition(
            ConditionStatus::False,
            "the offsets could not be read from Kafka: the number of processors stays",
        )),
        Reason::CapacityUnknown => Some(condition(
            ConditionStatus::True,
            "a processor's capacity is neither set (spec.processor.autoscaling.eventsPerProcessor) nor measured yet: no scaling down",
        )),
        // The condition keeps reporting the last change: the current rates are metrics.
        _ if reported.is_some_and(|old| old.status == "True" && old.reason != "CapacityUnknown") => None,
        Reason::Measuring | Reason::Settling => None,
        _ => {
            let message = format!("{current} processors are right");
            Some(Condition::new(
                ConditionType::ScalingActive,
                ConditionStatus::True,
                Reason::Steady.as_str(),
                message,
            ))
        }
    };
    // Without a decision the last wanted number stays in the status.
    let undecided = matches!(decision.reason, Reason::NoSample | Reason::Measuring | Reason::Settling);
    if desired.is_none() || desired != Some(current) && !undecided {
        let reason = "equal to spec.processor.replicas".to_owned();
        let kept = status.take().unwrap_or_default();
        *status = Some(AutoscalingStatus { desired_replicas: current, reason, ..kept });
    }
    scaled
}

/// Writes through the scale subresource, as other autoscalers do; in this mode the operator is the only writer of the field.
async fn write(context: &Context, resource: &ClickstreamPipeline, replicas: i32) -> Result<(), Error> {
    let namespace = resource.namespace().unwrap_or_default();
    let client: Api<ClickstreamPipeline> = Api::namespaced(context.client.clone(), &namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let name = resource.name_any();
    client.patch_scale(&name, &params, &patch).await.map_err(api(format!("scale {name}")))?;
    Ok(())
}

fn sentence(current: i32, decision: &Decision, dry: bool) -> String {
    let would = if dry { "would go" } else { "goes" };
    let why = match (decision.reason, decision.measured) {
        (Reason::OutOfBounds, _) => {
            "minReplicas, maxReplicas and the partitions allow no other number".to_owned()
        }
        (_, Some(Measured { lag, arriving, processed, capacity })) => {
            let capacity = capacity.map_or_else(
                || "the capacity of a processor is not known yet".to_owned(),
                |capacity| format!("capacity of a processor {capacity:.0}/s"),
            );
            format!("lag {lag} events, input {arriving:.0}/s, processed {processed:.0}/s, {capacity}")
        }
        (reason, None) => reason.as_str().to_owned(),
    };
    format!("{would} from {current} to {} processors: {why}", decision.replicas)
}

fn remembered(status: Option<&AutoscalingStatus>) -> Memory {
    let capacity = status.and_then(|status| status.events_per_processor);
    let changed = status.and_then(|status| status.last_scale_time.as_ref()?.parse::<Timestamp>().ok());
    Memory::new(capacity, changed.map(Timestamp::as_millisecond))
}

#[cfg(test)]
mod tests;
