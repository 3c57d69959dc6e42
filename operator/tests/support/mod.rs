//! One control plane for the tests of a binary.
#![allow(dead_code, clippy::unwrap_used)]

pub mod killed;
pub mod processing;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use weir_broker::Kafka;
use weir_cluster::{Cluster, Settings};

/// An API server with the custom resource definition, and the controllers.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start_with(&Settings { controllers: true, ..Settings::default() }).unwrap();
        cluster.apply(&weir_operator::crd().unwrap()).unwrap();
        let name = "customresourcedefinition/clickstreampipelines.weir.dev";
        cluster.kubectl(&["wait", "--for=condition=Established", name, "--timeout=60s"]).unwrap();
        // A new kind is served shortly after its definition is accepted.
        await_that("kubectl knows the kind", || cluster.kubectl(&["explain", "csp"]).is_ok());
        cluster
    })
}

/// Waits until something holds.
#[track_caller]
pub fn await_that(what: &str, holds: impl FnMut() -> bool) {
    await_within(90, what, holds);
}

/// Waits until something holds, with a timeout in seconds.
#[track_caller]
pub fn await_within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
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
    /// The address of its metrics.
    pub health: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Operator {
    /// With all rights.
    pub fn start(namespace: &str) -> Self {
        Self::start_as(namespace, &cluster().kubeconfig(), |client| client)
    }

    /// With an account's rights, and a wrapper of its client.
    pub fn start_as(
        namespace: &str,
        kubeconfig: &Path,
        between: impl FnOnce(Client) -> Client + Send + 'static,
    ) -> Self {
        Self::start_with(Self::options(namespace), kubeconfig, between)
    }

    /// Its options.
    pub fn options(namespace: &str) -> weir_operator::Run {
        weir_operator::Run {
            namespace: namespace.to_owned(),
            selector: None,
            image: "weir:test".to_owned(),
            inherit_labels: Vec::new(),
            inherit_annotations: Vec::new(),
            allow_privileged_pods: false,
            progress_deadline: 300,
            health: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
            log_format: weir_operator::LogFormat::Text,
        }
    }

    /// With other options.
    pub fn start_with(
        options: weir_operator::Run,
        kubeconfig: &Path,
        between: impl FnOnce(Client) -> Client + Send + 'static,
    ) -> Self {
        // WEIR_LOG=info shows its log.
        let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| "off".into());
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let health = options.health;
        let kubeconfig = kubeconfig.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(async {
                let config = Kubeconfig::read_from(kubeconfig)?;
                let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await?;
                // The lease's namespace: each test has its own lease, so a new operator need not wait for an old one's.
                config.default_namespace.clone_from(&options.namespace);
                let client = between(Client::try_from(config)?);
                let stop = async { drop(stopped.await) };
                weir_operator::serve(client, options, "test".to_owned(), stop).await
            })
        });
        Self { health, stop: Some(stop), thread: Some(thread) }
    }

    /// The value of a metric, by the prefix of its line; 0 if absent.
    pub fn figure(&self, line: &str) -> f64 {
        let text = http_get(self.health, "/metrics").unwrap_or_default();
        let found = text.lines().filter(|found| found.starts_with(line));
        found.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The number of successful passes.
    pub fn passes(&self) -> f64 {
        self.figure("weir_operator_reconciles_total{result=\"success\"")
    }

    /// Stops it, and ignores the result.
    pub fn end(mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(mut self) -> anyhow::Result<()> {
        let thread = self.thread.take().unwrap();
        await_that("the operator ends", || thread.is_finished());
        thread.join().unwrap()
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

/// The body of a response, whatever its status.
pub fn http_get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// kubectl in a namespace; its output.
#[track_caller]
pub fn kubectl(namespace: &str, arguments: &[&str]) -> String {
    let mut all = arguments.to_vec();
    all.extend(["--namespace", namespace]);
    cluster().kubectl(&all).unwrap()
}

/// The events about a pipeline, `REASON: NOTE`.
pub fn events(namespace: &str, pipeline: &str) -> Vec<String> {
    let filter = format!(".items[?(@.regarding.name==\"{pipeline}\")]");
    let path = format!("{{range {filter}}}{{.reason}}: {{.note}}{{\"\\n\"}}{{end}}");
    let all = get(namespace, "events.events.k8s.io", &path);
    all.lines().map(str::to_owned).collect()
}

/// Triggers a pass over a pipeline.
pub fn nudge(namespace: &str, pipeline: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let annotation = format!("test/nudge={}", COUNT.fetch_add(1, Ordering::Relaxed));
    kubectl(namespace, &["annotate", "--overwrite", "csp", pipeline, &annotation]);
}

/// The value of a JSONPath in an object, `KIND/NAME`.
pub fn get(namespace: &str, object: &str, path: &str) -> String {
    let output = format!("--output=jsonpath={path}");
    cluster().kubectl(&["get", object, "--namespace", namespace, &output]).unwrap_or_default()
}

/// `STATUS REASON` of a pipeline's condition.
pub fn condition(namespace: &str, pipeline: &str, type_: &str) -> String {
    let filter = format!(".status.conditions[?(@.type==\"{type_}\")]");
    get(namespace, &format!("csp/{pipeline}"), &format!("{{{filter}.status}} {{{filter}.reason}}"))
}

/// A pipeline on the tests' Kafka, whose topics begin with its namespace. `spec` has further fields, in YAML's flow style.
pub fn pipeline(namespace: &str, name: &str, spec: &str) -> String {
    pipeline_on(Kafka::shared(), namespace, name, spec)
}

/// As [`pipeline`], on another Kafka.
pub fn pipeline_on(brokers: &str, namespace: &str, name: &str, spec: &str) -> String {
    let mut document = json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "ClickstreamPipeline",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "kafka": {"bootstrapServers": [brokers]},
            "topics": {
                "events": {"name": format!("{namespace}.{name}.events"), "partitions": 6, "replicas": 1},
                "results": {"name": format!("{namespace}.{name}.results"), "replicas": 1},
                "topPages": {"name": format!("{namespace}.{name}.top")},
            },
        },
    });
    let more: Value = serde_saphyr::from_str(&format!("{{{spec}}}")).unwrap();
    lay_over(&mut document["spec"], &more);
    serde_json::to_string(&document).unwrap()
}

fn lay_over(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            more.iter().for_each(|(key, value)| lay_over(base.entry(key).or_insert(Value::Null), value));
        }
        (base, more) => *base = more.clone(),
    }
}

/// Partitions by topic, for topics with this prefix.
pub fn topics(prefix: &str) -> BTreeMap<String, i32> {
    let admin =
        weir_kafka::admin::Admin::new(&weir_kafka::Connection::new(Kafka::shared(), "weir-admin")).unwrap();
    let all = admin.topics().unwrap();
    all.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
}

/// Installs the definition of HTTPRoute, as far as the operator needs it.
pub fn install_gateway_api() {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "httproutes.gateway.networking.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2923"},
        },
        "spec": {
            "group": "gateway.networking.k8s.io",
            "names": {"kind": "HTTPRoute", "listKind": "HTTPRouteList", "plural": "httproutes", "singular": "httproute"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    cluster().apply(&definition.to_string()).unwrap();
    let name = "customresourcedefinition/httproutes.gateway.networking.k8s.io";
    cluster().kubectl(&["wait", "--for=condition=Established", name, "--timeout=60s"]).unwrap();
    await_that("kubectl knows the kind", || cluster().kubectl(&["get", "httproutes"]).is_ok());
}
