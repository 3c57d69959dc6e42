//! Draws pictures.

use std::{sync::Arc, time::Duration};

use tokio::time;

use crate::{
    Gateway,
    wire::values::{Values, values},
};

/// Least time between two pictures: what partitions say within it becomes one.
const APART: Duration = Duration::from_millis(50);
/// Most time without looking, for what changes without a record: pages newly asked for, sampled events.
const LOOK: Duration = Duration::from_millis(250);

/// Draws a picture soon after anything changed, for ever. At most one runs per gateway.
pub async fn publish(gateway: Gateway) {
    loop {
        // Either way there may be something to draw.
        let _ = time::timeout(LOOK, gateway.shared.changed.notified()).await;
        let Values { topics, sealed } = values(&gateway);
        let next = gateway.shared.picture.borrow().next(topics, sealed);
        if let Some(next) = next {
            gateway.shared.picture.send_replace(Arc::new(next));
        }
        time::sleep(APART).await;
    }
}
