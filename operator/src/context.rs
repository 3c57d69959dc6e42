//! What every pass over a pipeline works with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _, ResourceExt};
use weir_manifest::ClickstreamPipeline;

use crate::autoscale::{Measured, Memory};
use crate::conditions::ConditionType;
use crate::metrics::{Metrics, Of, Pipeline};
use crate::object::Kind;
use crate::object::MANAGER;
use crate::plan::Difference;

/// A resource as it came: one that cannot be read is still known by its name.
pub type Resource = DeserializeGuard<ClickstreamPipeline>;

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Repairs of one object in a row before it is left alone, and for how long.
const REPAIRS: (u32, Duration) = (5, Duration::from_secs(600));

/// An object by namespace, kind and name.
pub(crate) type ObjectKey = (String, Kind, String);

/// What was repaired of an object.
struct Repairs {
    count: u32,
    last: Instant,
    /// What was not as it should be right after.
    left: Vec<Difference>,
}

/// Whether to repair an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    Yes,
    /// The API server, or what it asks, makes it so again at once.
    InVain,
    /// Somebody else changes it again and again: two that do are a quarrel without end.
    Contested,
}

/// What every pass works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of the pipelines' pods.
    pub image: String,
    /// Which labels and annotations of resources their objects get, too.
    pub inherited: Inherited,
    /// Whether pod templates may ask for what reaches beyond a pod.
    pub allow_privileged_pods: bool,
    /// Without progress for so long, a workload has failed.
    pub progress_deadline: Duration,
    /// Who this process is among the operator's.
    pub instance: String,
    /// Who the operator is among others: NAMESPACE/NAME.
    pub operator: String,
    /// All pipelines.
    pub pipelines: Store<Resource>,
    /// Figures.
    pub metrics: Metrics,
    repairs: Mutex<HashMap<ObjectKey, Repairs>>,
    /// By pipeline.
    failures: Mutex<HashMap<String, Failure>>,
    /// When another operator was asked whether it keeps a pipeline, by namespace and name.
    asked: Mutex<HashMap<(String, String), Instant>>,
    /// Other operators that asked for a pipeline, and when.
    contenders: Mutex<HashMap<(String, String), (String, Instant)>>,
    /// How many objects of each kind there are, by pipeline.
    kept: Mutex<HashMap<String, Vec<Kind>>>,
    /// What the autoscaler remembers, by namespace and name.
    memories: Mutex<HashMap<(String, String), Memory>>,
    /// How far workloads are that are not ready, and since when, by namespace, name and what is said of them.
    progress: Mutex<HashMap<WorkloadKey, (Progress, Instant)>>,
    /// Since when a deleted pipeline's topics have been about to be deleted, by uid.
    cleanups: Mutex<HashMap<String, tokio::time::Instant>>,
    /// The pipeline that is rolled now: one at a time.
    rolling: Mutex<Option<Turn>>,
}

/// Names, or beginnings of names as in `team/*`, of what objects get from their pipeline's resource.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    /// Labels.
    pub labels: Vec<String>,
    /// Annotations.
    pub annotations: Vec<String>,
}

