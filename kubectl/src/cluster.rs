//! Requests to the API server.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, GetParams, ListParams, LogParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind, Request},
};
use serde_json::{Value, json};

/// The annotation that pauses the operator's changes.
pub(crate) const PAUSED: &str = "weir.dev/paused";
/// The pod template's annotation with which kubectl rolls pods. The operator leaves it alone.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum lines of a container's log.
const MAX_LOG_LINES: i64 = 10_000;

/// Group, kind and plural of the objects that a pipeline owns.
pub(crate) const OWNED: [(&str, &str, &str); 10] = [
    ("", "ServiceAccount", "serviceaccounts"),
    ("", "ConfigMap", "configmaps"),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    ("", "Service", "services"),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    STATEFUL_SET,
    DEPLOYMENT,
    ("networking.k8s.io", "Ingress", "ingresses"),
    ("gateway.networking.k8s.io", "HTTPRoute", "httproutes"),
    ("", "Pod", "pods"),
];
/// Objects between a Deployment and its pods, which have events, too.
const REPLICA_SET: (&str, &str, &str) = ("apps", "ReplicaSet", "replicasets");
const STATEFUL_SET: (&str, &str, &str) = ("apps", "StatefulSet", "statefulsets");
const DEPLOYMENT: (&str, &str, &str) = ("apps", "Deployment", "deployments");

/// A pipeline and its objects, by kind and name.
struct Subjects(Vec<(String, String)>);

impl Subjects {
    fn of(pipeline: &str) -> Self {
        Self(vec![("ClickstreamPipeline".to_owned(), pipeline.to_owned())])
    }

    fn add(&mut self, kind: &str, name: &str) {
        self.0.push((kind.to_owned(), name.to_owned()));
    }

    /// Whether an event's object is one of them, or a pod of theirs, which may be gone by now.
    fn contain(&self, object: &Value) -> bool {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let made_by = |maker: &str, other: &str| {
            let Some((of, rest)) = name.rsplit_once('-') else { return false };
            kind == "Pod"
                && of == other
                && match maker {
                    "StatefulSet" => rest.bytes().all(|byte| byte.is_ascii_digit()),
                    _ => maker == REPLICA_SET.1,
                }
        };
        self.0.iter().any(|(of, other)| of == kind && other == name || made_by(of, other))
    }
}

