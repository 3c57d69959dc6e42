//! The process: leader election, watches, health endpoints, and the tasks that run beside the passes over pipelines.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::{Controller, controller, watcher};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use weir_telemetry::log_to_stderr;

use crate::args::{LogFormat, Release, Run};
use crate::context::{Context, Inherited, Resource};
use crate::error::api;
use crate::health::{self, Health};
use crate::lease::{Election, Lost};
use crate::metrics::Metrics;
use crate::object::Kind;
use crate::object::MANAGER;
use crate::reconcile;
use crate::release::{is_ending, release_pipelines};

/// Maximum concurrent passes. Most of them wait: with unreachable Kafka clusters, for half a minute each.
const MAX_CONCURRENT_PASSES: u16 = 64;

/// Maximum time between two checks for pipelines that the selector no longer matches.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum time between two such checks.
const MIN_RESYNC_INTERVAL: Duration = Duration::from_secs(2);

/// Timeout for releasing pipelines at the end; shorter than the lease's duration and the pod's termination grace period.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs until a signal ends it.
///
/// # Errors
/// What a person must deal with, in words for a person.
pub fn run(options: Run) -> anyhow::Result<()> {
    start(options.log_format, async |client| {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        serve(client, options, instance(), stop).await
    })
}

/// Releases the pipelines of an operator that is gone.
///
/// # Errors
/// What a person must deal with, in words for a person.
pub fn release(options: Release) -> anyhow::Result<()> {
    let Release { namespace, log_format } = options;
    start(log_format, async |client| crate::release::release(client, &namespace, instance()).await)
}

/// Runs `work` with a client of the API server.
fn start(log_format: LogFormat, work: impl AsyncFnOnce(Client) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // kube's client logs every error response; the callers log them with more context.
    log_to_stderr(log_format, "info,kube_client=off").map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Threads for requests to Kafka, few per cluster.
        .max_blocking_threads(2 * usize::from(MAX_CONCURRENT_PASSES))
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let client = Client::try_default()
            .await
            .context("no address of an API server: run in a pod with a service account, or set KUBECONFIG")?;
        work(client).await
    })
}

/// Reconciles pipelines until `stop`. `instance` is unique among the processes that run.
///
/// # Errors
/// The address of `--health` is taken; the lease was lost.
pub async fn serve(
    client: Client,
    options: Run,
    instance: String,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = options.health;
    let (metrics, registry) = Metrics::new();
    let health = Arc::new(Health::new(registry));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--health: cannot listen on {address}"))?;
    let (namespace, image) = (&options.namespace, &options.image);
    tracing::info!(address = %listener.local_addr()?, namespace, image, "operator started");
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(health::serve(listener, Arc::clone(&health), async { drop(end.await) }));
    let mut election = Election::new(client.clone(), client.default_namespace(), instance.clone());
    let scope = namespace.clone();
    let result = {
        let leading = lead(client.clone(), options, &instance, &metrics, &health, &mut election);
        tokio::select! { lost = leading => Err(lost.into()), () = stop => Ok(()) }
    };
    metrics.leader.set(0);
    if result.is_ok() {
        if election.holds() {
            release_if_namespace_ends(&client, &scope, &instance).await;
        }
        election.release().await;
    }
    drop(ended);
    served.await??;
    result
}

/// Releases the pipelines if the operator's own namespace is being deleted: no later operator could.
async fn release_if_namespace_ends(client: &Client, scope: &str, instance: &str) {
    let released = async {
        match is_ending(client).await {
            Ok(false) => Ok(Vec::new()),
            Ok(true) => release_pipelines(client, scope, instance).await,
            Err(error) => Err(api("read the operator's own namespace")(error)),
        }
    };
    match tokio::time::timeout(RELEASE_TIMEOUT, released).await {
        Ok(Ok(released)) if released.is_empty() => {}
        Ok(Ok(released)) => {
            tracing::warn!(
                pipelines = released.join(", "),
                "the operator's namespace is being deleted: pipelines released, topics stay"
            );
        }
        Ok(Err(error)) => tracing::warn!(%error, "could not release pipelines: deleting them may hang"),
        Err(_) => {
            tracing::warn!("the API server does not answer, pipelines not released: deleting them may hang")
        }
    }
}