impl Inherited {
    /// Those of `all` that one of `names` means. What is about one object alone is never meant.
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

/// Who an operator with this client is among others.
pub(crate) fn identity(client: &Client) -> String {
    format!("{}/{MANAGER}", client.default_namespace())
}

/// A workload by its pipeline's namespace and name, and the condition that is about it.
pub(crate) type WorkloadKey = (String, String, ConditionType);

/// What grows while a workload makes progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Of its document.
    pub(crate) generation: i32,
    /// Pods that are ready.
    pub(crate) ready: i32,
    /// Pods of its newest template.
    pub(crate) updated: i32,
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
            rolling: Mutex::default(),
        }
    }

    /// Whether an object that differs so is worth a repair.
    pub(crate) fn may_repair(&self, object: &ObjectKey, differences: &[Difference]) -> Repair {
        let mut all = self.repairs();
        all.retain(|_, repairs| !repairs.left.is_empty() || repairs.last.elapsed() < 2 * REPAIRS.1);
        match all.get_mut(object) {
            Some(repairs) if repairs.left == differences => Repair::InVain,
            Some(repairs) if repairs.count >= REPAIRS.0 => {
                if repairs.last.elapsed() < REPAIRS.1 {
                    return Repair::Contested;
                }
                // One more, to see whether the other is still there.
                repairs.count = REPAIRS.0 - 1;
                Repair::Yes
            }
            _ => Repair::Yes,
        }
    }

    /// Notes a repair, and what it did not change.
    pub(crate) fn repaired(&self, object: ObjectKey, left: Vec<Difference>) {
        let now = Instant::now();
        let mut all = self.repairs();
        let repairs = all.entry(object).or_insert(Repairs { count: 0, last: now, left: Vec::new() });
        let fresh = repairs.last.elapsed() > 2 * REPAIRS.1;
        *repairs = Repairs { count: if fresh { 1 } else { repairs.count + 1 }, last: now, left };
    }

    fn repairs(&self) -> MutexGuard<'_, HashMap<ObjectKey, Repairs>> {
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait after one more failure: twice as long each time.
    pub(crate) fn pause(&self, resource: &Resource) -> Duration {
        let said = ObservedSpec::of(resource);
        let mut failures = self.failures();
        let old = failures.remove(&key(resource)).filter(|failure| failure.said == said);
        let count = old.map_or(0, |failure| failure.count + 1);
        let pause = PAUSES.0.saturating_mul(1 << count.min(10)).min(PAUSES.1);
        failures.insert(key(resource), Failure { count, until: Instant::now() + pause, said });
        pause
    }

    /// What is left of the pause after a failure, unless the resource says something else since. What the operator writes into
    /// the status comes back as a change, too: it would never wait.
    pub(crate) fn rest(&self, resource: &Resource) -> Option<Duration> {
        let failures = self.failures();
        let failure =
            failures.get(&key(resource)).filter(|failure| failure.said == ObservedSpec::of(resource))?;
        let left = failure.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// It went well.
    pub(crate) fn well(&self, resource: &Resource) {
        self.failures().remove(&key(resource));
    }

    /// Notes a pipeline's objects, and forgets pipelines that are gone.
    pub(crate) fn keeps(&self, resource: &ClickstreamPipeline, kinds: Vec<Kind>) {
        self.kept().insert(key(resource), kinds);
        self.count();
    }

    /// How long ago another operator was asked whether it keeps a pipeline.
    pub(crate) fn asked(&self, pipeline: &(String, String)) -> Option<Duration> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(pipeline).map(Instant::elapsed)
    }

    /// Notes that another operator is asked now.
    pub(crate) fn ask(&self, pipeline: &(String, String)) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline.clone(), Instant::now());
    }

    /// The other operator that asked for a pipeline within that time.
    pub(crate) fn contender(&self, pipeline: &(String, String), within: Duration) -> Option<String> {
        let contenders = self.contenders.lock().unwrap_or_else(PoisonError::into_inner);
        contenders.get(pipeline).filter(|(_, at)| at.elapsed() < within).map(|(operator, _)| operator.clone())
    }

    /// Notes that another operator asked for a pipeline.
    pub(crate) fn contested(&self, pipeline: &(String, String), operator: &str) {
        let mut contenders = self.contenders.lock().unwrap_or_else(PoisonError::into_inner);
        contenders.insert(pipeline.clone(), (operator.to_owned(), Instant::now()));
    }

    /// What the autoscaler remembers of a pipeline.
    pub(crate) fn memory(&self, pipeline: &(String, String)) -> Option<Memory> {
        self.memories().get(pipeline).cloned()
    }

    /// Notes what the autoscaler remembers of a pipeline, and shows what it measured.
    pub(crate) fn remember(&self, pipeline: (String, String), memory: Memory, measured: Option<Measured>) {
        if let Some(measured) = measured {
            let label = Pipeline { namespace: pipeline.0.clone(), name: pipeline.1.clone() };
            self.metrics.lag.get_or_create(&label).set(measured.lag);
            self.metrics.arriving.get_or_create(&label).set(measured.arriving);
            self.metrics.processed.get_or_create(&label).set(measured.processed);
        }
        self.memories().insert(pipeline, memory);
    }

    /// Whether a workload has made no progress until the deadline. `before`: that is what its condition says already, which counts
    /// where this process has not looked yet.
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

    /// How long this process has been deleting what a pipeline made.
    pub(crate) fn cleaning(&self, resource: &ClickstreamPipeline) -> Duration {
        let uid = resource.uid().unwrap_or_default();
        let now = tokio::time::Instant::now();
        now.duration_since(*self.cleanups().entry(uid).or_insert(now))
    }

    fn cleanups(&self) -> MutexGuard<'_, HashMap<String, tokio::time::Instant>> {
        self.cleanups.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// Nothing is waited for.
    pub(crate) fn progressed(&self, workload: &WorkloadKey) {
        self.progress().remove(workload);
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<WorkloadKey, (Progress, Instant)>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what is kept for the pipelines that there are.
    pub(crate) fn count(&self) {
        let pipelines = self.pipelines.state();
        let all: HashSet<String> = pipelines.iter().map(|resource| key(&**resource)).collect();
        let uids: HashSet<String> = pipelines.iter().filter_map(|resource| resource.uid()).collect();
        self.cleanups().retain(|uid, _| uids.contains(uid));
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

    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipeline whose pods are rolled while others wait.
struct Turn {
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

/// Failures in a row.
struct Failure {
    count: u32,
    until: Instant,
    said: ObservedSpec,
}

/// What people say in a resource.
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

fn key(resource: &impl ResourceExt) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}
