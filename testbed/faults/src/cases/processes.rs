//! Faults of processors.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::RngExt;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, Producer as _},
};

use crate::pipeline::TestPipeline;

/// The steps of the protocol at which builds with the feature `failpoints` can be killed.
const STEPS: [&str; 5] = ["polled", "produced", "offsets-sent", "commit-sent", "committed"];
const KILLS_PER_STEP: u32 = 20;
const KILLS_THAT_BITE: usize = 6;
/// A step is reached at most so often before the kill: both stages, at different moments of a window.
const MAX_COUNT: u32 = 24;
const FREEZES: u32 = 6;
const SCALINGS: [usize; 6] = [1, 6, 2, 1, 6, 2];
const SCALING_INTERVAL: Duration = Duration::from_secs(10);
/// Seconds that the clocks of the processors are ahead, in turn: apart from each other, all ahead, all behind, right again.
const CLOCKS: [[i64; 2]; 5] = [[3_600, -3_600], [-3_600, 3_600], [7_200, 7_200], [-7_200, -7_200], [0, 0]];
const OUT_OF_MEMORY: u32 = 12;
/// How long a processor may get by with the memory that it has.
const TIGHT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// F1: all processors have failpoints, and die again and again.
pub(super) fn killed_at_failpoints(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let kills = pipeline.repetitions(KILLS_PER_STEP);
    pipeline.outcome.note = format!("{kills} kills at each of {} steps", STEPS.len());
    killed_at(pipeline, STEPS.iter().flat_map(|step| (0..kills).map(move |_| *step)).collect())
}

/// As F1, at one step: with the cure that it shows the lack of, few kills are enough.
pub(super) fn killed_once_offsets_are_sent(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    pipeline.outcome.note = format!("{KILLS_THAT_BITE} kills");
    killed_at(pipeline, vec!["offsets-sent"; KILLS_THAT_BITE])
}

fn killed_at(pipeline: &mut TestPipeline<'_>, mut due: Vec<&str>) -> anyhow::Result<()> {
    let mut armed = vec![false; pipeline.processors.count()];
    while !due.is_empty() || armed.contains(&true) {
        for (number, armed) in armed.iter_mut().enumerate() {
            if !*armed && let Some(step) = due.pop() {
                let at = pipeline.random.random_range(1..=MAX_COUNT);
                pipeline.processors.arm(number, &format!("{step}:{at}:kill"))?;
                *armed = true;
            }
        }
        let mut killed = Vec::new();
        pipeline.wait_until("a processor reaches its failpoint", |pipeline| {
            for (number, _) in armed.iter().enumerate().filter(|(_, armed)| **armed) {
                if pipeline.processors.is_killed(number)? {
                    killed.push(number);
                }
            }
            Ok(!killed.is_empty())
        })?;
        for number in killed {
            armed[number] = false;
            pipeline.outcome.repetitions += 1;
        }
    }
    // Those that are dead now are started by whoever waits for progress.
    Ok(())
}

