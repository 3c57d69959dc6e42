//! Rules about what runs.

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

pub(super) fn replicas_beyond_partitions(spec: &PipelineSpec) -> Option<Problem> {
    beyond_partitions(spec, "spec.processor.replicas", spec.processor.replicas)
}

pub(super) fn maximum_beyond_partitions(spec: &PipelineSpec) -> Option<Problem> {
    let scaling = &spec.processor.autoscaling;
    if scaling.mode == AutoscalingMode::Disabled {
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
