//! The pipeline's progress: read from what its processors committed beside their offsets.

use std::time::Duration;

use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::{Committed, Error, PartitionProgress, ResultsProgress};
use weir_manifest::Pipeline;

use super::{attempts::Attempts, stop::Stop};
use crate::store::{PipelineState, Source, progress::ProgressView};

/// Time between two reads of the committed offsets.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Polls until `stop`. A source that cannot be read keeps its last values and is in the gateway's warnings.
pub(super) fn watch(state: &PipelineState, brokers: &str, stop: &Stop) {
    let what = state.committed_source();
    let (mut groups, mut attempts) = (None, Attempts::new(what.as_str(), state.max_age()));
    while !stop.is_requested() {
        // Those of another generation have other names.
        let generation = state.generation();
        groups = groups.filter(|groups: &Groups| groups.generation == generation);
        match poll(&mut groups, state, brokers) {
            Ok(()) => {
                state.report(&what, Source::CaughtUp);
                attempts.succeeded();
            }
            Err(error) => {
                state.report(&what, Source::Unavailable(error.to_string()));
                attempts.failed(&error);
                renew(
                    groups.iter_mut().flat_map(|Groups { windows, results, .. }| [windows, results]),
                    &mut attempts,
                );
            }
        }
        stop.wait(POLL_INTERVAL);
    }
}

/// Replaces the clients once that is due.
pub(super) fn renew<'a>(
    inspectors: impl IntoIterator<Item = &'a mut TopicInspector>,
    attempts: &mut Attempts,
) {
    if attempts.is_renewal_due() {
        for inspector in inspectors {
            if let Err(error) = inspector.renew() {
                attempts.failed(&error);
            }
        }
    }
}

/// The consumer groups of both stages.
struct Groups {
    generation: u32,
    windows: TopicInspector,
    results: TopicInspector,
}

impl Groups {
    fn connect(pipeline: &Pipeline, brokers: &str) -> Result<Self, Error> {
        let connect = |group: String, topic: &str| {
            let mut options = MemberOptions::new(brokers, &group, topic, "");
            options.connection.client_id = "weir-serve".to_owned();
            // Progress is for display, so it need not wait for the transaction that carries it.
            options.connection.properties.push(("isolation.level".to_owned(), "read_uncommitted".to_owned()));
            TopicInspector::connect(&options)
        };
        Ok(Self {
            generation: pipeline.generation,
            windows: connect(pipeline.windows_group(), pipeline.events_topic())?,
            results: connect(pipeline.results_group(), &pipeline.blocks_topic())?,
        })
    }
}

/// Reads stage 1's progress, then the end up to which stage 2's results are lost. The progress is set even if the second read fails.
fn poll(groups: &mut Option<Groups>, state: &PipelineState, brokers: &str) -> Result<(), Error> {
    let Groups { windows, results, .. } = match groups {
        Some(groups) => groups,
        None => groups.insert(Groups::connect(&state.in_generation(), brokers)?),
    };
    let committed = windows.committed()?;
    let mut views = Vec::with_capacity(committed.len());
    for (committed, partition) in committed.iter().zip(0..) {
        if let Some(committed) = committed {
            views.extend(progress_view(partition, committed, windows.end(partition)?));
        }
    }
    state.set_progress(views);
    let emitted = results.committed()?.into_iter().flatten();
    let emitted =
        emitted.filter_map(|committed| serde_json::from_str::<ResultsProgress>(&committed.metadata).ok());
    state.set_lost_up_to(emitted.filter_map(|emitted| emitted.lost_up_to).max());
    Ok(())
}

/// The progress in a commit of stage 1; `None` if it is of another version. `end` is the offset after the partition's last record.
pub fn progress_view(partition: i32, committed: &Committed, end: i64) -> Option<ProgressView> {
    let progress: PartitionProgress = serde_json::from_str(&committed.metadata).ok()?;
    Some(ProgressView {
        partition,
        watermark: progress.watermark,
        sealed: progress.sealed,
        idle: progress.idle,
        lag: (end - committed.offset).max(0),
        read: progress.read,
        counted: progress.counted,
        late: progress.late,
        dead_letters: progress.dead,
        partly_late: progress.partly_late,
        not_whole: progress.not_whole,
        duplicates: progress.duplicates,
        other_pages: progress.other_pages,
        misplaced: progress.misplaced,
        ended: progress.ended,
        told_after: progress.told_after,
    })
}
