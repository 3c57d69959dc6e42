//! Ownership of a topic that two pipelines name: the older pipeline's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use weir_manifest::{ClickstreamPipeline, FIRST_GENERATION, Management, Pipeline, TopicSpec};

use crate::Error;

/// Topics of older pipelines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Topics of the same brokers by name, each with its pipeline.
    names: BTreeMap<String, String>,
    /// Topics by id, whatever their broker addresses.
    ids: BTreeMap<String, String>,
}

impl Claims {
    /// Topics of the pipelines that are older than `mine`. A topic that a pipeline only reads is not claimed.
    pub fn older<'a>(
        mine: &ClickstreamPipeline,
        all: impl IntoIterator<Item = &'a ClickstreamPipeline>,
    ) -> Self {
        let mut claims = Self::default();
        let brokers: BTreeSet<&String> = mine.spec.kafka.bootstrap_servers.iter().collect();
        for other in all {
            if other.metadata.uid == mine.metadata.uid || age(other) > age(mine) {
                continue;
            }
            let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
            let owner = format!("{namespace}/{}", other.metadata.name.as_deref().unwrap_or_default());
            let generation = other.status.as_ref().and_then(|status| status.generation.as_ref());
            let number = generation.map_or(FIRST_GENERATION, |generation| generation.number);
            let names: BTreeSet<String> =
                kept(&Pipeline::from(other).in_generation(number)).map(|topic| topic.name).collect();
            for topic in other.status.iter().flat_map(|status| &status.topics) {
                if let Some(id) = topic.topic_id.as_ref().filter(|_| names.contains(&topic.name)) {
                    claims.ids.insert(id.clone(), owner.clone());
                }
            }
            if other.spec.kafka.bootstrap_servers.iter().any(|server| brokers.contains(server)) {
                claims.names.extend(names.into_iter().map(|name| (name, owner.clone())));
            }
        }
        claims
    }

    /// Refuses a pipeline that names a topic of an older one. `ids` are those of the pipeline's topics by name.
    ///
    /// # Errors
    /// [`Error::TopicClaimed`].
    pub fn check(&self, pipeline: &Pipeline, ids: &BTreeMap<String, String>) -> Result<(), Error> {
        for TopicSpec { name, role, .. } in kept(pipeline) {
            let by_id = ids.get(&name).and_then(|id| self.ids.get(id));
            if let Some(owner) = self.names.get(&name).or(by_id) {
                return Err(Error::TopicClaimed { topic: name, role, owner: owner.clone() });
            }
        }
        Ok(())
    }
}

/// The topics that a pipeline claims: those of its generation, and of the first one, in which another of its name begins.
fn kept(pipeline: &Pipeline) -> impl Iterator<Item = TopicSpec> {
    let mut topics = pipeline.topics();
    topics.extend(pipeline.in_generation(FIRST_GENERATION).topics_of_generation());
    topics.into_iter().filter(|topic| topic.management == Management::Managed)
}

