//! Compares the topics that are there with those that offsets and state belong to ([`weir_log::identity`]).

use serde::Deserialize;

use weir_log::identity::{AFRESH, TopicIds, made_anew, replaced};
use weir_log::{Committed, Error, Member};

/// What a stage expects of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// What it is for.
    pub role: &'a str,
    /// Its name.
    pub topic: &'a str,
    /// Its number of partitions.
    pub partitions: i32,
}

/// A commit without what a stage writes beside its offsets.
pub(crate) fn reset_by_hand(topic: &str, partition: i32) -> Error {
    Error::fatal(format!(
        "the group's offset for {topic}/{partition} was set by another program, such as kafka-consumer-groups --reset-offsets: nothing \
         stands beside it, so where the pipeline was is not known any more. To read again what the topic has, {AFRESH}"
    ))
}

/// The ids of the topics, once they have the partitions that they should have and are the ones that `committed` names. What it does
/// not name, because an earlier version committed it, is taken as it is.
///
/// # Errors
/// [`Error::Fatal`] where a topic is another; [`Error::Retry`] where one is not there.
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

/// The ids of topics that are only written, by role and name; and those of them, by role, that are others than `committed` names. What
/// was in these is gone, and nothing that is still to be written hangs on it. One that is not there keeps the
/// id that was committed.
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
            // One that takes its place is another.
            ids.extend(committed.get(*role).map(|was| ((*role).to_owned(), was.clone())));
            continue;
        };
        if let Some(was) = committed.get(*role).filter(|was| **was != found.id) {
            tracing::warn!(
                "{}. The results that were in it are gone, and are not written again; those to come are right",
                made_anew(topic, was, &found.id)
            );
            anew.push((*role).to_owned());
        }
        ids.insert((*role).to_owned(), found.id);
    }
    Ok((ids, anew))
}

/// The ids that were committed beside an offset, by whichever stage and version; none where none were.
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
    fn an_output_that_was_missing_for_a_while_is_another_when_it_is_back() {
        let broker = Broker::new(Clock::Manual(0));
        broker.create_topic("results", 1);
        let mut member = broker.member(MemberOptions::new("group", "results", "member"));
        let mut ask =
            |committed: &TopicIds| outputs(&mut member, &[("results", "results")], committed).unwrap();
        let (before, anew) = ask(&TopicIds::new());
        assert!(before.contains_key("results") && anew.is_empty(), "{before:?} {anew:?}");
        broker.delete_topic("results");
        let (meanwhile, anew) = ask(&before);
        assert_eq!((&meanwhile, anew.len()), (&before, 0));
        broker.create_topic("results", 1);
        let (after, anew) = ask(&meanwhile);
        assert!(after != before && anew == ["results"], "{after:?} {anew:?}");
    }
}
