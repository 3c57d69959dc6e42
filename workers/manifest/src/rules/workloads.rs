//! Rules about workloads.

use crate::{AutoscalingMode, PipelineSpec, Problem};

pub(super) fn autoscaling_is_a_range(spec: &PipelineSpec) -> Vec<Problem> {
    let scaling = &spec.processor.autoscaling;
    if scaling.min_replicas <= scaling.max_replicas {
        return Vec::new();
    }
    let message =
        format!("found {}, expected at most maxReplicas ({})", scaling.min_replicas, scaling.max_replicas);
    vec![Problem::new("spec.processor.autoscaling.minReplicas", message)]
}

pub(super) fn catching_up_takes_time(spec: &PipelineSpec) -> Vec<Problem> {
    let catch_up = spec.processor.autoscaling.catch_up;
    if catch_up.as_millis() >= 1_000 {
        return Vec::new();
    }
    let message = format!("found {catch_up}, expected at least 1s: nothing is worked off in no time");
    vec![Problem::new("spec.processor.autoscaling.catchUp", message)]
}

pub(super) fn replicas_beyond_partitions(spec: &PipelineSpec) -> Option<Problem> {
    beyond_partitions(spec, "spec.processor.replicas", spec.processor.replicas)
}

pub(super) fn maximum_beyond_partitions(spec: &PipelineSpec) -> Option<Problem> {
    let scaling = &spec.processor.autoscaling;
    if !matches!(scaling.mode, AutoscalingMode::Lag | AutoscalingMode::LagDryRun) {
        return None;
    }
    beyond_partitions(spec, "spec.processor.autoscaling.maxReplicas", scaling.max_replicas)
}

fn beyond_partitions(spec: &PipelineSpec, path: &str, replicas: i32) -> Option<Problem> {
    let partitions = spec.topics.events.partitions;
    (replicas > partitions).then(|| {
        let message = format!(
            "{replicas} are asked for, {partitions} are started: spec.topics.events has {partitions} partitions, and \
             each belongs to one processor"
        );
        Problem::new(path, message)
    })
}
