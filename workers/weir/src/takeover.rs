//! How a generation takes over from the one before.

use anyhow::anyhow;
use weir_analytics::decisive::settings_in;
use weir_log::generations::{self, Generation, Generations};
use weir_log::{Error, Member};
use weir_manifest::Pipeline;
use weir_processor::ending::Ending;
use weir_processor::results::Results;
use weir_processor::takeover::{self, End, Next};

use crate::{backoff::Backoff, part::Part, stages::results_options};

/// Attempts to record that a generation has begun.
const RECORD_ATTEMPTS: u32 = 10;

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
    let stage = Ending::new(ends.events_topic(), &ends.state_topic(), &ends.blocks_topic(), by);
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
        let options = results_options(&ends, settings, end.cut_before(), Some(by));
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