/// Older pipelines come first. Of two from the same second, uids decide, because they never change.
fn age(pipeline: &ClickstreamPipeline) -> impl PartialOrd {
    (pipeline.metadata.creation_timestamp.clone().map(|time| time.0), pipeline.metadata.uid.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use weir_manifest::{PipelineSpec, PipelineStatus, TopicStatus};

    use super::*;

    fn pipeline(name: &str, born: i64, brokers: &str, results: &str) -> ClickstreamPipeline {
        let mut spec = PipelineSpec::default();
        spec.kafka.bootstrap_servers = vec![brokers.to_owned()];
        spec.topics.events.name = format!("{name}-events");
        spec.topics.results.name = results.to_owned();
        spec.topics.top_pages.name = format!("{name}-top");
        let mut pipeline = ClickstreamPipeline::new(name, spec);
        pipeline.metadata.namespace = Some("web".to_owned());
        pipeline.metadata.uid = Some(name.to_owned());
        pipeline.metadata.creation_timestamp = Some(Time(Timestamp::from_second(born).unwrap()));
        pipeline
    }

    fn refusal(mine: &ClickstreamPipeline, all: &[&ClickstreamPipeline], ids: &[(&str, &str)]) -> String {
        let ids = ids.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect();
        let claims = Claims::older(mine, all.iter().copied());
        claims.check(&Pipeline::from(mine), &ids).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn the_older_pipeline_owns_the_topic() {
        let (old, new) = (pipeline("old", 1, "k:1", "shared"), pipeline("new", 2, "k:1", "shared"));
        let all = [&old, &new];
        assert_eq!(refusal(&old, &all, &[]), "");
        assert!(refusal(&new, &all, &[]).starts_with("topic shared belongs to the older pipeline web/old"));
        // Created in the same second: one of the two, the same from both sides.
        let twin = pipeline("twin", 1, "k:1", "shared");
        let refused = [&old, &twin].map(|mine| !refusal(mine, &[&old, &twin], &[]).is_empty());
        assert_eq!(refused, [false, true]);
    }

    #[test]
    fn topics_of_other_brokers_differ_unless_their_ids_are_equal() {
        let (mut old, new) = (pipeline("old", 1, "k:1", "shared"), pipeline("new", 2, "other:1", "shared"));
        assert_eq!(refusal(&new, &[&old, &new], &[("shared", "X")]), "");
        let topic = |name: &str, id: &str| TopicStatus {
            name: name.to_owned(),
            topic_id: Some(id.to_owned()),
            ..TopicStatus::default()
        };
        old.status = Some(PipelineStatus { topics: vec![topic("shared", "X")], ..PipelineStatus::default() });
        assert!(refusal(&new, &[&old, &new], &[("shared", "X")]).contains("web/old"));
        assert_eq!(refusal(&new, &[&old, &new], &[("shared", "Y")]), "");
    }

    #[test]
    fn topics_of_later_generations_are_claimed_too() {
        let (mut old, mut new) = (pipeline("old", 1, "k:1", "a"), pipeline("new", 2, "k:1", "old.blocks.2"));
        assert_eq!(refusal(&new, &[&old, &new], &[]), "");
        let generation = Some(weir_manifest::GenerationStatus { number: 2, ..Default::default() });
        old.status = Some(PipelineStatus { generation, ..PipelineStatus::default() });
        assert!(
            refusal(&new, &[&old, &new], &[])
                .starts_with("topic old.blocks.2 belongs to the older pipeline web/old")
        );
        // One of the same name in another namespace begins in the first generation.
        new = pipeline("old", 2, "k:1", "c");
        (new.metadata.namespace, new.metadata.uid) = (Some("shop".to_owned()), Some("new".to_owned()));
        new.spec.topics.events.name = "b".to_owned();
        new.spec.topics.top_pages.name = "d".to_owned();
        assert!(refusal(&new, &[&old, &new], &[]).contains("belongs to the older pipeline web/old"));
    }

    #[test]
    fn a_topic_that_is_only_read_is_not_claimed() {
        let mut old = pipeline("old", 1, "k:1", "old-results");
        let mut new = pipeline("new", 2, "k:1", "new-results");
        new.spec.topics.events.name = "old-events".to_owned();
        assert!(!refusal(&new, &[&old, &new], &[]).is_empty());
        new.spec.topics.events.management = Management::External;
        assert_eq!(refusal(&new, &[&old, &new], &[]), "");
        // The other way round, and known by its id.
        new.spec.topics.events.management = Management::Managed;
        new.spec.kafka.bootstrap_servers = vec!["alias:1".to_owned()];
        old.spec.topics.events.management = Management::External;
        let topic = TopicStatus {
            name: "old-events".to_owned(),
            topic_id: Some("X".to_owned()),
            ..TopicStatus::default()
        };
        old.status = Some(PipelineStatus { topics: vec![topic], ..PipelineStatus::default() });
        assert_eq!(refusal(&new, &[&old, &new], &[("old-events", "X")]), "");
    }
}
