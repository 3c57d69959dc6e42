//! Publishes live values of the open windows.

use std::collections::BTreeMap;
use std::time::Instant;

use weir_log::{Member, Output};

use super::{Input, Windows, input::Published};

impl Windows {
    /// Publishes the live values of open windows if they changed: by new events, or because events have left the window. So a silent
    /// site's values become zero within a window, after which nothing is published.
    pub(super) fn publish_live<M: Member>(
        &mut self,
        inputs: &mut BTreeMap<i32, Input>,
        member: &mut M,
        now: i64,
    ) {
        let Some(topic) = self.options.live.as_ref().filter(|_| self.live.is_due(now)) else { return };
        let begun = Instant::now();
        // Not during a replay, whose values would be outdated.
        let is_current = |input: &Input| input.next > input.replay_to || input.at_end && !input.replays();
        for input in inputs.values_mut().filter(|input| is_current(input)) {
            let at = input.event_time(now);
            let Some(end) = input.engine.open_window_end(at) else { continue };
            if input.published.is_some_and(|last| last.next == input.next && (last.empty || last.end == end))
            {
                continue;
            }
            let Some(live) = input.engine.live_snapshot(at) else { continue };
            input.published = Some(Published { next: input.next, end, empty: live.pages.is_empty() });
            let value = live.encode().ok();
            member.publish(Output {
                topic: topic.clone(),
                partition: 0,
                key: Some(input.number.to_string().into_bytes()),
                value,
                headers: Vec::new(),
            });
        }
        self.live.turned(now, begun.elapsed());
    }
}
