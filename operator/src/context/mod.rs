//! State that is shared by all passes over pipelines.

mod contenders;
mod failures;
mod progress;
mod repairs;
mod turns;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use weir_manifest::ClickstreamPipeline;

use self::failures::Failure;
pub(crate) use self::progress::{Progress, WorkloadKey};
use self::repairs::Repairs;
pub(crate) use self::repairs::{ObjectKey, Repair};
use self::turns::Turn;
use crate::autoscale::{Measured, Memory};
use crate::metrics::{Metrics, Of, Pipeline};
use crate::object::{Kind, MANAGER};

/// A resource as received: one that cannot be decoded still has its name.
pub type Resource = DeserializeGuard<ClickstreamPipeline>;

/// State that is shared by all passes.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of the pipelines' pods.
    pub image: String,
    /// Labels and annotations that objects inherit from their pipeline's resource.
    pub inherited: Inherited,
    /// Whether pod templates may set what reaches beyond a pod.
    pub allow_privileged_pods: bool,
    /// Time without progress after which a workload counts as failed.
    pub progress_deadline: Duration,
    /// The identity of this replica: the lease's holder, and the instance that events name.
    pub instance: String,
    /// The identity of this operator among others: NAMESPACE/NAME.
    pub operator: String,
    /// All pipelines.
    pub pipelines: Store<Resource>,
    /// Metrics.
    pub metrics: Metrics,
    repairs: Mutex<HashMap<ObjectKey, Repairs>>,
    /// Consecutive failures by pipeline.
    failures: Mutex<HashMap<String, Failure>>,
    /// When another operator was asked whether it keeps a pipeline, by namespace and name.
    asked: Mutex<HashMap<(String, String), Instant>>,
    /// Other operators that asked for a pipeline, and when.
    contenders: Mutex<HashMap<(String, String), (String, Instant)>>,
    /// Kinds of the objects by pipeline, for the metrics.
    kept: Mutex<HashMap<String, Vec<Kind>>>,
    /// The autoscaler's state, by namespace and name.
    memories: Mutex<HashMap<(String, String), Memory>>,
    /// Progress of workloads that are not ready, and since when, by namespace, name and condition type.
    progress: Mutex<HashMap<WorkloadKey, (Progress, Instant)>>,
    /// Start of the deletion of a pipeline's topics, by uid.
    cleanups: Mutex<HashMap<String, tokio::time::Instant>>,
    /// The last generation of which nothing is left in Kafka, by the pipeline's uid.
    cleared: Mutex<HashMap<String, u32>>,
    /// The pipeline that is being rolled: one at a time.
    rolling: Mutex<Option<Turn>>,
}

/// Names, or prefixes as in `team/*`, of the metadata that objects inherit from their pipeline's resource.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    /// Labels.
    pub labels: Vec<String>,
    /// Annotations.
    pub annotations: Vec<String>,
}

impl Inherited {
    /// The entries of `all` that match one of `names`. Entries that concern a single object are never inherited.
    pub(crate) fn of(names: &[String], all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        const OF_ONE_OBJECT: [&str; 4] =
            ["kubectl.kubernetes.io/", "weir.dev/", "meta.helm.sh/", "argocd.argoproj.io/"];
        let meant = |name: &str| {
            names.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == wanted,
            })
        };
        let kept = all
            .iter()
            .filter(|(name, _)| meant(name) && !OF_ONE_OBJECT.iter().any(|prefix| name.starts_with(prefix)));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The identity of an operator with this client among others.
pub(crate) fn identity(client: &Client) -> String {
    format!("{}/{MANAGER}", client.default_namespace())
}

