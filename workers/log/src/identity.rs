//! The identity of topics. A topic that was deleted and recreated has other records at the same offsets, so offsets and state of the
//! old one are invalid. Topic ids are therefore committed with the offsets, and compared.

use std::collections::BTreeMap;

/// Topic ids by role: `events`, `state`, `blocks`, `results`, `topPages`.
pub type TopicIds = BTreeMap<String, String>;

/// Advice: how to start over without duplicate results in a topic.
pub const AFRESH: &str = "begin afresh: a new metadata.name, new names in spec.topics.results.name and spec.topics.topPages.name; in \
                          Kubernetes that is a new pipeline, without the operator `weir topics apply` then makes its topics";

/// Advice: how other settings begin to count.
pub const NEW_GENERATION: &str = "begin a new generation with it: `weir topics apply`, or in Kubernetes that edit of \
                                  the pipeline";

/// The message that a topic was deleted and recreated.
pub fn recreated(topic: &str, was: &str, is: &str) -> String {
    format!("topic {topic} was deleted and made anew: its id was {was}, it is {is}")
}

/// The message that a topic was recreated, and what to do; `counted`: offsets or state depend on the topic.
pub fn replaced(topic: &str, was: &str, is: &str, counted: bool) -> String {
    let found = recreated(topic, was, is);
    if counted {
        format!(
            "{found}. What was committed speaks of the old one and means nothing in the new one: {AFRESH}"
        )
    } else {
        format!("{found}. What was in it is gone; start the process again, it goes on with the new one")
    }
}
