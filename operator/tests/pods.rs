//! Restrictions of pod templates, and the reported state of pods.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Operator, await_that, cluster, condition, events, get, kubectl, namespace, pipeline};

fn message(ns: &str, name: &str, type_: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.conditions[?(@.type==\"{type_}\")].message}}"))
}

#[test]
fn privileged_pod_templates_are_refused_unless_the_installation_allows_them() {
    let ns = namespace("lend");
    let operator = Operator::start(&ns);
    let lending = "gateway: {podTemplate: {spec: {serviceAccountName: weir-operator, automountServiceAccountToken: true,
        volumes: [{name: node, hostPath: {path: /}}]}}}";
    cluster().apply(&pipeline(&ns, "lend-shop", lending)).unwrap();
    await_that("it is refused", || condition(&ns, "lend-shop", "Valid") == "False InvalidSpec");
    let text = message(&ns, "lend-shop", "Valid");
    for path in ["serviceAccountName", "automountServiceAccountToken", "volumes[0].hostPath"] {
        assert!(text.contains(&format!("spec.gateway.podTemplate.spec.{path}: ")), "{text}");
    }
    assert_eq!(get(&ns, "statefulset,deployment", "{.items}"), "[]");
    assert!(events(&ns, "lend-shop").iter().any(|event| event.starts_with("InvalidSpec: ")));
    drop(operator);

    let mut options = Operator::options(&ns);
    options.allow_privileged_pods = true;
    let _operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    await_that("it is accepted", || condition(&ns, "lend-shop", "ObjectsSynced") == "True Synced");
    let spec =
        kubectl(&ns, &["get", "deployment", "lend-shop-gateway", "--output=jsonpath={..serviceAccountName}"]);
    assert_eq!(spec, "weir-operator");
}

/// Sets the status of each pod of a component, in place of a kubelet or the scheduler: there are no nodes.
fn set_pod_status(ns: &str, component: &str, status: &str) {
    let selector = format!("app.kubernetes.io/component={component}");
    let names = || {
        kubectl(ns, &["get", "pods", "--selector", &selector, "--output=jsonpath={.items[*].metadata.name}"])
    };
    await_that("there are pods", || !names().is_empty());
    let patch = format!("{{\"status\": {status}}}");
    for pod in names().split_whitespace() {
        kubectl(ns, &["patch", "pod", pod, "--subresource=status", "--type=merge", "--patch", &patch]);
    }
}

/// The status of a pod that is ready, and has been for long (minReadySeconds).
const READY: &str = r#"{"phase": "Running", "containerStatuses": null, "conditions": [
    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}"#;

/// The status of a pod with one container, which waits.
fn waiting(container: &str, reason: &str, message: &str, more: &str) -> String {
    format!(
        r#"{{"phase": "Pending", "conditions": null, "containerStatuses": [{{"name": "{container}", "image": "weir:test", "imageID": "", "ready": false,
        "restartCount": 7, "state": {{"waiting": {{"reason": "{reason}", "message": "{message}"}}}}{more}}}]}}"#
    )
}

#[test]
fn the_status_reports_why_pods_are_not_ready() {
    let ns = namespace("reports");
    let mut options = Operator::options(&ns);
    options.progress_deadline = 60;
    let operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    let now = k8s_openapi::jiff::Timestamp::now();
    cluster().apply(&pipeline(&ns, "reports-shop", "")).unwrap();
    await_that("the objects are there", || condition(&ns, "reports-shop", "ObjectsSynced") == "True Synced");

    set_pod_status(&ns, "processor", &waiting("processor", "ErrImagePull", "weir:test: not found", ""));
    await_that("an image", || condition(&ns, "reports-shop", "ProcessorAvailable") == "False ErrImagePull");
    let text = message(&ns, "reports-shop", "ProcessorAvailable");
    let expected = "processors: 0 of 2 ready; pod reports-shop-0: container processor: image weir:test cannot be pulled: weir:test: not found";
    // With or without the deadline's prefix.
    assert!(text.ends_with(expected), "{text}");

    let unschedulable = r#"{"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu."}]}"#;
    set_pod_status(&ns, "generator", unschedulable);
    await_that("a node", || condition(&ns, "reports-shop", "GeneratorAvailable") == "False Unschedulable");
    assert!(
        message(&ns, "reports-shop", "GeneratorAvailable")
            .ends_with(": 0/3 nodes are available: 3 Insufficient cpu.")
    );

    let crash = |line: &str, restarts: i64| {
        let ended = now - k8s_openapi::jiff::SignedDuration::from_secs(restarts);
        let last = format!(
            r#", "lastState": {{"terminated": {{"exitCode": 1, "reason": "Error", "finishedAt": "{ended:.0}", "message": "start\n{line}\n"}}}}"#
        );
        waiting("gateway", "CrashLoopBackOff", "back-off 5m0s restarting", &last)
    };
    set_pod_status(&ns, "gateway", &crash("weir: lost 10.0.0.7 at 12:00:01", 9));
    await_that("a crash", || condition(&ns, "reports-shop", "GatewayAvailable") == "False CrashLoopBackOff");
    assert!(
        message(&ns, "reports-shop", "GatewayAvailable")
            .ends_with("ended with exit code 1: weir: lost 10.0.0.7 at 12:00:01")
    );

    // After the deadline one Warning for each; repeated crashes are no longer written.
    for (type_, reason) in [
        ("ProcessorAvailable", "ErrImagePull"),
        ("GatewayAvailable", "CrashLoopBackOff"),
        ("GeneratorAvailable", "Unschedulable"),
    ] {
        let warning = format!("{reason}: {type_}: no progress for 60 s: ");
        await_that("the deadline", || {
            events(&ns, "reports-shop").iter().any(|event| event.starts_with(&warning))
        });
        let types = get(&ns, "events.events.k8s.io", &format!("{{.items[?(@.reason==\"{reason}\")].type}}"));
        assert!(types.contains("Warning"), "{types}");
        assert_eq!(condition(&ns, "reports-shop", type_), format!("False {reason}"));
    }
    let version = || get(&ns, "csp/reports-shop", "{.status}");
    let before = version();
    set_pod_status(&ns, "gateway", &crash("weir: lost 10.0.0.8 at 12:05:01", 2));
    set_pod_status(&ns, "processor", &waiting("processor", "ImagePullBackOff", "Back-off pulling image", ""));
    for _ in 0..2 {
        let passes = operator.passes();
        support::nudge(&ns, "reports-shop");
        await_that("another pass has ended", || operator.passes() > passes);
    }
    assert_eq!(version(), before);

    for component in ["processor", "gateway", "generator"] {
        set_pod_status(&ns, component, READY);
    }
    await_that("the condition is True", || condition(&ns, "reports-shop", "Ready") == "True Running");
}

