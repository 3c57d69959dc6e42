//! Renders frames.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{task, time};

use crate::{
    Gateway,
    gateway::ServedPipeline,
    sync::lock,
    wire::values::{Values, values},
};

/// Minimum time between two frames: changes within it make one frame.
const MIN_FRAME_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum time between two frames, for changes without a record: new subscriptions, warnings.
const MAX_FRAME_INTERVAL: Duration = Duration::from_millis(250);

/// Renders frames of each pipeline, for ever. At most one runs per gateway.
pub async fn publish(gateway: Gateway) {
    join_all(gateway.pipelines().map(|pipeline| publish_pipeline(Arc::clone(pipeline)))).await;
}

/// Renders a frame soon after anything changed, for ever.
async fn publish_pipeline(pipeline: Arc<ServedPipeline>) {
    loop {
        // Either way there may be something to render.
        let _ = time::timeout(MAX_FRAME_INTERVAL, pipeline.state.changed()).await;
        let rendered = {
            let pipeline = Arc::clone(&pipeline);
            task::spawn_blocking(move || render(&pipeline)).await
        };
        if let Err(error) = rendered {
            // The panic ends the server.
            if let Ok(panic) = error.try_into_panic() {
                resume_unwind(panic);
            }
            return;
        }
        time::sleep(MIN_FRAME_INTERVAL).await;
    }
}

/// Renders the next frame if anything differs.
fn render(pipeline: &ServedPipeline) {
    let wanted = lock(&pipeline.subscriptions).pages();
    let Values { topics, sealed } = values(&pipeline.state, wanted);
    let next = pipeline.frame.borrow().next(topics, sealed);
    if let Some(next) = next {
        pipeline.frame.send_replace(Arc::new(next));
    }
}
