//! Lost topics (deleted, or recreated by others), and what must be reset before a pipeline can start over without them. Pure.
//!
//! An offset means nothing in another log. So a lost topic is not recreated automatically: processors would continue at the old
//! offset, or refuse for ever. The reset deletes everything that refers to a lost topic.

use std::collections::BTreeMap;
use std::fmt;

use weir_log::TopicDescription;
use weir_manifest::{Management, Role, TopicSpec, TopicStatus, groups};

/// With the value `true`: lost topics are recreated, and what refers to them is deleted. The operator removes it once that is done.
pub(crate) const RECREATE: &str = "weir.dev/recreate-topics";

/// Topics as the cluster describes them, by name.
pub(crate) type Described = BTreeMap<String, TopicDescription>;

/// A topic that was deleted, or recreated with another id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lost {
    name: String,
    role: Role,
    was: String,
    /// The id of the topic that has the name now, if any.
    is: Option<String>,
}

/// The lost topics of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pipeline: String,
    generation: u32,
    topics: Vec<Lost>,
    /// Existing topics that are deleted before the pipeline starts over.
    delete: Vec<String>,
}

impl Loss {
    /// Compares the topics of a pipeline's generation with `before`, their last known state.
    pub(crate) fn of(
        (pipeline, generation): (&str, u32),
        specs: &[TopicSpec],
        before: &[TopicStatus],
        found: &Described,
    ) -> Option<Self> {
        let mut topics = Vec::new();
        for spec in specs {
            let known = before.iter().find(|topic| topic.name == spec.name);
            let Some(was) = known.and_then(|topic| topic.topic_id.clone()) else { continue };
            let is = found.get(&spec.name).map(|topic| topic.id.clone());
            // Brokers before Kafka 2.8 have no ids.
            if is.as_ref().is_none_or(|is| *is != was && !is.is_empty()) {
                topics.push(Lost { name: spec.name.clone(), role: spec.role, was, is });
            }
        }
        if topics.is_empty() {
            return None;
        }
        let lost = |role: Role| topics.iter().any(|topic| topic.role == role);
        let counted = [Role::Events, Role::State, Role::Blocks].into_iter().any(lost);
        let goes = |spec: &&TopicSpec| {
            let Some(there) = found.get(&spec.name) else { return false };
            let unfit = lost(spec.role) && there.partitions != spec.partitions;
            spec.management == Management::Managed
                && match spec.role {
                    Role::State | Role::Blocks => counted,
                    // The rankings record which windows are in the results: without them all would be written there again.
                    Role::Results => counted && lost(Role::TopPages) || unfit,
                    Role::TopPages => counted && lost(Role::TopPages) || unfit,
                    Role::Events | Role::Live | Role::DeadLetters | Role::Generations => unfit,
                }
        };
        let delete = specs.iter().filter(goes).map(|spec| spec.name.clone()).collect();
        Some(Self { pipeline: pipeline.to_owned(), generation, topics, delete })
    }

    /// Whether offsets or state refer to a lost topic: then processors must end and start without state.
    pub(crate) fn resets(&self) -> bool {
        self.topics.iter().any(|topic| matches!(topic.role, Role::Events | Role::State | Role::Blocks))
    }

    /// Whether only some of these topics are lost.
    pub(crate) fn is_within(&self, topics: &[String]) -> bool {
        self.topics.iter().all(|lost| topics.contains(&lost.name))
    }

    /// Topics that are to be deleted.
    pub(crate) fn to_delete(&self) -> &[String] {
        &self.delete
    }

    /// The topics' status after the reset. A topic that others recreated, and that stays, does not count as created by the pipeline.
    pub(crate) fn after(&self, before: &[TopicStatus], specs: &[TopicSpec]) -> Vec<TopicStatus> {
        let kept = before.iter().map(|topic| {
            let lost = self.topics.iter().find(|lost| lost.name == topic.name);
            let is = lost.and_then(|lost| lost.is.clone());
            let deleted = self.delete.contains(&topic.name);
            let made = || {
                let spec = specs.iter().find(|spec| spec.name == topic.name);
                spec.is_some_and(|spec| spec.management == Management::Managed)
            };
            match (lost, is) {
                (Some(_), Some(is)) if !deleted => {
                    TopicStatus { topic_id: Some(is), created: false, ..topic.clone() }
                }
                (None, _) if !deleted => topic.clone(),
                _ => TopicStatus { topic_id: None, created: made(), ..topic.clone() },
            }
        });
        kept.collect()
    }

    /// Topics without those that are lost: they are made, or found, as if they had never been there.
    pub(crate) fn without(&self, topics: &[TopicStatus]) -> Vec<TopicStatus> {
        let is_lost = |topic: &TopicStatus| self.topics.iter().any(|lost| lost.name == topic.name);
        topics.iter().filter(|topic| !is_lost(topic)).cloned().collect()
    }

