//! Faults of what is sent.

use crate::pipeline::TestPipeline;

/// Windows to be sealed while faulty events come: longer than a window is.
const WINDOWS: u32 = 100;

/// F13: nothing but the traffic itself, and no process may end of it.
pub(super) fn faulty_events(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for _ in 0..pipeline.repetitions(WINDOWS) {
        pipeline.await_progress("faulty events")?;
        pipeline.outcome.repetitions += 1;
    }
    let read = pipeline.progress.get();
    if let Some(committed) = read {
        pipeline.outcome.note = format!(
            "{} duplicates, {} late, {} dead",
            committed.sum(|partition| partition.duplicates),
            committed.sum(|partition| partition.late),
            committed.sum(|partition| partition.dead)
        );
    }
    Ok(())
}
