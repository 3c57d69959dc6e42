//! The pipeline's topics: made as they should be (`weir topics apply`), checked before anything is processed, and watched meanwhile.

mod apply;
mod check;
mod watch;

pub use apply::{Apply, apply};
pub use check::{Checked, check};
pub(crate) use watch::watched;

/// The ways out for a pipeline that names the topic of another.
fn belongs(topic: &str, owner: &str) -> String {
    format!(
        "topic {topic} belongs to the pipeline {owner}: two pipelines in one topic count everything twice. Name another topic in \
         spec.topics, or, once {owner} is gone for good, run `weir topics apply --take-over`"
    )
}
