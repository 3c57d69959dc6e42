//! The pipeline's topics: created (`weir topics apply`), checked before processing, and watched during it.

mod apply;
mod check;
mod watch;

use weir_kafka::admin::Owner;
use weir_manifest::TopicSpec;

pub use apply::{Apply, apply};
pub use check::{Checked, check};
pub(crate) use watch::watched;

/// The error for a topic that belongs to another pipeline, with the ways out.
fn belongs(spec: &TopicSpec, owner: &Owner) -> String {
    let (topic, elsewhere) = (&spec.name, spec.role.path().unwrap_or("metadata.name"));
    format!(
        "topic {topic} belongs to the pipeline {owner}: two pipelines in one topic count everything twice. Give this one another \
         {elsewhere}, or, once {owner} is gone for good, run `weir topics apply --take-over` (under the operator: set the annotation \
         weir.dev/take-over-topics: \"true\")"
    )
}

/// The error for an events topic whose settings another pipeline manages, with the ways out.
fn kept_by(topic: &str, owner: &Owner) -> String {
    format!(
        "topic {topic} is kept by the pipeline {owner}, which would set it back: let this one only read it, with \
         spec.topics.events.management External, or let both say the same"
    )
}
