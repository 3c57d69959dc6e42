//! Leaves a group such that the other members take over at once.
//!
//! Closing a consumer does that for dynamic members only: librdkafka sends no `LeaveGroup` for a static member that closes
//! (KIP-345), and the group would wait for the session timeout. It does send one after an `unsubscribe`, if there is time
//! before the close, and no join is under way: a member that is stopped amid a rebalance joins first. It does not report when it
//! left, so the group's members are polled.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::group::Group;

/// Time limit for leaving, and before it for a join that is under way; afterwards the session times out by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Leaves and closes.
pub(super) fn leave(mut group: Group) {
    let Some(instance) = group.instance.clone() else { return };
    let name = group.group.clone();
    group.finish_joining(Instant::now() + LEAVE_TIMEOUT);
    let deadline = Instant::now() + LEAVE_TIMEOUT;
    let consumer = group.unsubscribe();
    while Instant::now() < deadline {
        // Serves the rebalance caused by unsubscribing.
        drop(consumer.poll(Duration::from_millis(20)));
        let Ok(groups) = consumer.fetch_group_list(Some(&name), LEAVE_TIMEOUT) else { continue };
        // The broker derives a static member's id from its instance id.
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
