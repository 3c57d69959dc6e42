//! Generations: which is the newest, and whether other settings begin the next one.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{anyhow, bail};
use weir_analytics::Settings;
use weir_analytics::decisive::{self, DecisiveSettings, definitions_in};
use weir_analytics::generation::{self, Next};
use weir_kafka::{Connection, MemberOptions, TopicInspector, record_generations};
use weir_log::{Error, Generations};
use weir_manifest::{FIRST_GENERATION, Pipeline};

use crate::backoff::retry_with_backoff;
use crate::key;

/// Reads what is recorded of a pipeline's generations.
pub(crate) struct Recorded {
    inspector: TopicInspector,
    topic: String,
}

impl Recorded {
    pub(crate) fn new(pipeline: &Pipeline, brokers: &str) -> Result<Self, Error> {
        let topic = pipeline.generations_topic();
        let options = MemberOptions {
            connection: Connection::new(brokers, "weir-generations"),
            ..MemberOptions::new(brokers, &topic, &topic, "")
        };
        Ok(Self { inspector: TopicInspector::connect(&options)?, topic })
    }

    /// Reads them; none while the pipeline is in its first.
    pub(crate) fn read(&self) -> Result<Generations, Error> {
        self.inspector.generations(&self.topic)
    }
}

/// The pipeline in its newest generation; `None` after a stop.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn newest(
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
) -> Result<Option<Pipeline>, Error> {
    Ok(read(pipeline, brokers, stop)?.map(|generations| in_newest(pipeline, &generations)))
}

/// What is recorded; waits for brokers. `None` after a stop.
///
/// # Errors
/// As [`Error`] says.
pub(crate) fn read(
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
) -> Result<Option<Generations>, Error> {
    let recorded = Recorded::new(pipeline, brokers)?;
    retry_with_backoff(stop, || recorded.read())
}

fn in_newest(pipeline: &Pipeline, generations: &Generations) -> Pipeline {
    pipeline.in_generation(generations.newest().map_or(FIRST_GENERATION, |newest| newest.number))
}

/// The pipeline in its newest generation, if that has the document's settings.
///
/// # Errors
/// It has others: what differs, and what to run.
pub(crate) fn current(
    pipeline: &Pipeline,
    decisive: &DecisiveSettings,
    generations: &Generations,
) -> anyhow::Result<Pipeline> {
    if let Some(newest) = generations.newest()
        && let Some(refusal) = decisive.refusal(&newest.settings)
    {
        bail!("generation {} of the pipeline {} {refusal}", newest.number, pipeline.metadata.name);
    }
    Ok(in_newest(pipeline, generations))
}

/// The document's engine settings, with the definitions that are recorded of the newest generation.
///
/// # Errors
/// A version of the definitions that this release does not know.
pub(crate) fn settings(pipeline: &Pipeline, generations: &Generations) -> anyhow::Result<Settings> {
    let mut settings = decisive::settings(pipeline);
    if let Some(newest) = generations.newest() {
        settings.definitions = definitions_in(&newest.settings)
            .map_err(|unknown| anyhow!("generation {} of the pipeline {unknown}", newest.number))?;
    }
    Ok(settings)
}

/// Whether the document's settings begin another generation: they differ from those of the newest one.
///
/// # Errors
/// As [`Error`] says; the settings of an earlier release cannot be read.
pub(crate) fn next(
    pipeline: &Pipeline,
    brokers: &str,
    decisive: &DecisiveSettings,
    generations: &Generations,
    now: i64,
) -> anyhow::Result<Option<Next>> {
    let committed = match generations.newest() {
        Some(_) => None,
        None => committed_settings(pipeline, brokers)?,
    };
    generation::next(decisive, generations, committed.as_deref(), now).map_err(anyhow::Error::msg)
}

/// The settings that the first generation has committed; `None` if it has not begun.
fn committed_settings(pipeline: &Pipeline, brokers: &str) -> Result<Option<String>, Error> {
    let first = pipeline.in_generation(FIRST_GENERATION);
    let options = MemberOptions::new(brokers, &first.windows_group(), first.events_topic(), "");
    TopicInspector::connect(&options)?.committed_settings()
}

/// Declares the next generation. From now on processes of the last one leave.
///
/// # Errors
/// As [`Error`] says; another program has declared one meanwhile.
pub(crate) fn declare(
    pipeline: &Pipeline,
    brokers: &str,
    generations: &Generations,
    next: &Next,
) -> Result<(), Error> {
    let topic = pipeline.generations_topic();
    record_generations(&Connection::new(brokers, &topic), &topic, generations, &next.declared)
}

/// The decisive settings of a document; `None` if it takes a key that is not given.
pub(crate) fn decisive_settings(
    pipeline: &Pipeline,
    key_file: Option<&Path>,
) -> anyhow::Result<Option<DecisiveSettings>> {
    if pipeline.spec.pii.hashes() && !key::has_key(key_file) {
        return Ok(None);
    }
    Ok(Some(key::decisive_settings(pipeline, &key::privacy(pipeline, key_file)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use weir_analytics::Definitions;
    use weir_log::Generation;

    use super::*;

    #[test]
    fn a_generation_has_the_definitions_that_are_recorded_of_it() {
        let pipeline = Pipeline::demo();
        let definitions = |recorded: &str| {
            let recorded = recorded.split_terminator('|').map(|text| Generation::declared(2, text, 0));
            settings(&pipeline, &Generations::of(recorded)).map(|settings| settings.definitions)
        };
        assert_eq!(definitions("").unwrap(), Definitions::NEWEST);
        assert_eq!(definitions("size 1 ms").unwrap(), Definitions::V1);
        assert_eq!(definitions("size 1 ms, definitions 2").unwrap(), Definitions::V2);
        let later = definitions("size 1 ms, definitions 3").unwrap_err().to_string();
        assert!(
            later.starts_with("generation 2 of the pipeline follows the definitions of version 3"),
            "{later}"
        );
    }
}
