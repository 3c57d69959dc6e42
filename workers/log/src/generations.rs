//! The generations of a pipeline: each has one set of decisive settings, and tells the windows after its cut. They are recorded in a
//! compacted topic of one partition, which is made with the second generation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Member, Output, Record};

/// The version of the records.
const VERSION: u32 = 1;

/// A generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    version: u32,
    /// Its number; the first is 1.
    pub number: u32,
    /// Its decisive settings, as text for comparison.
    pub settings: String,
    /// When it was declared, milliseconds.
    pub declared: i64,
    /// The end up to which windows were told by the generations before: 0 if none was. `None` while its predecessor has not ended.
    pub cut: Option<i64>,
}

impl Generation {
    /// A generation whose predecessor has not ended yet.
    pub fn declared(number: u32, settings: &str, declared: i64) -> Self {
        Self { version: VERSION, number, settings: settings.to_owned(), declared, cut: None }
    }

    /// The generation, now that its predecessor has ended.
    #[must_use]
    pub fn after(self, cut: i64) -> Self {
        Self { cut: Some(cut), ..self }
    }
}

/// Around the number of the generation that has ended another.
const ENDED: (&str, &str) = ("the settings of a generation that generation ", " has ended");

/// What an ended generation commits in the place of its settings: releases that know no generations refuse to continue too.
pub fn settings_of_ended(by: u32) -> String {
    format!("{}{by}{}", ENDED.0, ENDED.1)
}

/// The generation that has ended the one that committed this in the place of its settings.
pub fn ended_by(settings: &str) -> Option<u32> {
    settings.strip_prefix(ENDED.0)?.strip_suffix(ENDED.1)?.parse().ok()
}

/// The recorded generations of a pipeline; empty while it is in its first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generations(BTreeMap<u32, Generation>);

impl Generations {
    /// These.
    pub fn of(generations: impl IntoIterator<Item = Generation>) -> Self {
        Self(generations.into_iter().map(|generation| (generation.number, generation)).collect())
    }

    /// Reads the topic; a missing one has none.
    ///
    /// # Errors
    /// As [`Error`] says; [`Error::Fatal`] for a record of another version.
    pub fn read<M: Member>(member: &mut M, topic: &str) -> Result<Self, Error> {
        if member.topics(&[topic])?.iter().all(Option::is_none) {
            return Ok(Self::default());
        }
        Self::collect(topic, |sink| member.read(topic, 0, 0, sink).map(drop))
    }

