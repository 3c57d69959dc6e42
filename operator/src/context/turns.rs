//! Rollout turns: the pods of one pipeline are rolled at a time.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource as _;
use weir_manifest::ClickstreamPipeline;

use super::{Context, key};

/// A pipeline whose pods are rolled while others wait.
pub(super) struct Turn {
    pipeline: String,
    since: Instant,
    rolled_out: Option<RolledOut>,
}

impl Turn {
    fn is_over(&self, deadline: Duration) -> bool {
        self.rolled_out.as_ref().map_or(self.since.elapsed() >= deadline, RolledOut::is_over)
    }
}

/// A rolled pipeline whose pods are ready.
struct RolledOut {
    at: Instant,
    /// End of the last sealed window at that time.
    sealed: Option<i64>,
    /// Maximum time until the next window is sealed.
    timeout: Duration,
}

impl RolledOut {
    fn is_over(&self) -> bool {
        self.at.elapsed() >= self.timeout
    }
}

impl Context {
    /// Takes the rollout turn. The turn of a pipeline that is gone, or that exceeds the progress deadline, is over.
    ///
    /// # Errors
    /// The name of the pipeline that holds the turn.
    pub(crate) fn take_turn(&self, resource: &ClickstreamPipeline) -> Result<(), String> {
        let mine = key(resource);
        let mut rolling = self.rolling();
        if let Some(turn) = &*rolling
            && turn.pipeline != mine
            && !turn.is_over(self.progress_deadline)
            && self
                .pipelines
                .state()
                .iter()
                .any(|other| key(&**other) == turn.pipeline && other.meta().deletion_timestamp.is_none())
        {
            return Err(turn.pipeline.clone());
        }
        if rolling.as_ref().is_none_or(|turn| turn.pipeline != mine) {
            *rolling = Some(Turn { pipeline: mine, since: Instant::now(), rolled_out: None });
        }
        Ok(())
    }

    /// Whether this pipeline holds the turn.
    pub(crate) fn has_turn(&self, resource: &ClickstreamPipeline) -> bool {
        self.rolling().as_ref().is_some_and(|turn| turn.pipeline == key(resource))
    }

    /// Records that the pods of the pipeline that holds the turn are ready, and the end of the last sealed window. The turn is over once
    /// another window is sealed, or after `timeout`. Returns whether it is over.
    pub(crate) fn rolled_out(
        &self,
        resource: &ClickstreamPipeline,
        sealed: Option<i64>,
        timeout: Duration,
    ) -> bool {
        let mut rolling = self.rolling();
        let Some(turn) = rolling.as_mut().filter(|turn| turn.pipeline == key(resource)) else { return true };
        let rolled_out = turn.rolled_out.get_or_insert(RolledOut { at: Instant::now(), sealed, timeout });
        rolled_out.sealed = rolled_out.sealed.or(sealed);
        let over = sealed > rolled_out.sealed || rolled_out.is_over();
        if over {
            *rolling = None;
        }
        over
    }

    /// Records that the pods are not ready, or no longer ready.
    pub(crate) fn not_rolled_out(&self, resource: &ClickstreamPipeline) {
        if let Some(turn) = self.rolling().as_mut().filter(|turn| turn.pipeline == key(resource)) {
            // The progress deadline starts anew.
            if turn.rolled_out.take().is_some() {
                turn.since = Instant::now();
            }
        }
    }

    fn rolling(&self) -> MutexGuard<'_, Option<Turn>> {
        self.rolling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
