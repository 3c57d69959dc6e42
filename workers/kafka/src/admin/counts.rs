//! Compares the document's partition counts with the topics', and states how to resolve differences. Pure.
//!
//! Visitors are placed by the number of partitions of the events, and so is the state; windows by that of the results, and so are
//! the blocks. The internal topics therefore remember what a pipeline began with.

use std::collections::BTreeMap;
use std::fmt;

use weir_manifest::{Role, TopicSpec};

use weir_log::identity::AFRESH;

/// A topic with a wrong number of partitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic {topic} has {found} partitions, the pipeline says {expected}")]
pub struct Mismatch {
    /// The topic.
    pub topic: String,
    /// Its number of partitions.
    pub found: i32,
    /// The expected number of partitions.
    pub expected: i32,
}

/// Topics with wrong numbers of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatches {
    /// The topics.
    pub topics: Vec<Mismatch>,
    /// How to resolve all of them.
    pub remedy: String,
    /// Whether that involves changing the document.
    pub asks_for_another_document: bool,
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mismatch in &self.topics {
            writeln!(f, "{mismatch}")?;
        }
        f.write_str(&self.remedy)
    }
}

/// Compares the numbers of partitions of a pipeline's topics with those of the topics that there are.
pub(super) fn mismatches(topics: &[TopicSpec], present: &BTreeMap<String, i32>) -> Option<Mismatches> {
    let found = |topic: &TopicSpec| present.get(&topic.name).copied();
    let differs = |topic: &&TopicSpec| found(topic).is_some_and(|found| found != topic.partitions);
    let of = |role: Role| topics.iter().find(|topic| topic.role == role);
    let differing: Vec<&TopicSpec> = topics.iter().filter(differs).collect();
    if differing.is_empty() {
        return None;
    }
    let (mut say, mut moved, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    let renamed = differing.iter().any(|topic| topic.role == Role::TopPages);
    for (public, internal, path) in [
        (Role::Events, Role::State, "spec.topics.events.partitions"),
        (Role::Results, Role::Blocks, "spec.topics.results.partitions"),
    ] {
        let (Some(public), Some(internal)) = (of(public), of(internal)) else { continue };
        match (found(public), found(internal)) {
            // It never ran, or ran with what the topic has: only the document is wrong.
            (Some(now), None) if now != public.partitions => say.push(format!("{path} to {now}")),
            (Some(now), Some(began)) if now != public.partitions && began == now => {
                say.push(format!("{path} back to {now}"));
            }
            (None, Some(began)) if began != public.partitions => say.push(format!("{path} back to {began}")),
            // One of the two topics was changed or made anew since the pipeline began.
            (Some(now), Some(began)) if began != now => {
                let still =
                    if now == public.partitions { String::new() } else { format!("set {path} to {now}") };
                moved.push((public, began, now, still));
            }
            _ => {}
        }
    }
    // These have one partition whatever the document says.
    for topic in differing.iter().filter(|topic| matches!(topic.role, Role::Live | Role::DeadLetters)) {
        delete.push(format!(
            "delete topic {}, once what is in it is copied, and let it be made anew",
            topic.name
        ));
    }
    for topic in differing.iter().filter(|topic| topic.role == Role::TopPages) {
        delete.push(format!(
            "name another topic in spec.topics.topPages.name: {} must have one partition",
            topic.name
        ));
    }
    let remedy = match moved.is_empty() {
        true if say.is_empty() => delete.join("; "),
        true => {
            let set = format!("set {}", say.join(" and "));
            [vec![set], delete].concat().join("; ")
        }
        false => {
            let what: Vec<_> = moved
                .iter()
                .map(|(topic, began, now, _)| {
                    format!(
                        "the pipeline began with {began} partitions of {}, which has {now} now",
                        topic.name
                    )
                })
                .collect();
            let set = moved.iter().map(|(.., still)| still.clone()).filter(|still| !still.is_empty());
            let set: Vec<_> = set.chain(say.iter().map(|say| format!("set {say}"))).chain(delete).collect();
            let set = if set.is_empty() { String::new() } else { format!("{}, and ", set.join("; ")) };
            format!(
                "{}: partitions cannot be taken away, and keys have moved between them, so that what was counted cannot go on. {set}{AFRESH}",
                what.join("; ")
            )
        }
    };
    let asks_for_another_document =
        renamed || !say.is_empty() || moved.iter().any(|(.., still)| !still.is_empty());
    let topics = differing.into_iter().map(|topic| Mismatch {
        topic: topic.name.clone(),
        found: present[&topic.name],
        expected: topic.partitions,
    });
    Some(Mismatches { topics: topics.collect(), remedy, asks_for_another_document })
}

#[cfg(test)]
mod tests {
    use weir_manifest::Pipeline;

    use super::*;

    /// What is said where these topics have so many partitions, and all others of the demo (6 for events, 3 for results) are as
    /// they should be or, below one, missing.
    fn report(changed: &[(&str, i32)]) -> String {
        let topics = Pipeline::demo().topics();
        let mut present: BTreeMap<String, i32> =
            topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
        for (name, partitions) in changed {
            present.insert((*name).to_owned(), *partitions);
        }
        present.retain(|_, partitions| *partitions > 0);
        mismatches(&topics, &present).map_or_else(String::new, |mismatches| mismatches.to_string())
    }

    #[test]
    fn the_way_out_is_one_and_the_same_whichever_number_is_asked_about() {
        assert_eq!(report(&[]), "");
        // Not begun: the document is what is wrong.
        let missing = [("shop.state", 0), ("shop.blocks", 0)];
        let events = report(&[&missing[..], &[("clickstream-events", 4)]].concat());
        assert!(events.ends_with("set spec.topics.events.partitions to 4"), "{events}");
        let both = report(&[&missing[..], &[("clickstream-events", 4), ("analytics-results", 9)]].concat());
        let expected = "set spec.topics.events.partitions to 4 and spec.topics.results.partitions to 9";
        assert!(both.ends_with(expected) && both.lines().count() == 3, "{both}");
        // Begun with four: the document was changed.
        let changed = report(&[("clickstream-events", 4), ("shop.state", 4)]);
        assert!(changed.ends_with("set spec.topics.events.partitions back to 4"), "{changed}");
        let deleted = report(&[("clickstream-events", 0), ("shop.state", 4)]);
        assert!(deleted.ends_with("set spec.topics.events.partitions back to 4"), "{deleted}");
    }

    #[test]
    fn a_topic_that_was_changed_under_a_pipeline_is_not_explained_away_with_the_document() {
        // Raised from 6 to 8: both answers that follow, the document with 8 (state has 6) and with 6, lead to the same.
        let added = report(&[("clickstream-events", 8)]);
        assert!(added.contains("began with 6 partitions of clickstream-events, which has 8 now"), "{added}");
        assert!(
            added.contains("set spec.topics.events.partitions to 8, and begin afresh: a new metadata.name"),
            "{added}"
        );
        let followed = report(&[("shop.state", 4)]);
        assert!(
            followed.contains("began with 4 partitions of clickstream-events, which has 6 now"),
            "{followed}"
        );
        assert!(followed.ends_with(AFRESH) && !followed.contains("set spec"), "{followed}");
        let results = report(&[("analytics-results", 6)]);
        assert!(results.contains("set spec.topics.results.partitions to 6, and begin afresh"), "{results}");
    }

    #[test]
    fn topics_of_one_partition_are_made_anew_or_named_otherwise() {
        let top = report(&[("analytics-top-pages", 2)]);
        assert!(top.contains("name another topic in spec.topics.topPages.name"), "{top}");
        let live = report(&[("shop.live", 2)]);
        let remedy = "delete topic shop.live, once what is in it is copied, and let it be made anew";
        assert!(live.ends_with(remedy), "{live}");
    }
}
