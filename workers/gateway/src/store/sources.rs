//! How far what is read was read, and so whether the gateway may answer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How far reading a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It cannot be read now, for this reason.
    Unavailable(String),
    /// It was read to an end that was asked for since the last trouble.
    CaughtUp,
}

/// How reading a topic went.
#[derive(Debug, Default)]
struct Reading {
    /// When it was last [`Source::CaughtUp`]; none before that.
    reached: Option<Instant>,
    /// What went wrong since.
    failure: Option<String>,
}

impl Reading {
    /// What is wrong, in words that come after the topic's name; `None` inside where nothing is, but that it has not been read to its end yet.
    fn trouble(&self, max_age: Duration) -> Option<Option<String>> {
        match (self.reached, &self.failure) {
            (Some(reached), _) if reached.elapsed() < max_age => None,
            (None, None) => Some(None),
            (None, Some(why)) => Some(Some(format!("cannot be read: {why}"))),
            (Some(_), why) => Some(Some(format!(
                "was last read to its end more than {max_age:?} ago: {}",
                why.as_deref().unwrap_or("brokers answer, but nothing comes of it")
            ))),
        }
    }
}

/// What a pipeline's state is read from: topics, and what its consumer groups committed.
#[derive(Debug)]
pub(super) struct Sources {
    readings: BTreeMap<String, Reading>,
    /// Those without which it cannot answer.
    needed: Vec<String>,
    max_age: Duration,
}

impl Sources {
    /// None of them was read yet. `max_age`: how long ago one may have been read to its end.
    pub(super) fn new(needed: &[&str], max_age: Duration) -> Self {
        let needed: Vec<String> = needed.iter().map(|topic| (*topic).to_owned()).collect();
        let readings = needed.iter().map(|topic| (topic.clone(), Reading::default())).collect();
        Self { readings, needed, max_age }
    }

    /// Takes how far reading a source is.
    pub(super) fn report(&mut self, name: &str, source: Source) {
        let reading = self.readings.entry(name.to_owned()).or_default();
        match source {
            Source::Unavailable(why) => reading.failure = Some(why),
            Source::CaughtUp => *reading = Reading { reached: Some(Instant::now()), failure: None },
        }
    }

    /// It is read from its beginning.
    pub(super) fn restart(&mut self, name: &str) {
        self.readings.insert(name.to_owned(), Reading::default());
    }

    /// Why the gateway cannot answer; `None` while all that are needed were read, not long ago.
    pub(super) fn unready(&self) -> Option<String> {
        let mut needed = self.readings.iter().filter(|(name, _)| self.needed.contains(name));
        needed.find_map(|(name, reading)| {
            let trouble = reading.trouble(self.max_age)?;
            Some(format!("{name} {}", trouble.as_deref().unwrap_or("is being read from its beginning")))
        })
    }

    /// What cannot be read and is not needed.
    pub(super) fn warnings(&self) -> Vec<String> {
        let optional = self.readings.iter().filter(|(name, _)| !self.needed.contains(name));
        optional
            .filter_map(|(name, reading)| Some(format!("{name} {}", reading.trouble(self.max_age)??)))
            .collect()
    }

    /// How long ago each was last read to its end.
    pub(super) fn ages(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.readings.iter().filter_map(|(name, reading)| Some((name.as_str(), reading.reached?.elapsed())))
    }
}
