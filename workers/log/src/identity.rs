//! Which topics offsets and state belong to. An offset means nothing without its log: one that was deleted and made anew under the
//! same name has other records at the same offsets. So the ids of topics are committed beside the offsets, and compared.

use std::collections::BTreeMap;

/// Ids of topics by what they are for: `events`, `state`, `blocks`, `results`, `topPages`.
pub type TopicIds = BTreeMap<String, String>;

/// How a pipeline begins anew so that no result stands in a topic twice.
pub const AFRESH: &str = "begin afresh: a new metadata.name, new names in spec.topics.results.name and spec.topics.topPages.name; in \
                          Kubernetes that is a new pipeline, without the operator `weir topics apply` then makes its topics";

/// That another topic stands in a topic's place.
pub fn made_anew(topic: &str, was: &str, is: &str) -> String {
    format!("topic {topic} was deleted and made anew: its id was {was}, it is {is}")
}

/// That a topic was replaced, and what to do; `counted` are those whose offsets or state a pipeline goes by.
pub fn replaced(topic: &str, was: &str, is: &str, counted: bool) -> String {
    let found = made_anew(topic, was, is);
    if counted {
        format!(
            "{found}. What was committed speaks of the old one and means nothing in the new one: {AFRESH}"
        )
    } else {
        format!("{found}. What was in it is gone; start the process again, it goes on with the new one")
    }
}
