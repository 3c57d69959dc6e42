//! The process: everything that runs beside the passes over pipelines.

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

/// Passes at a time. Most of them wait: where clusters do not answer, for half a minute each.
const PASSES: u16 = 64;

/// Time between looks for pipelines that the selector has no more.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time between two of them.
const MIN_RESYNC_PAUSE: Duration = Duration::from_secs(2);

/// For letting go of pipelines; shorter than the lease is good, and than a pod is given to end.
const PARTING: Duration = Duration::from_secs(8);

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

/// Lets go of the pipelines of an operator that is gone.
///
/// # Errors
/// What a person must deal with, in words for a person.
pub fn release(options: Release) -> anyhow::Result<()> {
    let Release { namespace, log_format } = options;
    start(log_format, async |client| crate::release::release(client, &namespace, instance()).await)
}

/// Does something with a client of the API server.
fn start(log_format: LogFormat, work: impl AsyncFnOnce(Client) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // kube's client tells of every answer that is an error; whoever asked says more.
    log_to_stderr(log_format, "info,kube_client=off").map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Kafka is asked on these, few for each cluster.
        .max_blocking_threads(2 * usize::from(PASSES))
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let client = Client::try_default().await.context(
            "cannot tell where the API server is: run in a pod with a service account, or set KUBECONFIG",
        )?;
        work(client).await
    })
}

/// Keeps pipelines until `stop`, as the process called `instance`: no other has that name at the same time.
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
    tracing::info!(address = %listener.local_addr()?, namespace, image, "the operator runs");
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(health::serve(listener, Arc::clone(&health), async { drop(end.await) }));
    let mut election = Election::new(client.clone(), client.default_namespace(), instance.clone());
    let scope = namespace.clone();
    let result = {
        let acted = act(client.clone(), options, &instance, &metrics, &health, &mut election);
        tokio::select! { lost = acted => Err(lost.into()), () = stop => Ok(()) }
    };
    metrics.leader.set(0);
    if result.is_ok() {
        if election.holds() {
            part(&client, &scope, &instance).await;
        }
        election.release().await;
    }
    drop(ended);
    served.await??;
    result
}

/// The last thing that an operator does whose own namespace is being deleted: none comes after it that could release a pipeline.
async fn part(client: &Client, scope: &str, instance: &str) {
    let parted = async {
        match is_ending(client).await {
            Ok(false) => Ok(Vec::new()),
            Ok(true) => release_pipelines(client, scope, instance).await,
            Err(error) => Err(api("read the operator's own namespace")(error)),
        }
    };
    match tokio::time::timeout(PARTING, parted).await {
        Ok(Ok(released)) if released.is_empty() => {}
        Ok(Ok(released)) => {
            tracing::warn!(
                pipelines = released.join(", "),
                "the operator's namespace ends: pipeline released, topics stay"
            );
        }
        Ok(Err(error)) => tracing::warn!(%error, "pipelines may hang when they are deleted"),
        Err(_) => tracing::warn!("the API server does not answer: pipelines may hang when they are deleted"),
    }
}

/// Waits for its turn, and then keeps pipelines for as long as it lasts.
async fn act(
    client: Client,
    options: Run,
    instance: &str,
    metrics: &Metrics,
    health: &Health,
    election: &mut Election,
) -> Lost {
    // One that waits for its turn is as ready as one that acts.
    while let Err(error) = client.apiserver_version().await {
        tracing::warn!(%error, "the API server does not answer");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    health.ready.store(true, Ordering::Relaxed);
    election.acquire().await;
    metrics.leader.set(1);
    if let Err(error) = is_ending(&client).await {
        tracing::warn!(%error, "cannot tell whether the operator's own namespace is being deleted: should it be, pipelines hang");
    }
    let controlled = control(client, options, instance.to_owned(), metrics.clone());
    tokio::select! {
        lost = election.keep() => lost,
        // Watches never end; where one did, acting on would be acting blindly.
        () = controlled => Lost::Unrenewed("the watches ended".to_owned()),
    }
}

/// A name that no other process has at the same time: a pod's own, so that its restarted container need not wait for itself.
fn instance() -> String {
    std::env::var("POD_NAME").unwrap_or_else(|_| {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| MANAGER.to_owned());
        format!("{host}-{}-{:x}", std::process::id(), Timestamp::now().as_nanosecond())
    })
}

/// Passes over pipelines whenever they, or what they own, change.
async fn control(client: Client, options: Run, instance: String, metrics: Metrics) {
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
        // Only that something changed: what it is then is read when it is compared.
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
    let controlled = controller
        .with_config(controller::Config::default().concurrency(PASSES))
        .run(reconcile::reconcile, reconcile::after_failure, Arc::clone(&context))
        .for_each(async |result| {
            if let Err(error) = result {
                match error {
                    // Told already, with what comes next.
                    controller::Error::ReconcilerFailed(..) => {}
                    // What is gone needs no pass; it may only be gone from the selector's sight.
                    controller::Error::ObjectNotFound(_) => {
                        pipelines.count();
                        left.notify_one();
                    }
                    error => tracing::warn!(%error, "watching"),
                }
            }
        });
    tokio::select! {
        () = controlled => {}
        () = release_unselected_pipelines(&context, &namespace, selector.as_deref(), &left) => {}
        () = reconcile::answer_contenders(&context) => {}
    }
}

/// Lets go of pipelines that the selector has no more, whenever some `left`, and where that was missed.
async fn release_unselected_pipelines(
    context: &Context,
    scope: &str,
    selector: Option<&str>,
    left: &tokio::sync::Notify,
) {
    let Some(selector) = selector else { return std::future::pending().await };
    loop {
        if let Err(error) = reconcile::release_unselected(context, scope, selector).await {
            tracing::warn!(%error, "pipelines that the selector has no more may not know it");
        }
        tokio::select! { () = left.notified() => {}, () = tokio::time::sleep(RESYNC_INTERVAL) => {} }
        // Others' pipelines are not found either, whatever happens to their objects. And a pass that has begun may still write.
        tokio::time::sleep(MIN_RESYNC_PAUSE).await;
    }
}
