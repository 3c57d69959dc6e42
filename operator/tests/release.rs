//! Removal of the operator: pipelines that only it could release are released.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use kube::Client;
use kube::config::Kubeconfig;
use support::{Operator, await_that, cluster, condition, events, get, kubectl, namespace, pipeline, topics};

fn finalizers(ns: &str, name: &str) -> String {
    get(ns, &format!("csp/{name}"), "{.metadata.finalizers}")
}

fn create_and_await_topics(ns: &str, name: &str) {
    cluster().apply(&pipeline(ns, name, "deletionPolicy: Delete, generator: {enabled: false}")).unwrap();
    await_that("the topics are there", || condition(ns, name, "TopicsSynced") == "True Synced");
    assert_eq!(finalizers(ns, name), r#"["weir.dev/topics"]"#);
}

/// Runs the uninstall hook's command with an account's rights.
fn release(ns: &str, kubeconfig: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Kubeconfig::read_from(kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await?;
        config.default_namespace = ns.to_owned();
        weir_operator::release(Client::try_from(config)?, ns, "hook".to_owned()).await
    })
}

#[test]
fn uninstalling_the_chart_releases_pipelines() {
    let ns = namespace("uninstall");
    let operator = Operator::start(&ns);
    create_and_await_topics(&ns, "uninstall-shop");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/weir").display().to_string();
    let install = ["install", "weir", &chart, "--namespace", &ns, "--set", "crds.install=false,replicas=0"];
    cluster().helm(&install).unwrap();
    drop(operator);
    std::thread::scope(|scope| {
        let uninstall =
            scope.spawn(|| cluster().helm(&["uninstall", "weir", "--namespace", &ns, "--timeout", "120s"]));
        let pod =
            || get(&ns, "pods", "{.items[?(@.spec.serviceAccountName==\"weir-release\")].metadata.name}");
        await_that("the hook's pod is there", || !pod().is_empty());
        let arguments = get(&ns, &format!("pod/{}", pod()), "{.spec.containers[0].args}");
        assert_eq!(arguments, r#"["release","--namespace=uninstall","--log-format=json"]"#);
        release(&ns, cluster().as_service_account(&ns, "weir-release").unwrap()).unwrap();
        let done = r#"{"status": {"phase": "Succeeded"}}"#;
        kubectl(&ns, &["patch", "pod", &pod(), "--subresource=status", "--type=merge", "--patch", done]);
        uninstall.join().unwrap().unwrap();
    });
    assert_eq!(finalizers(&ns, "uninstall-shop"), "");
    let emitted = events(&ns, "uninstall-shop");
    assert!(
        emitted.iter().any(|event| event.starts_with("FinalizerReleased: the operator goes")),
        "{emitted:?}"
    );
    let left = get(&ns, "job,role,rolebinding,serviceaccount", "{.items[*].metadata.name}");
    assert!(!left.contains("weir-release"), "{left}");
    // A later operator keeps them again.
    let operator = Operator::start(&ns);
    await_that("it is kept again", || !finalizers(&ns, "uninstall-shop").is_empty());
    drop(operator);
    release(&ns, cluster().kubeconfig()).unwrap();
    kubectl(&ns, &["delete", "csp", "uninstall-shop", "--timeout=60s"]);
    assert_eq!(topics("uninstall-shop").len(), 4);
}

#[test]
fn the_operators_own_namespace_can_be_deleted() {
    let ns = namespace("ends");
    let operator = Operator::start(&ns);
    create_and_await_topics(&ns, "ends-shop");
    // Kubernetes deletes objects in any order, so the namespace is only marked: a finalizer keeps its contents.
    kubectl(&ns, &["create", "configmap", "kept"]);
    let keep = r#"{"metadata": {"finalizers": ["test/kept"]}}"#;
    kubectl(&ns, &["patch", "configmap", "kept", "--type=merge", "--patch", keep]);
    cluster().kubectl(&["delete", "namespace", &ns, "--wait=false"]).unwrap();
    // As when its pod is stopped because the namespace is being deleted.
    drop(operator);
    await_that("the pipeline is gone", || {
        cluster().kubectl(&["get", "csp", "ends-shop", "--namespace", &ns]).is_err()
    });
    let without_finalizers = r#"{"metadata": {"finalizers": null}}"#;
    kubectl(&ns, &["patch", "configmap", "kept", "--type=merge", "--patch", without_finalizers]);
    cluster().kubectl(&["wait", "--for=delete", "namespace/ends", "--timeout=60s"]).unwrap();
    assert!(!topics("ends-shop").is_empty());
}

#[test]
fn topics_are_deleted_without_secrets_that_kafka_does_not_need() {
    let ns = namespace("keyless");
    kubectl(&ns, &["create", "secret", "generic", "pii", "--from-literal=key=a key of sixteen"]);
    let _operator = Operator::start(&ns);
    let hashing = "deletionPolicy: Delete, generator: {enabled: false}, pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}";
    cluster().apply(&pipeline(&ns, "keyless-shop", hashing)).unwrap();
    await_that("the topics are there", || condition(&ns, "keyless-shop", "TopicsSynced") == "True Synced");
    kubectl(&ns, &["delete", "secret", "pii"]);
    kubectl(&ns, &["delete", "csp", "keyless-shop", "--wait=false"]);
    await_that("the pipeline and its topics are gone", || {
        get(&ns, "csp/keyless-shop", "{.metadata.name}").is_empty() && topics("keyless-shop").is_empty()
    });
}