/// A namespace of a cluster.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    pub(crate) async fn connect(
        namespace: Option<String>,
        context: Option<String>,
        kubeconfig: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(&file);
                let kubeconfig = read.with_context(|| format!("cannot read {}", file.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let mut config =
            config.context("no cluster: give --kubeconfig FILE, or set KUBECONFIG as for kubectl")?;
        (config.connect_timeout, config.read_timeout) = (Some(REQUEST_TIMEOUT), Some(REQUEST_TIMEOUT));
        // A gateway without pods is a 503, to be reported at once.
        config.default_retry = false;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self { client: Client::try_from(config)?, namespace })
    }

    fn api(&self, (group, kind, plural): (&str, &str, &str)) -> Api<DynamicObject> {
        let version = if group == "weir.dev" { "v1alpha1" } else { "v1" };
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn pipelines(&self) -> Api<DynamicObject> {
        self.api(("weir.dev", "ClickstreamPipeline", "clickstreampipelines"))
    }

    /// The resource.
    pub(crate) async fn pipeline(&self, name: &str) -> anyhow::Result<Value> {
        match self.pipelines().get(name).await {
            Ok(found) => Ok(serde_json::to_value(found)?),
            Err(kube::Error::Api(status)) if status.code == 404 && status.details.is_some() => Err(anyhow!(
                "there is no pipeline {name} in namespace {}: `kubectl get csp --all-namespaces` lists them, -n names another one",
                self.namespace
            )),
            // The API server does not serve the path.
            Err(kube::Error::Api(status)) if status.code == 404 => Err(anyhow!(
                "the cluster knows no ClickstreamPipeline: install Weir's chart, or choose another cluster with --context"
            )),
            Err(error) => Err(anyhow!(error).context("the API server did not answer as expected")),
        }
    }

    /// The objects of a kind that belong to the pipeline.
    pub(crate) async fn owned(&self, kind: (&str, &str, &str), name: &str) -> anyhow::Result<Vec<Value>> {
        let selector = format!("app.kubernetes.io/name=weir,app.kubernetes.io/instance={name}");
        let list = match self.api(kind).list(&ListParams::default().labels(&selector)).await {
            // A cluster need not know the kind.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
            list => list,
        };
        let list = list.with_context(|| format!("cannot list {}", kind.2))?;
        list.items.into_iter().map(|item| Ok(serde_json::to_value(item)?)).collect()
    }

    /// Its pods.
    pub(crate) async fn pods(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        self.owned(("", "Pod", "pods"), name).await
    }

    /// The events about the pipeline, its objects and their pods, oldest first.
    pub(crate) async fn events(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.api(("", "Event", "events")).list(&ListParams::default()).await;
        let list = list.context("cannot list events")?;
        let mut subjects = Subjects::of(name);
        for kind in OWNED.into_iter().chain([REPLICA_SET]) {
            // Pods that may not be listed cannot be related to the pipeline: the other events are shown all the same.
            for object in self.owned(kind, name).await.unwrap_or_default() {
                subjects.add(kind.1, object["metadata"]["name"].as_str().unwrap_or_default());
            }
        }
        let mut events = Vec::new();
        for item in list.items {
            let event = serde_json::to_value(item)?;
            if subjects.contain(&event["involvedObject"]) {
                events.push(event);
            }
        }
        events.sort_by_key(|event| crate::page::last_seen(event).map(str::to_owned));
        Ok(events)
    }

    /// The response of the pipeline's gateway, through the API server's proxy; or why there is none.
    pub(crate) async fn gateway(&self, name: &str, path: &str) -> Result<Value, String> {
        let namespace = &self.namespace;
        let proxy = format!("/api/v1/namespaces/{namespace}/services/{name}-gateway:http/proxy/api/v1");
        let request =
            Request::new(proxy).get(path, &GetParams::default()).map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.client.request::<Value>(request)).await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => {
                Err(format!("the gateway does not answer ({}): {}", status.code, status.message))
            }
            Ok(Err(error)) => Err(format!("the gateway does not answer: {error}")),
            Err(_) => Err(format!("the gateway does not answer within {REQUEST_TIMEOUT:?}")),
        }
    }

    /// The log of a container, or why there is none.
    pub(crate) async fn log(&self, pod: &str, container: &str, previous: bool) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(MAX_LOG_LINES),
            timestamps: true,
            ..LogParams::default()
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, pods.logs(pod, &params)).await {
            Ok(Ok(log)) => log,
            Ok(Err(error)) => format!("no log: {error}\n"),
            Err(_) => format!("no log within {REQUEST_TIMEOUT:?}\n"),
        }
    }

    /// Sets or removes an annotation of the pipeline.
    pub(crate) async fn annotate(
        &self,
        name: &str,
        annotation: &str,
        value: Option<&str>,
    ) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        let patched = self.pipelines().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("cannot annotate {name}"))?;
        Ok(())
    }

    /// Rolls the pods; returns the workloads.
    pub(crate) async fn restart(&self, name: &str, now: Timestamp) -> anyhow::Result<Vec<String>> {
        let mut rolled = Vec::new();
        for kind in [STATEFUL_SET, DEPLOYMENT] {
            for object in self.owned(kind, name).await? {
                let object = object["metadata"]["name"].as_str().unwrap_or_default();
                let annotations = json!({RESTARTED: now.to_string()});
                let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
                let patched =
                    self.api(kind).patch(object, &PatchParams::default(), &Patch::Merge(patch)).await;
                let what = format!("{} {object}", kind.1);
                patched.with_context(|| format!("cannot roll {what}"))?;
                rolled.push(what);
            }
        }
        Ok(rolled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_neighbour_are_not_included() {
        let mut subjects = Subjects::of("shop");
        subjects.add("StatefulSet", "shop");
        subjects.add("ReplicaSet", "shop-gateway-5d4f8");
        for (kind, name, expected) in [
            ("ClickstreamPipeline", "shop", true),
            ("ClickstreamPipeline", "shop-eu", false),
            ("StatefulSet", "shop", true),
            ("StatefulSet", "shop-eu", false),
            // Pods that are gone.
            ("Pod", "shop-3", true),
            ("Pod", "shop-eu-3", false),
            ("Pod", "shop-gateway-5d4f8-x2c7k", true),
            ("Pod", "shop-gateway-77777-x2c7k", false),
            ("Pod", "shop-job", false),
            ("Secret", "shop", false),
        ] {
            assert_eq!(subjects.contain(&json!({"kind": kind, "name": name})), expected, "{kind} {name}");
        }
    }
}
