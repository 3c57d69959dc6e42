//! Rules that involve more than one field, or that need a reason. Ranges and patterns are in the schema.

mod kafka;
mod privacy;
mod topics;
mod window;
mod workloads;

use crate::{Pipeline, PipelineSpec, error::Problem};

/// All problems of a document with the right shape.
pub(crate) fn check(pipeline: &Pipeline) -> Vec<Problem> {
    const RULES: [fn(&PipelineSpec) -> Vec<Problem>; 11] = [
        kafka::brokers_are_distinct,
        topics::retention_covers_the_state,
        topics::retention_is_positive,
        window::slide_is_a_tick,
        window::size_is_a_multiple_of_slide,
        window::spans_are_positive,
        window::half_life_is_a_second,
        window::spans_are_bounded,
        workloads::autoscaling_is_a_range,
        workloads::catching_up_takes_time,
        privacy::hashing_has_a_key,
    ];
    let mut problems: Vec<_> = RULES.iter().flat_map(|rule| rule(&pipeline.spec)).collect();
    problems.extend(topics::names_are_distinct(pipeline));
    problems
}

/// Problems that do not make the document invalid.
pub(crate) fn warnings(pipeline: &Pipeline) -> Vec<Problem> {
    const WARNINGS: [fn(&PipelineSpec) -> Option<Problem>; 4] = [
        workloads::replicas_beyond_partitions,
        workloads::maximum_beyond_partitions,
        kafka::password_in_the_clear,
        privacy::dead_letters_keep_what_is_hidden,
    ];
    WARNINGS.iter().filter_map(|warning| warning(&pipeline.spec)).collect()
}

/// Fields that are valid but not supported by this version: to ignore them would be wrong.
pub(crate) fn unsupported(pipeline: &Pipeline) -> Vec<Problem> {
    let kafka = &pipeline.spec.kafka;
    [
        ("tls", kafka.tls.is_some(), "connections are not encrypted"),
        ("sasl", kafka.sasl.is_some(), "clients have no names"),
        ("schemaRegistry", kafka.schema_registry.is_some(), "schemas are known by their fingerprints"),
    ]
    .into_iter()
    .filter(|(_, is_set, _)| *is_set)
    .map(|(field, _, instead)| {
        Problem::new(
            format!("spec.kafka.{field}"),
            format!("is not supported by this version ({instead}): leave it out"),
        )
    })
    .collect()
}

#[cfg(test)]
mod tests;
