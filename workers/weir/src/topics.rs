//! The pipeline's topics: made as they should be (`weir topics apply`), checked before anything is processed, and watched meanwhile.

mod apply;
mod check;
mod watch;

use weir_kafka::admin::Owner;
use weir_manifest::TopicSpec;

pub use apply::{Apply, apply};
pub use check::{Checked, check};
pub(crate) use watch::watched;

/// The ways out for a pipeline that names the topic of another.
fn belongs(spec: &TopicSpec, owner: &Owner) -> String {
    let (topic, elsewhere) = (&spec.name, spec.role.path().unwrap_or("metadata.name"));
    format!(
        "topic {topic} belongs to the pipeline {owner}: two pipelines in one topic count everything twice. Give this one another \
         {elsewhere}, or, once {owner} is gone for good, run `weir topics apply --take-over` (under the operator: set the annotation \
         weir.dev/take-over-topics: \"true\")"
    )
}

/// The ways out for a pipeline that would change the settings of events that another keeps.
fn kept_by(topic: &str, owner: &Owner) -> String {
    format!(
        "topic {topic} is kept by the pipeline {owner}, which would set it back: let this one only read it, with \
         spec.topics.events.management External, or let both say the same"
    )
}
