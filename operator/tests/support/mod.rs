//! One control plane for the tests of a binary.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use weir_cluster::{Cluster, Settings};
use weir_testbed::Kafka;

/// An API server with the custom resource's definition, and the controllers.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start_with(&Settings { controllers: true, ..Settings::default() }).unwrap();
        cluster.apply(&weir_operator::crd().unwrap()).unwrap();
        let name = "customresourcedefinition/clickstreampipelines.weir.dev";
        cluster.kubectl(&["wait", "--for=condition=Established", name, "--timeout=60s"]).unwrap();
        // It serves a new kind a little later than it takes it.
        await_that("kubectl knows the kind", || cluster.kubectl(&["explain", "csp"]).is_ok());
        cluster
    })
}

/// Waits until something holds.
#[track_caller]
pub fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A namespace of its own for a test.
pub fn namespace(name: &str) -> String {
    cluster().kubectl(&["create", "namespace", name]).unwrap();
    name.to_owned()
}

/// The operator in this process, for one namespace. Ends with the value.
pub struct Operator {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Operator {
    /// With rights to everything.
    pub fn start(namespace: &str) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let options = weir_operator::Run {
            namespace: namespace.to_owned(),
            image: "weir:test".to_owned(),
            health: "127.0.0.1:0".parse().unwrap(),
            log_format: weir_operator::LogFormat::Text,
        };
        let kubeconfig = cluster().kubeconfig();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(async {
                let config = kube::config::Kubeconfig::read_from(kubeconfig)?;
                let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await?;
                // Where its lease is: each test's operator has its own.
                config.default_namespace.clone_from(&options.namespace);
                let client = kube::Client::try_from(config)?;
                weir_operator::serve(client, options, async { drop(stopped.await) }).await
            })
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

/// What a JSONPath gives of an object, `KIND/NAME`.
pub fn get(namespace: &str, object: &str, path: &str) -> String {
    let output = format!("--output=jsonpath={path}");
    cluster().kubectl(&["get", object, "--namespace", namespace, &output]).unwrap_or_default()
}

/// `STATUS REASON` of a pipeline's condition.
pub fn condition(namespace: &str, pipeline: &str, type_: &str) -> String {
    let filter = format!(".status.conditions[?(@.type==\"{type_}\")]");
    get(namespace, &format!("csp/{pipeline}"), &format!("{{{filter}.status}} {{{filter}.reason}}"))
}

/// A pipeline on the tests' Kafka, whose topics begin with its namespace. `spec` is what else it says.
pub fn pipeline(namespace: &str, name: &str, spec: &str) -> String {
    let servers = Kafka::shared();
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  kafka: {{bootstrapServers: ['{servers}']}}
  topics:
    events: {{name: {namespace}.{name}.events, partitions: 6, replicas: 1}}
    results: {{name: {namespace}.{name}.results, replicas: 1}}
    topPages: {{name: {namespace}.{name}.top}}
{spec}
"
    )
}

/// The partitions of the topics whose names begin so.
pub fn topics(prefix: &str) -> BTreeMap<String, i32> {
    let admin = weir_stream::kafka::admin::Admin::new(Kafka::shared(), &[]).unwrap();
    let all = admin.topics().unwrap();
    all.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
}