/// Waits for the lease, and then reconciles pipelines until it is lost.
async fn lead(
    client: Client,
    options: Run,
    instance: &str,
    metrics: &Metrics,
    health: &Health,
    election: &mut Election,
) -> Lost {
    // A process that waits for the lease is as ready as the leader.
    while let Err(error) = client.apiserver_version().await {
        tracing::warn!(%error, "the API server does not answer");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    health.ready.store(true, Ordering::Relaxed);
    election.acquire().await;
    metrics.leader.set(1);
    if let Err(error) = is_ending(&client).await {
        tracing::warn!(%error, "could not read the operator's own namespace: if it is being deleted, deleting pipelines may hang");
    }
    let controller = run_controller(client, options, instance.to_owned(), metrics.clone());
    tokio::select! {
        lost = election.keep() => lost,
        // Watches never end; if one did, changes would be missed.
        () = controller => Lost::Unrenewed("the watches ended".to_owned()),
    }
}

/// A name that is unique among processes: the pod's, so that a restarted container need not wait for its own lease.
fn instance() -> String {
    std::env::var("POD_NAME").unwrap_or_else(|_| {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| MANAGER.to_owned());
        format!("{host}-{}-{:x}", std::process::id(), Timestamp::now().as_nanosecond())
    })
}

/// Runs a pass over a pipeline whenever it, or an object that it owns, changes.
async fn run_controller(client: Client, options: Run, instance: String, metrics: Metrics) {
    let Run {
        namespace,
        selector,
        image,
        inherit_labels,
        inherit_annotations,
        allow_privileged_pods,
        progress_deadline,
        health: _,
        log_format: _,
    } = options;
    let scope: Api<Resource> = match namespace.as_str() {
        "all" => Api::all(client.clone()),
        namespace => Api::namespaced(client.clone(), namespace),
    };
    let selector = selector.filter(|selector| !selector.is_empty());
    let mut pipelines = watcher::Config::default();
    if let Some(selector) = &selector {
        pipelines = pipelines.labels(selector);
    }
    let mut controller = Controller::new(scope, pipelines);
    let owned = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_built_in()) {
        let resource = kind.resource();
        // Only the trigger matters: the pass reads the object itself.
        let api: Api<DynamicObject> = match namespace.as_str() {
            "all" => Api::all_with(client.clone(), &resource),
            namespace => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        controller = controller.owns_with(api, resource, owned.clone());
    }
    let mut context = Context::new(client, image, instance, controller.store(), metrics);
    context.inherited = Inherited { labels: inherit_labels, annotations: inherit_annotations };
    context.allow_privileged_pods = allow_privileged_pods;
    context.progress_deadline = Duration::from_secs(progress_deadline.into());
    let context = Arc::new(context);
    let (pipelines, left) = (Arc::clone(&context), tokio::sync::Notify::new());
    let controller = controller
        .with_config(controller::Config::default().concurrency(MAX_CONCURRENT_PASSES))
        .run(reconcile::reconcile, reconcile::after_failure, Arc::clone(&context))
        .for_each(async |result| {
            if let Err(error) = result {
                match error {
                    // Logged already, with the next retry.
                    controller::Error::ReconcilerFailed(..) => {}
                    // A deleted resource needs no pass; or the selector no longer matches it.
                    controller::Error::ObjectNotFound(_) => {
                        pipelines.count();
                        left.notify_one();
                    }
                    error => tracing::warn!(%error, "watching"),
                }
            }
        });
    tokio::select! {
        () = controller => {}
        () = release_unselected_pipelines(&context, &namespace, selector.as_deref(), &left) => {}
        () = reconcile::answer_contenders(&context) => {}
    }
}

/// Releases pipelines that the selector no longer matches, whenever some `left`, and periodically.
async fn release_unselected_pipelines(
    context: &Context,
    scope: &str,
    selector: Option<&str>,
    left: &tokio::sync::Notify,
) {
    let Some(selector) = selector else { return std::future::pending().await };
    loop {
        if let Err(error) = reconcile::release_unselected(context, scope, selector).await {
            tracing::warn!(%error, "could not release pipelines that the selector no longer matches");
        }
        tokio::select! { () = left.notified() => {}, () = tokio::time::sleep(RESYNC_INTERVAL) => {} }
        // Changed objects of other operators' pipelines trigger this too. And a pass that has begun may still write.
        tokio::time::sleep(MIN_RESYNC_INTERVAL).await;
    }
}
