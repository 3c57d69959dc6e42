//! The options of the two stages, from the document.

use weir_analytics::Settings;
use weir_manifest::{DeadLetterPayload, Management, Pipeline};
use weir_processor::results::ResultsOptions;
use weir_processor::windows::WindowsOptions;

/// The options of stage 1.
pub(crate) fn windows_options(
    pipeline: &Pipeline,
    settings: Settings,
    until_end: bool,
    cut: Option<i64>,
) -> WindowsOptions {
    WindowsOptions {
        settings,
        max_future: pipeline.spec.window.max_future.as_millis(),
        idle_timeout: pipeline.spec.window.idle_timeout.as_millis(),
        // A topic that is not managed here may have another timestamp type.
        stamped_by_broker: pipeline.spec.topics.events.management == Management::Managed,
        until_end,
        snapshot_every: pipeline.snapshot_interval().as_millis(),
        inputs: pipeline.spec.topics.events.partitions,
        events: pipeline.events_topic().to_owned(),
        blocks: pipeline.blocks_topic(),
        state: pipeline.state_topic(),
        live: Some(pipeline.live_topic()),
        dead_letters: pipeline.dead_letters_topic(),
        keep_payload: pipeline.dead_letter_payload() == DeadLetterPayload::Keep,
        cut,
    }
}

/// The options of stage 2, also of a generation that ends.
pub(crate) fn results_options(
    pipeline: &Pipeline,
    settings: Settings,
    cut: Option<i64>,
    ended_by: Option<u32>,
) -> ResultsOptions {
    ResultsOptions {
        settings,
        inputs: pipeline.spec.topics.events.partitions,
        windows: pipeline.windows_group(),
        events: pipeline.events_topic().to_owned(),
        blocks: pipeline.blocks_topic(),
        results: pipeline.results_topic().to_owned(),
        result_partitions: pipeline.spec.topics.results.partitions,
        top_pages: pipeline.top_pages_topic().to_owned(),
        cut,
        ended_by,
    }
}
