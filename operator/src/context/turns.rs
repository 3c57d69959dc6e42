//! Whose pods are rolled: one pipeline's at a time.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource as _;
use weir_manifest::ClickstreamPipeline;

use super::{Context, key};

/// A pipeline whose pods are rolled while others wait.
pub(super) struct Turn {
    pipeline: String,
    since: Instant,
    landed: Option<Landed>,
}

impl Turn {
    fn is_over(&self, deadline: Duration) -> bool {
        self.landed.as_ref().map_or(self.since.elapsed() >= deadline, Landed::is_over)
    }
}

/// The same, whose pods are ready.
struct Landed {
    at: Instant,
    /// The end up to which windows were sealed then.
    sealed: Option<i64>,
    /// How long the next one may take.
    patience: Duration,
}

impl Landed {
    fn is_over(&self) -> bool {
        self.at.elapsed() >= self.patience
    }
}

impl Context {
    /// Takes the turn to be rolled. The turn of a pipeline that is gone, or does not come to an end, is over.
    ///
    /// # Errors
    /// The pipeline that has it.
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
            *rolling = Some(Turn { pipeline: mine, since: Instant::now(), landed: None });
        }
        Ok(())
    }

    /// Whether it is this pipeline's turn.
    pub(crate) fn has_turn(&self, resource: &ClickstreamPipeline) -> bool {
        self.rolling().as_ref().is_some_and(|turn| turn.pipeline == key(resource))
    }

    /// Notes that the pods of the pipeline whose turn it is are ready, and the end up to which windows are sealed. Once that has moved
    /// since, or `patience` is over, the turn is, too. Whether it is.
    pub(crate) fn landed(
        &self,
        resource: &ClickstreamPipeline,
        sealed: Option<i64>,
        patience: Duration,
    ) -> bool {
        let mut rolling = self.rolling();
        let Some(turn) = rolling.as_mut().filter(|turn| turn.pipeline == key(resource)) else { return true };
        let landed = turn.landed.get_or_insert(Landed { at: Instant::now(), sealed, patience });
        landed.sealed = landed.sealed.or(sealed);
        let over = sealed > landed.sealed || landed.is_over();
        if over {
            *rolling = None;
        }
        over
    }

    /// Notes that they are not ready, or no more.
    pub(crate) fn not_landed(&self, resource: &ClickstreamPipeline) {
        if let Some(turn) = self.rolling().as_mut().filter(|turn| turn.pipeline == key(resource)) {
            // It is rolled again, and has as long again.
            if turn.landed.take().is_some() {
                turn.since = Instant::now();
            }
        }
    }

    fn rolling(&self) -> MutexGuard<'_, Option<Turn>> {
        self.rolling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