    /// Collects what `read` hands over: all records of the topic, in order.
    ///
    /// # Errors
    /// Those of `read`; [`Error::Fatal`] for a record of another version.
    pub fn collect(
        topic: &str,
        read: impl FnOnce(&mut dyn FnMut(Record<'_>)) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (mut generations, mut unreadable) = (Self::default(), None);
        read(&mut |record| {
            if let Err(why) = generations.take(&record) {
                unreadable.get_or_insert((record.offset, why));
            }
        })?;
        match unreadable {
            None => Ok(generations),
            Some((offset, why)) => {
                let unreadable = Error::fatal(format!(
                    "{topic} holds a record at offset {offset} that is not a generation of this version: {why}"
                ));
                Err(unreadable.at(topic, 0, Some(offset)))
            }
        }
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), String> {
        let Some(value) = record.value else { return Ok(()) };
        let generation: Generation = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        if generation.version != VERSION {
            return Err(format!("found version {}, expected {VERSION}", generation.version));
        }
        self.0.insert(generation.number, generation);
        Ok(())
    }

    /// The newest one; `None` in a pipeline's first.
    pub fn newest(&self) -> Option<&Generation> {
        self.0.values().next_back()
    }

    /// The one with this number.
    pub fn get(&self, number: u32) -> Option<&Generation> {
        self.0.get(&number)
    }

    /// The numbers of the generations that ended before a time in milliseconds: their successors have taken over, and were declared before
    /// it. Nothing reads their internal topics any more.
    pub fn ended_before(&self, time: i64) -> impl Iterator<Item = u32> {
        let successors = self.0.values().filter(move |next| next.cut.is_some() && next.declared < time);
        successors.filter(|next| next.number > 1).map(|next| next.number - 1)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Generation> {
        self.0.values()
    }
}

/// As later records of the same generations replace earlier ones.
impl Extend<Generation> for Generations {
    fn extend<T: IntoIterator<Item = Generation>>(&mut self, generations: T) {
        self.0.extend(generations.into_iter().map(|generation| (generation.number, generation)));
    }
}

/// Records generations in one transaction, if the topic still has what `expected` says: of two programs that do so at once, one fails.
/// The member must have a transactional id of the topic's own.
///
/// # Errors
/// As [`Error`] says; [`Error::Retry`] if the topic has other generations.
pub fn record<M: Member>(
    member: &mut M,
    topic: &str,
    expected: &Generations,
    generations: &[Generation],
) -> Result<(), Error> {
    if Generations::read(member, topic)? != *expected {
        return Err(Error::retry(format!("another program has recorded a generation in {topic} meanwhile")));
    }
    member.begin()?;
    for generation in generations {
        let value = serde_json::to_vec(generation).map_err(|error| Error::fatal(error.to_string()))?;
        member.send(Output {
            topic: topic.to_owned(),
            partition: 0,
            key: Some(generation.number.to_string().into_bytes()),
            value: Some(value),
            headers: Vec::new(),
        })?;
    }
    member.commit(&[])
}

/// Records that a generation has begun, unless another process has. Returns what is recorded then. The member is as for [`record`].
///
/// # Errors
/// As [`Error`] says: another process has taken the transactional id, and does the same.
pub fn record_begun<M: Member>(
    member: &mut M,
    topic: &str,
    begun: &Generation,
) -> Result<Generations, Error> {
    let now = Generations::read(member, topic)?;
    if now.get(begun.number).is_some_and(|recorded| recorded.cut.is_some()) {
        return Ok(now);
    }
    record(member, topic, &now, std::slice::from_ref(begun))?;
    Generations::read(member, topic)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Records as they are stored.
    const STORED: &str = include_str!("../tests/golden/generations-1.json");

    fn collected(lines: &[&str]) -> Result<Generations, Error> {
        Generations::collect("shop.generations", |sink| {
            for (offset, line) in (0..).zip(lines) {
                let value = Some(line.as_bytes());
                sink(Record { partition: 0, offset, timestamp: 0, key: None, value });
            }
            Ok(())
        })
    }

    #[test]
    fn stored_generations_are_read_and_a_later_record_of_one_replaces_it() {
        let lines: Vec<&str> = STORED.lines().collect();
        let generations = collected(&lines).unwrap();
        let cuts: Vec<_> = generations.iter().map(|generation| (generation.number, generation.cut)).collect();
        assert_eq!(cuts, [(1, Some(0)), (2, Some(1_767_225_900_000))]);
        assert_eq!(collected(&lines[..2]).unwrap().newest().unwrap().cut, None, "declared alone");
        for (line, number) in lines.iter().zip([1, 2, 2]) {
            let one = collected(&[line]).unwrap();
            assert_eq!(serde_json::to_string(one.get(number).unwrap()).unwrap(), *line);
        }
    }

    #[test]
    fn a_generation_has_ended_once_the_next_one_has_its_cut() {
        let lines: Vec<&str> = STORED.lines().collect();
        let ended = |lines: &[&str], time| collected(lines).unwrap().ended_before(time).collect::<Vec<_>>();
        let declared = collected(&lines).unwrap().get(2).unwrap().declared;
        assert_eq!(ended(&lines, declared + 1), [1]);
        assert_eq!(ended(&lines, declared), [] as [u32; 0]);
        assert_eq!(ended(&lines[..2], declared + 1), [] as [u32; 0], "the next one has not taken over yet");
        assert_eq!(ended(&lines[..1], i64::MAX), [] as [u32; 0]);
    }

    #[test]
    fn a_record_of_another_version_is_refused() {
        let later = STORED.lines().next().unwrap().replace("\"version\":1", "\"version\":2");
        for (line, why) in [(&*later, "found version 2, expected 1"), ("{}", "missing field `version`")] {
            let error = collected(&[line]).unwrap_err().to_string();
            assert!(error.starts_with("shop.generations holds a record at offset 0 that is not"), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}
