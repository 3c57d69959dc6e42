//! Compares the existing topics with those that offsets and state belong to ([`weir_log::identity`]).

use serde::{Deserialize, de::DeserializeOwned};

use weir_log::identity::{AFRESH, TopicIds, recreated, replaced};
use weir_log::{Committed, Error, Member};

/// A topic that a stage expects.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its role.
    pub role: &'a str,
    /// Its name.
    pub topic: &'a str,
    /// Its number of partitions.
    pub partitions: i32,
}

/// The error for a commit without a stage's metadata.
fn reset_by_hand(topic: &str, partition: i32) -> Error {
    Error::fatal(format!(
        "the group's offset for {topic}/{partition} was set by another program, such as kafka-consumer-groups --reset-offsets: nothing \
         stands beside it, so where the pipeline was is not known any more. To read again what the topic has, {AFRESH}"
    ))
}

/// What a stage has committed in a partition of its input topic; `None` without a commit.
///
/// # Errors
/// [`Error::Fatal`] if the commit is not this stage's, or not of this version.
pub(crate) fn progress<P: DeserializeOwned>(
    topic: &str,
    partition: i32,
    committed: Option<&Committed>,
) -> Result<Option<P>, Error> {
    let Some(Committed { offset, metadata }) = committed else { return Ok(None) };
    if metadata.is_empty() {
        return Err(reset_by_hand(topic, partition));
    }
    serde_json::from_str(metadata).map(Some).map_err(|error| {
        let unreadable = Error::fatal(format!(
            "the group's commit for {topic}/{partition} is not of this version: {error}"
        ));
        unreadable.at(topic, partition, Some(*offset))
    })
}

/// Checks that the topics have the expected partitions and the ids in `committed`, and returns their ids. Topics without a committed
/// id, from an earlier version, are accepted.
///
/// # Errors
/// [`Error::Fatal`] if a topic was replaced; [`Error::Retry`] if one is missing.
pub fn verify<M: Member>(
    member: &mut M,
    expected: &[Expected<'_>],
    committed: &TopicIds,
) -> Result<TopicIds, Error> {
    let names: Vec<&str> = expected.iter().map(|expected| expected.topic).collect();
    let found = member.topics(&names)?;
    let (mut ids, mut wrong) = (TopicIds::new(), Vec::new());
    for (Expected { role, topic, partitions }, found) in expected.iter().zip(found) {
        let Some(found) = found else {
            return Err(Error::retry(format!(
                "there is no topic {topic}, or the broker does not know it yet"
            )));
        };
        if let Some(was) = committed.get(*role).filter(|was| **was != found.id && !found.id.is_empty()) {
            wrong.push(replaced(topic, was, &found.id, true));
        }
        if found.partitions != *partitions {
            wrong.push(format!(
                "topic {topic} has {} partitions, the pipeline says {partitions}: it was changed since the pipeline began, and keys have \
                 moved between them. Put the document right if it was that; else {AFRESH}",
                found.partitions
            ));
        }
        if !found.id.is_empty() {
            ids.insert((*role).to_owned(), found.id);
        }
    }
    if wrong.is_empty() { Ok(ids) } else { Err(Error::fatal(wrong.join("\n"))) }
}

/// The ids of the output topics, by role and name; and the roles of those that were recreated since `committed`. The results in these
/// are lost, but later results do not depend on them. A missing topic keeps its committed id.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn outputs<M: Member>(
    member: &mut M,
    outputs: &[(&str, &str)],
    committed: &TopicIds,
) -> Result<(TopicIds, Vec<String>), Error> {
    let names: Vec<&str> = outputs.iter().map(|(_, topic)| *topic).collect();
    let (mut ids, mut anew) = (TopicIds::new(), Vec::new());
    for ((role, topic), found) in outputs.iter().zip(member.topics(&names)?) {
        let Some(found) = found.filter(|found| !found.id.is_empty()) else {
            // Its replacement will have another id.
            ids.extend(committed.get(*role).map(|was| ((*role).to_owned(), was.clone())));
            continue;
        };
        if let Some(was) = committed.get(*role).filter(|was| **was != found.id) {
            tracing::warn!(
                "{}. The results in it are lost and are not written again; later results are correct",
                recreated(topic, was, &found.id)
            );
            anew.push((*role).to_owned());
        }
        ids.insert((*role).to_owned(), found.id);
    }
    Ok((ids, anew))
}

/// The topic ids in a commit's metadata, of either stage and any version; empty if there are none.
pub(crate) fn committed(committed: Option<&Committed>) -> TopicIds {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        topics: TopicIds,
    }
    let named = committed.and_then(|committed| serde_json::from_str::<Named>(&committed.metadata).ok());
    named.map(|named| named.topics).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use weir_memory::{Broker, Clock, MemberOptions};

    #[test]
    fn a_recreated_output_is_detected_after_it_was_missing() {
        let broker = Broker::new(Clock::Manual(0));
        broker.create_topic("results", 1);
        let mut member = broker.member(MemberOptions::new("group", "results", "member"));
        let mut check =
            |committed: &TopicIds| outputs(&mut member, &[("results", "results")], committed).unwrap();
        let (before, anew) = check(&TopicIds::new());
        assert!(before.contains_key("results") && anew.is_empty(), "{before:?} {anew:?}");
        broker.delete_topic("results");
        let (meanwhile, anew) = check(&before);
        assert_eq!((&meanwhile, anew.len()), (&before, 0));
        broker.create_topic("results", 1);
        let (after, anew) = check(&meanwhile);
        assert!(after != before && anew == ["results"], "{after:?} {anew:?}");
    }
}