impl Context {
    /// An empty context.
    pub fn new(
        client: Client,
        image: String,
        instance: String,
        pipelines: Store<Resource>,
        metrics: Metrics,
    ) -> Self {
        Self {
            operator: identity(&client),
            asked: Mutex::default(),
            contenders: Mutex::default(),
            client,
            image,
            inherited: Inherited::default(),
            allow_privileged_pods: false,
            progress_deadline: Duration::from_secs(300),
            instance,
            pipelines,
            metrics,
            repairs: Mutex::default(),
            failures: Mutex::default(),
            kept: Mutex::default(),
            memories: Mutex::default(),
            progress: Mutex::default(),
            cleanups: Mutex::default(),
            cleared: Mutex::default(),
            rolling: Mutex::default(),
        }
    }

    /// Records a pipeline's objects, and drops pipelines that are gone.
    pub(crate) fn record_objects(&self, resource: &ClickstreamPipeline, kinds: Vec<Kind>) {
        self.kept().insert(key(resource), kinds);
        self.count();
    }

    /// The autoscaler's state of a pipeline.
    pub(crate) fn memory(&self, pipeline: &(String, String)) -> Option<Memory> {
        self.memories().get(pipeline).cloned()
    }

    /// Stores the autoscaler's state of a pipeline, and exports the measured rates as metrics.
    pub(crate) fn remember(&self, pipeline: (String, String), memory: Memory, measured: Option<Measured>) {
        if let Some(measured) = measured {
            let label = Pipeline { namespace: pipeline.0.clone(), name: pipeline.1.clone() };
            self.metrics.lag.get_or_create(&label).set(measured.lag);
            self.metrics.arriving.get_or_create(&label).set(measured.arriving);
            self.metrics.processed.get_or_create(&label).set(measured.processed);
        }
        self.memories().insert(pipeline, memory);
    }

    /// Time for which this process has been deleting a pipeline's topics.
    pub(crate) fn cleanup_elapsed(&self, resource: &ClickstreamPipeline) -> Duration {
        let uid = resource.uid().unwrap_or_default();
        let now = tokio::time::Instant::now();
        now.duration_since(*self.cleanups().entry(uid).or_insert(now))
    }

    /// The last generation of a pipeline of which nothing is left in Kafka, as far as this process knows; 0 for none.
    pub(crate) fn cleared(&self, uid: &str) -> u32 {
        self.cleared_by_uid().get(uid).copied().unwrap_or_default()
    }

    /// Records it.
    pub(crate) fn record_cleared(&self, uid: String, generation: u32) {
        self.cleared_by_uid().insert(uid, generation);
    }

    fn cleared_by_uid(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cleanups(&self) -> MutexGuard<'_, HashMap<String, tokio::time::Instant>> {
        self.cleanups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the metrics of pipelines and their objects.
    pub(crate) fn count(&self) {
        let pipelines = self.pipelines.state();
        let all: HashSet<String> = pipelines.iter().map(|resource| key(&**resource)).collect();
        let uids: HashSet<String> = pipelines.iter().filter_map(|resource| resource.uid()).collect();
        self.cleanups().retain(|uid, _| uids.contains(uid));
        self.cleared_by_uid().retain(|uid, _| uids.contains(uid));
        let mut kept = self.kept();
        kept.retain(|pipeline, _| all.contains(pipeline));
        self.progress().retain(|(namespace, name, _), _| all.contains(&format!("{namespace}/{name}")));
        let there = |(namespace, name): &(String, String)| all.contains(&format!("{namespace}/{name}"));
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).retain(|pipeline, _| there(pipeline));
        self.contenders.lock().unwrap_or_else(PoisonError::into_inner).retain(|pipeline, _| there(pipeline));
        self.memories().retain(|(namespace, name), _| {
            let there = all.contains(&format!("{namespace}/{name}"));
            if !there {
                self.metrics.forget(&Pipeline { namespace: namespace.clone(), name: name.clone() });
            }
            there
        });
        let set = |kind, count: usize| {
            let gauge = self.metrics.managed.get_or_create(&Of { kind });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(weir_manifest::KIND, all.len());
        for kind in Kind::ALL {
            set(kind.as_str(), kept.values().flatten().filter(|found| **found == kind).count());
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Vec<Kind>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(resource: &impl ResourceExt) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}
