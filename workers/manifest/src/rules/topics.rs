//! Rules about topics.

use crate::{Management, Pipeline, PipelineSpec, Problem, Role};

pub(super) fn names_are_distinct(pipeline: &Pipeline) -> Vec<Problem> {
    let topics = pipeline.topics();
    // Kafka's metrics write `.` as `_`, so its brokers refuse names that differ in nothing else.
    let key = |name: &str| name.replace('.', "_");
    let place = |role: Role| role.path().map_or_else(|| "the internal topic".to_owned(), str::to_owned);
    let mut problems = Vec::new();
    for (i, topic) in topics.iter().enumerate() {
        if let Some(first) = topics[..i].iter().find(|t| key(&t.name) == key(&topic.name)) {
            // The internal names follow from metadata.name; what can be changed is the public one.
            let (path, other) = match topic.role.path() {
                Some(path) => (path, first),
                None => (first.role.path().unwrap_or("metadata.name"), topic),
            };
            let message = format!(
                "found the name of {} (`{}`), expected a topic of its own; Kafka also takes . and _ for the same",
                place(other.role),
                other.name,
            );
            problems.push(Problem::new(path, message));
        }
    }
    problems
}

pub(super) fn retention_covers_the_state(spec: &PipelineSpec) -> Vec<Problem> {
    let (events, window) = (&spec.topics.events, &spec.window);
    let needed = window.size + window.session_gap;
    if events.management == Management::External || events.retention >= needed {
        return Vec::new();
    }
    let message = format!(
        "found {}, expected at least {needed} (window.size {} + window.sessionGap {}): a restart reads the events of \
         every open window and visit again, and they must still be there",
        events.retention, window.size, window.session_gap,
    );
    vec![Problem::new("spec.topics.events.retention", message)]
}

pub(super) fn retention_is_positive(spec: &PipelineSpec) -> Vec<Problem> {
    let topics = &spec.topics;
    [
        ("spec.topics.events.retention", Some(topics.events.retention)),
        ("spec.topics.results.retention", Some(topics.results.retention)),
        ("spec.topics.topPages.retention", topics.top_pages.retention),
    ]
    .into_iter()
    .filter_map(|(path, retention)| {
        let retention = retention.filter(|r| r.as_millis() < 60_000)?;
        let message =
            format!("found {retention}, expected at least 1m: what is deleted sooner nobody has read");
        Some(Problem::new(path, message))
    })
    .collect()
}
