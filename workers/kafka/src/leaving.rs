//! Leaving a group so that its other members take over at once.
//!
//! Closing a consumer does that for dynamic members only: librdkafka sends no `LeaveGroup` for a static member that closes
//! (KIP-345), and the group would wait for the session to time out. It does send one after an `unsubscribe`, if it gets
//! there before the close. It says nowhere when it did, so the group itself is asked.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::group::Group;

/// How long leaving may take; afterwards the session times out by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Leaves and closes.
pub(super) fn leave(mut group: Group) {
    let Some(instance) = group.instance.clone() else { return };
    let name = group.group.clone();
    let deadline = Instant::now() + LEAVE_TIMEOUT;
    let consumer = group.unsubscribe();
    while Instant::now() < deadline {
        // Serves the rebalance that unsubscribing causes.
        drop(consumer.poll(Duration::from_millis(20)));
        let Ok(groups) = consumer.fetch_group_list(Some(&name), LEAVE_TIMEOUT) else { continue };
        // The broker makes a static member's id from its instance id.
        let prefix = format!("{instance}-");
        let present = groups
            .groups()
            .iter()
            .flat_map(|group| group.members())
            .any(|member| member.id().starts_with(&prefix));
        if !present {
            return;
        }
    }
    tracing::warn!(
        group = name,
        instance,
        "still a member after leaving: others wait for the session to time out"
    );
}
