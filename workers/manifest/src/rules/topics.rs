//! Rules about topics.

use crate::topic::is_internal_topic_of;
use crate::{Management, Pipeline, PipelineSpec, Problem};

pub(super) fn names_are_distinct(pipeline: &Pipeline) -> Vec<Problem> {
    let topics = pipeline.topics();
    let public: Vec<_> = topics.iter().filter_map(|topic| Some((topic.role.path()?, &*topic.name))).collect();
    // Kafka's metrics write `.` as `_`, so its brokers refuse names that differ in nothing else.
    let key = |name: &str| name.replace('.', "_");
    let mut problems = Vec::new();
    for (i, (path, name)) in public.iter().enumerate() {
        let clash = match public[..i].iter().find(|(_, first)| key(first) == key(name)) {
            Some((first, other)) => format!("{first} (`{other}`)"),
            None if is_internal_topic_of(&pipeline.metadata.name, name) => {
                let internal = "NAME.generations, or NAME.blocks, .state, .live, .dead-letters with a generation's number or without";
                format!("an internal topic ({internal})")
            }
            None => continue,
        };
        let message = format!(
            "found `{name}`, the name of {clash}, expected a topic of its own; Kafka also takes . and _ for the same"
        );
        problems.push(Problem::new(*path, message));
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
