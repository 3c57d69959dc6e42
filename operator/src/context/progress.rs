//! Progress of workloads that are not ready, and since when.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::Context;
use crate::conditions::ConditionType;

/// A workload by its pipeline's namespace and name, and its condition type.
pub(crate) type WorkloadKey = (String, String, ConditionType);

/// Numbers that grow while a workload makes progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Observed generation.
    pub(crate) generation: i32,
    /// Ready pods.
    pub(crate) ready: i32,
    /// Pods of the newest template.
    pub(crate) updated: i32,
}

impl Context {
    /// Whether a workload made no progress within the deadline. `before`: its condition already reports so, which counts until this
    /// process has observed the workload itself.
    pub(crate) fn is_stalled(&self, workload: WorkloadKey, now: Progress, before: bool) -> bool {
        let mut all = self.progress();
        let Some((best, since)) = all.get_mut(&workload) else {
            let since = Instant::now();
            let since =
                if before { since.checked_sub(self.progress_deadline).unwrap_or(since) } else { since };
            all.insert(workload, (now, since));
            return before;
        };
        if now.generation != best.generation || now.ready > best.ready || now.updated > best.updated {
            (*best, *since) = (now, Instant::now());
        }
        since.elapsed() >= self.progress_deadline
    }

    /// Drops the record: the workload is ready, or should not run.
    pub(crate) fn progressed(&self, workload: &WorkloadKey) {
        self.progress().remove(workload);
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, HashMap<WorkloadKey, (Progress, Instant)>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
