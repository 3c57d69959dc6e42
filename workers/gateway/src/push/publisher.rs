//! Renders frames.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time;

use crate::{
    Gateway,
    gateway::ServedPipeline,
    sync::lock,
    wire::values::{Values, values},
};

/// Least time between two frames: what partitions say within it becomes one.
const APART: Duration = Duration::from_millis(50);
/// Most time without looking, for what changes without a record: pages newly asked for, sampled events.
const LOOK: Duration = Duration::from_millis(250);

/// Renders frames of each pipeline, for ever. At most one runs per gateway.
pub async fn publish(gateway: Gateway) {
    join_all(gateway.pipelines().map(|pipeline| publish_pipeline(Arc::clone(pipeline)))).await;
}

/// Renders a frame soon after anything changed, for ever.
async fn publish_pipeline(pipeline: Arc<ServedPipeline>) {
    loop {
        // Either way there may be something to render.
        let _ = time::timeout(LOOK, pipeline.state.changed()).await;
        let wanted = lock(&pipeline.subscriptions).pages();
        let Values { topics, sealed } = values(&pipeline.state, wanted);
        let next = pipeline.frame.borrow().next(topics, sealed);
        if let Some(next) = next {
            pipeline.frame.send_replace(Arc::new(next));
        }
        time::sleep(APART).await;
    }
}
