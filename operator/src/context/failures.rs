//! Failures of passes, with exponential backoff.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource as _;

use super::{Context, Resource, key};

/// Minimum and maximum backoff.
const BACKOFF_RANGE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Consecutive failures.
pub(super) struct Failure {
    count: u32,
    until: Instant,
    observed: ObservedSpec,
}

/// What users change in a resource: the spec (by generation), the annotations, and deletion.
#[derive(PartialEq)]
struct ObservedSpec {
    uid: Option<String>,
    generation: Option<i64>,
    annotations: Option<BTreeMap<String, String>>,
    deleted: bool,
}

impl ObservedSpec {
    fn of(resource: &Resource) -> Self {
        let metadata = resource.meta();
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            annotations: metadata.annotations.clone(),
            deleted: metadata.deletion_timestamp.is_some(),
        }
    }
}

impl Context {
    /// The backoff after one more failure: doubled each time.
    pub(crate) fn backoff(&self, resource: &Resource) -> Duration {
        let observed = ObservedSpec::of(resource);
        let mut failures = self.failures();
        let old = failures.remove(&key(resource)).filter(|failure| failure.observed == observed);
        let count = old.map_or(0, |failure| failure.count + 1);
        let backoff = BACKOFF_RANGE.0.saturating_mul(1 << count.min(10)).min(BACKOFF_RANGE.1);
        failures.insert(key(resource), Failure { count, until: Instant::now() + backoff, observed });
        backoff
    }

    /// The rest of the backoff, unless a user changed the resource since. The operator's own status writes trigger passes too:
    /// without this check they would cut every backoff short.
    pub(crate) fn remaining_backoff(&self, resource: &Resource) -> Option<Duration> {
        let failures = self.failures();
        let failure =
            failures.get(&key(resource)).filter(|failure| failure.observed == ObservedSpec::of(resource))?;
        let left = failure.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Records a successful pass.
    pub(crate) fn record_success(&self, resource: &Resource) {
        self.failures().remove(&key(resource));
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
