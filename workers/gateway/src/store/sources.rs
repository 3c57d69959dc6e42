//! The read state of each source, and the gateway's readiness that follows from it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The read state of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It cannot be read now, for this reason.
    Unavailable(String),
    /// It was read to an end offset requested since the last error.
    CaughtUp,
}

/// The progress of reading one source.
#[derive(Debug, Default)]
struct Reading {
    /// When it was last [`Source::CaughtUp`]; `None` before that.
    reached: Option<Instant>,
    /// The last error since.
    failure: Option<String>,
}

/// Whether a source is up to date.
enum Freshness {
    Fresh,
    /// It has not been read to its end yet, without an error.
    Initial,
    /// The problem, phrased to follow the source's name.
    Stale(String),
}

impl Reading {
    fn freshness(&self, max_age: Duration) -> Freshness {
        match (self.reached, &self.failure) {
            (Some(reached), _) if reached.elapsed() < max_age => Freshness::Fresh,
            (None, None) => Freshness::Initial,
            (None, Some(why)) => Freshness::Stale(format!("cannot be read: {why}")),
            (Some(_), why) => Freshness::Stale(format!(
                "was last read to its end more than {max_age:?} ago: {}",
                why.as_deref().unwrap_or("brokers answer, but the end is not reached")
            )),
        }
    }
}

/// The sources of a pipeline's state: topics, and its consumer groups' committed offsets.
#[derive(Debug)]
pub(super) struct Sources {
    readings: BTreeMap<String, Reading>,
    /// The sources that readiness requires.
    needed: Vec<String>,
    max_age: Duration,
}

impl Sources {
    /// Sources that were not read yet. `max_age`: how long ago one may have been read to its end.
    pub(super) fn new(needed: &[&str], max_age: Duration) -> Self {
        let needed: Vec<String> = needed.iter().map(|topic| (*topic).to_owned()).collect();
        let readings = needed.iter().map(|topic| (topic.clone(), Reading::default())).collect();
        Self { readings, needed, max_age }
    }

    /// Sets the read state of a source.
    pub(super) fn report(&mut self, name: &str, source: Source) {
        let reading = self.readings.entry(name.to_owned()).or_default();
        match source {
            Source::Unavailable(why) => reading.failure = Some(why),
            Source::CaughtUp => *reading = Reading { reached: Some(Instant::now()), failure: None },
        }
    }

    /// Resets a source that is read from its beginning again.
    pub(super) fn restart(&mut self, name: &str) {
        self.readings.insert(name.to_owned(), Reading::default());
    }

    /// Drops a source that is no longer read.
    pub(super) fn forget(&mut self, name: &str) {
        self.readings.remove(name);
    }

    /// Why the gateway is not ready; `None` while all needed sources are fresh.
    pub(super) fn unready(&self) -> Option<String> {
        let mut needed = self.readings.iter().filter(|(name, _)| self.needed.contains(name));
        needed.find_map(|(name, reading)| match reading.freshness(self.max_age) {
            Freshness::Fresh => None,
            Freshness::Initial => Some(format!("{name} is being read from its beginning")),
            Freshness::Stale(problem) => Some(format!("{name} {problem}")),
        })
    }

    /// Problems of the sources that readiness does not require.
    pub(super) fn warnings(&self) -> Vec<String> {
        let optional = self.readings.iter().filter(|(name, _)| !self.needed.contains(name));
        optional
            .filter_map(|(name, reading)| match reading.freshness(self.max_age) {
                Freshness::Fresh | Freshness::Initial => None,
                Freshness::Stale(problem) => Some(format!("{name} {problem}")),
            })
            .collect()
    }

    /// How long ago each was last read to its end.
    pub(super) fn ages(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.readings.iter().filter_map(|(name, reading)| Some((name.as_str(), reading.reached?.elapsed())))
    }
}