#[test]
fn workloads_are_reported_even_if_the_document_is_invalid() {
    let ns = namespace("honest");
    let _operator = Operator::start(&ns);
    let secret =
        || kubectl(&ns, &["create", "secret", "generic", "pii", "--from-literal=key=a key of sixteen"]);
    secret();
    let spec = "generator: {enabled: false}, pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}";
    cluster().apply(&pipeline(&ns, "honest-shop", spec)).unwrap();
    await_that("the objects are there", || condition(&ns, "honest-shop", "ObjectsSynced") == "True Synced");
    let assert_reported = |component: &str, ready: bool| {
        let status =
            if ready { READY.to_owned() } else { waiting(component, "ErrImagePull", "not found", "") };
        let type_ = if component == "gateway" { "GatewayAvailable" } else { "ProcessorAvailable" };
        let expected = if ready { "True AllReady" } else { "False ErrImagePull" };
        await_that(&format!("{type_} is {expected}"), || {
            set_pod_status(&ns, component, &status);
            condition(&ns, "honest-shop", type_) == expected
        });
    };
    assert_reported("processor", true);
    assert_reported("gateway", true);

    // A missing Secret, a refused document, and a pause.
    kubectl(&ns, &["delete", "secret", "pii"]);
    support::nudge(&ns, "honest-shop");
    await_that("the Secret is missed", || condition(&ns, "honest-shop", "Valid") == "False SecretMissing");
    assert_reported("processor", false);
    assert_reported("gateway", false);
    assert_eq!(condition(&ns, "honest-shop", "Ready"), "False SecretMissing");
    secret();
    let host = r#"{"spec": {"gateway": {"podTemplate": {"spec": {"hostNetwork": true}}}}}"#;
    kubectl(&ns, &["patch", "csp", "honest-shop", "--type=merge", "--patch", host]);
    await_that("it is refused", || condition(&ns, "honest-shop", "Valid") == "False InvalidSpec");
    assert_reported("processor", true);
    assert_reported("gateway", true);
    assert_eq!(get(&ns, "csp/honest-shop", "{.status.processor.readyReplicas}"), "2");
    kubectl(&ns, &["annotate", "csp", "honest-shop", "weir.dev/paused=true"]);
    await_that("it is paused", || condition(&ns, "honest-shop", "Ready") == "Unknown Paused");
    assert_reported("processor", false);
}

#[test]
fn pods_that_cannot_be_created_are_reported() {
    let ns = namespace("refuses");
    kubectl(&ns, &["label", "namespace", &ns, "pod-security.kubernetes.io/enforce=restricted"]);
    let quota = r#"{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": "refuses"},
        "spec": {"hard": {"count/deployments.apps": "9", "pods": "0"}}}"#;
    let _operator = Operator::start(&ns);
    let root = "generator: {enabled: false}, processor: {podTemplate: {spec: {securityContext: {runAsNonRoot: false}}}}";
    cluster().apply(quota).unwrap();
    await_that("the quota counts", || !get(&ns, "resourcequota/none", "{.status.hard.pods}").is_empty());
    cluster().apply(&pipeline(&ns, "refuses-shop", root)).unwrap();
    await_that("Pod Security", || {
        condition(&ns, "refuses-shop", "ProcessorAvailable") == "False FailedCreate"
    });
    let text = message(&ns, "refuses-shop", "ProcessorAvailable");
    assert!(text.contains("violates PodSecurity") && text.contains("runAsNonRoot"), "{text}");
    await_that("the quota", || condition(&ns, "refuses-shop", "GatewayAvailable") == "False FailedCreate");
    let text = message(&ns, "refuses-shop", "GatewayAvailable");
    assert!(text.contains("exceeded quota: none"), "{text}");
    kubectl(&ns, &["delete", "resourcequota", "none"]);
    kubectl(&ns, &["label", "namespace", &ns, "pod-security.kubernetes.io/enforce-"]);
    await_that("pods are created", || {
        !condition(&ns, "refuses-shop", "ProcessorAvailable").contains("FailedCreate")
            && !condition(&ns, "refuses-shop", "GatewayAvailable").contains("FailedCreate")
    });
}
