//! Generations: which is the newest, whether other settings begin the next one, and how it takes over from the one before.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{anyhow, bail};
use weir_analytics::decisive::{DecisiveSettings, settings_in};
use weir_analytics::generation::{self, Next};
use weir_kafka::{Connection, MemberOptions, TopicInspector};
use weir_log::generations::{self, Generation, Generations};
use weir_log::{Error, Member, PartitionProgress};
use weir_manifest::{FIRST_GENERATION, Pipeline};
use weir_processor::ending::Ending;
use weir_processor::results::Results;
use weir_processor::takeover::{self, End, Next};

use crate::backoff::{Backoff, retry_with_backoff};
use crate::process::{self, Part};

/// Attempts to record that a generation has begun.
const RECORD_ATTEMPTS: u32 = 10;

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
    let inspector = TopicInspector::connect(&options)?;
    if inspector.topics(&[first.events_topic()])?.iter().all(Option::is_none) {
        return Ok(None);
    }
    let committed = inspector.committed()?;
    Ok(PartitionProgress::settings_in(committed.iter().flatten().map(|committed| &*committed.metadata)))
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
    record(pipeline, generations, &next.declared, |topic| {
        weir_kafka::Member::connect(MemberOptions::new(brokers, topic, topic, topic))
    })
}

fn record<M: Member>(
    pipeline: &Pipeline,
    expected: &Generations,
    generations: &[Generation],
    connect: impl FnOnce(&str) -> Result<M, Error>,
) -> Result<(), Error> {
    let topic = pipeline.generations_topic();
    let mut member = connect(&topic)?;
    let recorded = generations::record(&mut member, &topic, expected, generations);
    member.leave()?;
    recorded
}

/// Ends the generations before the pipeline's own, in order, where that has not been done: stops their stage 1, and emits what is complete.
/// Returns the end up to which windows are told by them; `None` for the first generation, and after a stop.
///
/// # Errors
/// Errors that need the user's action.
pub(crate) fn take_over<M: Member>(
    pipeline: &Pipeline,
    mut generations: Generations,
    part: &Part<'_>,
    connect: impl Fn(&str, &str) -> Result<M, Error>,
) -> anyhow::Result<Option<i64>> {
    loop {
        let next = takeover::next(&generations, pipeline.generation);
        let end = match next.map_err(|number| not_recorded(pipeline, number))? {
            Next::Begin(cut) => return Ok(cut),
            Next::End(end) => end,
        };
        tracing::info!(generation = end.by(), "ending the generation before, to begin this one");
        let Some(cut) = end_generation(pipeline, &end, part, &connect)? else { return Ok(None) };
        let Some(now) = record_begun(pipeline, &end.begun(cut), part, &connect)? else { return Ok(None) };
        generations = now;
    }
}

fn not_recorded(pipeline: &Pipeline, number: u32) -> anyhow::Error {
    anyhow!(
        "{} does not have generation {number} any more, which is needed to begin the next one",
        pipeline.generations_topic()
    )
}

/// Ends one generation. Returns the end up to which it has told windows; `None` after a stop.
fn end_generation<M: Member>(
    pipeline: &Pipeline,
    end: &End,
    part: &Part<'_>,
    connect: &impl Fn(&str, &str) -> Result<M, Error>,
) -> anyhow::Result<Option<i64>> {
    let (by, generation) = (end.by(), end.generation());
    let ends = pipeline.in_generation(generation.number);
    let (mut cut, mut is_drained) = (None, false);
    let stage = Ending { events: ends.events_topic().to_owned(), by };
    part.drive(
        "end of the last generation",
        || connect(&ends.windows_group(), ends.events_topic()),
        stage,
        |worker| {
            cut = worker.member().committed().ok().and_then(|committed| end.cut(&committed));
            cut.is_some()
        },
    )?;
    let Some(cut) = cut else { return Ok(None) };
    if end.drains(cut) {
        let settings = settings_in(&generation.settings).map_err(|lacks| anyhow!("{lacks}"))?;
        let options = process::results_options(&ends, settings, end.cut_before(), Some(by));
        part.drive(
            "last windows of the last generation",
            || connect(&ends.results_group(), &ends.blocks_topic()),
            Results::new(options),
            |worker| {
                let committed = worker.member().committed();
                is_drained = committed.is_ok_and(|committed| end.is_drained(&committed));
                is_drained
            },
        )?;
        if !is_drained {
            return Ok(None);
        }
    }
    tracing::info!(generation = generation.number, cut, "the generation has ended");
    Ok(Some(cut))
}

/// Records that a generation has begun, unless another process has. Returns what is recorded now; `None` after a stop.
fn record_begun<M: Member>(
    pipeline: &Pipeline,
    begun: &Generation,
    part: &Part<'_>,
    connect: &impl Fn(&str, &str) -> Result<M, Error>,
) -> anyhow::Result<Option<Generations>> {
    let topic = pipeline.generations_topic();
    let mut backoff = Backoff::new();
    let mut attempts = 0;
    while !part.is_stopped() {
        // Another process that does the same takes the transactional id over: then this attempt fails, and finds the record.
        let recorded = connect(&topic, &topic).and_then(|mut member| {
            let now = generations::record_begun(&mut member, &topic, begun)?;
            member.leave()?;
            Ok(now)
        });
        match recorded {
            Ok(now) => return Ok(Some(now)),
            Err(error) if attempts == RECORD_ATTEMPTS => return Err(anyhow!("{error}")),
            Err(error) => backoff.wait(&error, part.stop),
        }
        attempts += 1;
        part.heartbeat();
    }
    Ok(None)
}

/// The decisive settings of a document; `None` if it takes a key that is not given.
pub(crate) fn decisive_settings(
    pipeline: &Pipeline,
    key_file: Option<&Path>,
) -> anyhow::Result<Option<DecisiveSettings>> {
    if pipeline.spec.pii.hashes() && !process::has_key(key_file) {
        return Ok(None);
    }
    Ok(Some(process::decisive_settings(pipeline, &process::privacy(pipeline, key_file)?)))
}
