//! What every pass over a pipeline works with.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use weir_spec::ClickstreamPipeline;

use crate::metrics::Metrics;
use crate::object::Kind;
use crate::plan::Difference;

/// A resource as it came: one that cannot be read is still known by its name.
pub type Resource = DeserializeGuard<ClickstreamPipeline>;

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// An object by namespace, kind and name, and fields of it that do not stay as they should.
type Stubborn = HashMap<(String, Kind, String), Vec<Difference>>;

/// What every pass works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of the pipelines' pods.
    pub image: String,
    /// Who this process is among the operator's.
    pub instance: String,
    /// All pipelines.
    pub pipelines: Store<Resource>,
    /// Figures.
    pub metrics: Metrics,
    stubborn: Mutex<Stubborn>,
    /// Failures in a row, by pipeline.
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// Nothing known yet.
    pub fn new(
        client: Client,
        image: String,
        instance: String,
        pipelines: Store<Resource>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            image,
            instance,
            pipelines,
            metrics,
            stubborn: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Fields that something else insists on: trying again would only be a quarrel.
    pub(crate) fn stubborn(&self) -> MutexGuard<'_, Stubborn> {
        self.stubborn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait after one more failure: twice as long each time.
    pub(crate) fn pause(&self, resource: &Resource) -> Duration {
        let mut failures = self.failures();
        let count = failures.entry(key(resource)).or_default();
        *count = count.saturating_add(1);
        PAUSES.0.saturating_mul(1 << (*count - 1).min(10)).min(PAUSES.1)
    }

    /// It went well.
    pub(crate) fn well(&self, resource: &Resource) {
        self.failures().remove(&key(resource));
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(resource: &Resource) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}
