//! Failures of passes, and the pause after each.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource as _;

use super::{Context, Resource, key};

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Failures in a row.
pub(super) struct Failure {
    count: u32,
    until: Instant,
    observed: ObservedSpec,
}

/// What people wrote into a resource: its spec by generation, its annotations, and whether it is deleted.
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
    /// How long to wait after one more failure: twice as long each time.
    pub(crate) fn pause(&self, resource: &Resource) -> Duration {
        let observed = ObservedSpec::of(resource);
        let mut failures = self.failures();
        let old = failures.remove(&key(resource)).filter(|failure| failure.observed == observed);
        let count = old.map_or(0, |failure| failure.count + 1);
        let pause = PAUSES.0.saturating_mul(1 << count.min(10)).min(PAUSES.1);
        failures.insert(key(resource), Failure { count, until: Instant::now() + pause, observed });
        pause
    }

    /// What is left of the pause after a failure, unless the resource says something else since. What the operator writes into
    /// the status comes back as a change, too: it would never wait.
    pub(crate) fn rest(&self, resource: &Resource) -> Option<Duration> {
        let failures = self.failures();
        let failure =
            failures.get(&key(resource)).filter(|failure| failure.observed == ObservedSpec::of(resource))?;
        let left = failure.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// It went well.
    pub(crate) fn well(&self, resource: &Resource) {
        self.failures().remove(&key(resource));
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
