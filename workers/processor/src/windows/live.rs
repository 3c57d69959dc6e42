//! Live values: what the open windows show.

use std::collections::BTreeMap;
use std::time::Instant;

use weir_log::{Member, Output};

use super::{Input, Windows, input::Shown};

impl Windows {
    /// Publishes what the open windows show, where that changed: by events, or because time has passed and some have left. So a site that
    /// falls silent shows nobody once its window is over, and after that nothing needs to be published.
    pub(super) fn publish_live<M: Member>(
        &mut self,
        inputs: &mut BTreeMap<i32, Input>,
        member: &mut M,
        now: i64,
    ) {
        let Some(topic) = self.options.live.as_ref().filter(|_| self.live.is_due(now)) else { return };
        let begun = Instant::now();
        // Right after a restart it is not known yet how much is still to be read.
        let known = |input: &Input| input.next > input.replay_to || input.at_end && !input.replays();
        for input in inputs.values_mut().filter(|input| known(input)) {
            let at = input.event_time(now);
            let Some(end) = input.engine.open_window_end(at) else { continue };
            if input.shown.is_some_and(|shown| shown.next == input.next && (shown.empty || shown.end == end))
            {
                continue;
            }
            let Some(live) = input.engine.live_snapshot(at) else { continue };
            input.shown = Some(Shown { next: input.next, end, empty: live.pages.is_empty() });
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