/// F2: a processor stops itself with a transaction open. Once the others have taken its partitions over, and the broker has aborted the
/// transaction, it goes on: nothing of it may be committed.
pub(super) fn zombies(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    const REFUSED: &str = "transaction aborted, resuming";
    for number in 0..pipeline.repetitions(FREEZES) {
        let step = ["produced", "offsets-sent", "polled"][number as usize % 3];
        let zombie = pipeline.random.random_range(0..pipeline.processors.count());
        let at = pipeline.random.random_range(3..=MAX_COUNT);
        let frozen = pipeline.processors.count_in_log(zombie, "failpoint reached");
        let refused = pipeline.processors.count_in_log(zombie, REFUSED);
        pipeline.processors.arm(zombie, &format!("{step}:{at}:stop"))?;
        pipeline.wait_until("the processor freezes", |pipeline| {
            Ok(pipeline.processors.count_in_log(zombie, "failpoint reached") > frozen)
        })?;
        // Windows are sealed only once every partition has an owner that goes on: past the session's timeout. Two of them: the
        // first may have been sealed when it froze.
        for _ in 0..2 {
            pipeline.await_progress(&format!("a processor frozen at {step}"))?;
        }
        pipeline.processors.signal(zombie, "CONT")?;
        if step != "polled" {
            pipeline.wait_until("the zombie's commit is refused", |pipeline| {
                Ok(pipeline.processors.count_in_log(zombie, REFUSED) > refused)
            })?;
        }
        pipeline.await_progress("the zombie went on")?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F3: the processor whose id is taken must end, with a reason, and go on when it is started again.
pub(super) fn hijacked(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for group in [pipeline.document.windows_group(), pipeline.document.results_group()] {
        let id = format!("{group}.{}", pipeline.processors.name(0));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", pipeline.brokers()).set("transactional.id", &id);
        let hijacker: BaseProducer = config.create()?;
        hijacker.init_transactions(REQUEST_TIMEOUT).context("take the transactional id")?;
        pipeline.wait_until("the processor ends", |pipeline| Ok(pipeline.processors.status(0)?.is_some()))?;
        let log = pipeline.processors.log(0);
        let expected = format!("another process uses the transactional id {id:?}");
        ensure!(log.contains(&expected), "its log lacks {expected:?}:\n{}", weir_broker::tail(&log));
        ensure!(pipeline.processors.status(0)? == Some(1), "status {:?}", pipeline.processors.status(0)?);
        drop(hijacker);
        pipeline.processors.launch(0, None)?;
        pipeline.await_progress("a transactional id was taken")?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F21.
pub(super) fn scaled(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for count in SCALINGS {
        while pipeline.processors.count() < count {
            pipeline.processors.add()?;
        }
        while pipeline.processors.count() > count {
            pipeline.processors.remove()?;
        }
        // Not until it is stable: the next change may come amid a rebalance.
        thread::sleep(SCALING_INTERVAL);
        pipeline.processors.restart_ended()?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F12: clocks jump while the processors run, then the processors are restarted with them.
pub(super) fn wrong_clocks(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for clocks in CLOCKS {
        for (number, ahead) in clocks.into_iter().enumerate() {
            pipeline.processors.set_clock(number, ahead)?;
        }
        // The first may have been sealed before.
        for _ in 0..3 {
            pipeline.await_progress(&format!("clocks ahead by {clocks:?} s"))?;
        }
        for number in 0..clocks.len() {
            pipeline.processors.restart(number)?;
        }
        pipeline.await_progress(&format!("restarted with clocks ahead by {clocks:?} s"))?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F20: the limit is lowered to what a processor uses, so that the kernel kills it wherever it needs the next page.
pub(super) fn out_of_memory(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let (mut survived, tight) = (0, pipeline.repetitions(OUT_OF_MEMORY));
    for _ in 0..tight {
        let number = pipeline.random.random_range(0..pipeline.processors.count());
        let kills = pipeline.processors.memory(number)?.kills()?;
        let begun = Instant::now();
        pipeline.wait_until("the kernel kills it", |pipeline| {
            pipeline.processors.memory(number)?.tighten()?;
            Ok(begun.elapsed() > TIGHT || pipeline.processors.status(number)?.is_some())
        })?;
        pipeline.processors.memory(number)?.lift()?;
        if pipeline.processors.status(number)?.is_some() {
            ensure!(pipeline.processors.memory(number)?.kills()? > kills, "it ended, but not by the kernel");
            pipeline.outcome.repetitions += 1;
            pipeline.processors.launch(number, None)?;
        } else {
            survived += 1;
        }
        pipeline.await_progress("out of memory")?;
    }
    pipeline.outcome.note = format!("{} kills, {survived} got by", pipeline.outcome.repetitions);
    ensure!(pipeline.outcome.repetitions > 0, "the kernel killed none");
    Ok(())
}