    /// The names of the lost topics, for an event.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<_> = self.topics.iter().map(ToString::to_string).collect();
        write!(
            f,
            "{}. Topics are not recreated and pods are not changed without confirmation. ",
            topics.join("; ")
        )?;
        if self.resets() {
            let [windows, results] = groups(&self.pipeline, self.generation);
            write!(
                f,
                "What was counted speaks of the old topics and cannot go on in others. If they can come back (another Kafka answers at \
                 spec.kafka.bootstrapServers?), bring them back. If they are gone for good, set the annotation {RECREATE}: \"true\": \
                 the processors end, the offsets of the groups {windows} and {results} are deleted, "
            )?;
        } else {
            write!(
                f,
                "What was in them is gone. If they can come back, bring them back. If not, set the annotation {RECREATE}: \"true\": "
            )?;
        }
        if !self.delete.is_empty() {
            write!(f, "the topics {} are deleted with what is in them, ", self.delete.join(", "))?;
        }
        if self.topics.iter().any(|topic| topic.role == Role::Generations) {
            let number = self.generation;
            write!(
                f,
                "the record of generation {number} is made again from status.generation, if that has a cut, "
            )?;
        }
        write!(f, "missing topics are recreated, and processors continue")?;
        if self.resets() {
            write!(
                f,
                " with the first event that there is then; windows that are in the results already stay as they are"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, was, .. } = self;
        match &self.is {
            None => write!(f, "topic {name} was deleted: its id was {was}"),
            Some(is) => write!(
                f,
                "topic {name} was deleted and made anew by someone else: its id was {was}, it is {is}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_manifest::Pipeline;

    use super::*;

    /// The loss of the demo's topics where these are gone, and these have another id and this number of partitions.
    fn loss(gone: &[&str], replaced: &[(&str, i32)]) -> Option<Loss> {
        let (before, found) = known(gone, replaced);
        Loss::of(("shop", 1), &Pipeline::demo().topics(), &before, &found)
    }

    fn known(gone: &[&str], replaced: &[(&str, i32)]) -> (Vec<TopicStatus>, Described) {
        let specs = Pipeline::demo().topics();
        let status = |spec: &TopicSpec| TopicStatus {
            name: spec.name.clone(),
            topic_id: Some("old".to_owned()),
            partitions: spec.partitions,
            created: true,
        };
        let before = specs.iter().map(status).collect();
        let there = specs.iter().filter(|spec| !gone.contains(&spec.name.as_str()));
        let found = there.map(|spec| {
            let new = replaced.iter().find(|(name, _)| *name == spec.name);
            let (id, partitions) = new.map_or(("old", spec.partitions), |(_, count)| ("new", *count));
            (spec.name.clone(), TopicDescription { id: id.to_owned(), partitions })
        });
        (before, found.collect())
    }

    #[test]
    fn what_refers_to_a_lost_topic_is_reset_with_it() {
        assert_eq!(loss(&[], &[]), None);
        let inner = ["shop.blocks", "shop.state"];
        let (events, results, top) = ("clickstream-events", "analytics-results", "analytics-top-pages");
        for (gone, replaced, resets, delete) in [
            (&[events][..], &[][..], true, &inner[..]),
            (&[], &[(events, 6)], true, &inner),
            (&[], &[(events, 1)], true, &[events, inner[0], inner[1]]),
            (&["shop.state"], &[], true, &inner[..1]),
            (&[], &[("shop.blocks", 3)], true, &inner),
            (&[results], &[], false, &[]),
            (&["shop.live", "shop.dead-letters"], &[], false, &[]),
            (&[top], &[], false, &[]),
            // Which windows are in the results is no longer known.
            (&[top, events], &[], true, &[results, inner[0], inner[1]]),
            (&[events], &[(top, 1)], true, &[results, top, inner[0], inner[1]]),
            (
                &[events, results, top, "shop.blocks", "shop.state", "shop.live", "shop.dead-letters"],
                &[],
                true,
                &[],
            ),
        ] {
            let found = loss(gone, replaced).map(|loss| (loss.resets(), loss.delete));
            let delete: Vec<String> = delete.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found, Some((resets, delete)), "{gone:?} {replaced:?}");
        }
    }

    #[test]
    fn brokers_without_topic_ids_report_no_loss() {
        let (before, mut found) = known(&[], &[]);
        found.values_mut().for_each(|topic| topic.id.clear());
        assert_eq!(Loss::of(("shop", 1), &Pipeline::demo().topics(), &before, &found), None);
    }

    #[test]
    fn topics_that_others_recreated_are_kept_and_not_owned() {
        let (before, found) = known(&["shop.live"], &[("clickstream-events", 6)]);
        let specs = Pipeline::demo().topics();
        let after = Loss::of(("shop", 1), &specs, &before, &found).map(|loss| loss.after(&before, &specs));
        let after: Vec<_> = after.into_iter().flatten().collect();
        let of = |name: &str| {
            let topic = after.iter().find(|topic| topic.name == name);
            topic.map(|topic| (topic.topic_id.as_deref(), topic.created))
        };
        assert_eq!(of("clickstream-events"), Some((Some("new"), false)));
        assert_eq!(of("shop.state"), Some((None, true)));
        assert_eq!(of("shop.live"), Some((None, true)));
        assert_eq!(of("analytics-results"), Some((Some("old"), true)));
    }

    #[test]
    fn the_message_names_ids_and_the_way_out() {
        let message = loss(&["clickstream-events"], &[]).map_or_else(String::new, |loss| loss.to_string());
        for part in [
            "topic clickstream-events was deleted: its id was old. ",
            "set the annotation weir.dev/recreate-topics: \"true\"",
            "the groups shop.windows and shop.results are deleted, the topics shop.blocks, shop.state are deleted",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = loss(&[], &[("shop.live", 1)]).map_or_else(String::new, |loss| loss.to_string());
        assert!(message.starts_with(
            "topic shop.live was deleted and made anew by someone else: its id was old, it is new. "
        ));
        assert!(!message.contains("groups") && !message.contains("are deleted with"), "{message}");
    }
}
