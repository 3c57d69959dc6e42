//! Exposure of the gateway, inherited labels and images, rollouts in turn.
#![allow(clippy::unwrap_used)]

mod support;

use support::processing::{generate, message, process};
use support::{Operator, await_that, cluster, condition, get, kubectl, namespace, nudge, pipeline};
use weir_manifest::Pipeline;

#[test]
fn a_gateway_is_exposed_as_the_document_says() {
    let ns = namespace("exposed");
    let _operator = Operator::start(&ns);
    let spec = "gateway: {service: {type: NodePort, annotations: {example.com/pool: blue}},
        ingress: {host: shop.example, className: nginx, tlsSecretName: shop-tls, annotations: {example.com/size: 1m}},
        httpRoute: {parentRefs: [{name: web, namespace: infra}], hostnames: [shop.example]}}";
    cluster().apply(&pipeline(&ns, "exposed-shop", spec)).unwrap();
    // Without the Gateway API all objects except the route exist.
    await_that("the condition is set", || {
        condition(&ns, "exposed-shop", "ObjectsSynced") == "False KindMissing"
    });
    assert!(message(&ns, "exposed-shop", "ObjectsSynced").starts_with("this cluster knows no HTTPRoute: "));
    let name = "exposed-shop-gateway";
    let service =
        get(&ns, &format!("service/{name}"), "{.spec.type} {.metadata.annotations.example\\.com/pool}");
    assert_eq!(service, "NodePort blue");
    let ingress = "{.spec.ingressClassName} {.spec.tls[0].secretName} {.spec.rules[0].host} \
        {.spec.rules[0].http.paths[0].backend.service.name} {.metadata.annotations.example\\.com/size}";
    let ingress = get(&ns, &format!("ingress/{name}"), ingress);
    assert_eq!(ingress, "nginx shop-tls shop.example exposed-shop-gateway 1m");
    support::install_gateway_api();
    nudge(&ns, "exposed-shop");
    await_that("the route is there", || condition(&ns, "exposed-shop", "ObjectsSynced") == "True Synced");
    let route = "{.spec.parentRefs[0].namespace} {.spec.hostnames[0]} {.spec.rules[0].backendRefs[0].name}";
    assert_eq!(get(&ns, &format!("httproute/{name}"), route), "infra shop.example exposed-shop-gateway");
    let less = r#"{"spec": {"gateway": {"ingress": null, "httpRoute": null, "service": null}}}"#;
    kubectl(&ns, &["patch", "csp", "exposed-shop", "--type=merge", "--patch", less]);
    await_that("ingress and route are gone", || {
        get(&ns, "ingress,httproute", "{.items[*].metadata.name}").is_empty()
    });
    await_that("the service is internal", || {
        get(&ns, &format!("service/{name}"), "{.spec.type} {.metadata.annotations.example\\.com/pool}")
            == "ClusterIP "
    });
}

#[test]
fn pods_get_settings_of_the_document_and_the_installation() {
    let ns = namespace("given");
    let mut options = Operator::options(&ns);
    options.inherit_labels = vec!["team".to_owned(), "example.com/*".to_owned()];
    options.inherit_annotations = vec!["*".to_owned()];
    let _operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    let spec = "image: 'registry.example/weir:2', imagePullSecrets: [{name: registry}],
        generator: {podTemplate: {spec: {priorityClassName: low}}}";
    let document = pipeline(&ns, "given-shop", spec);
    let metadata = r#""metadata":{"labels":{"team":"web","example.com/cost":"7","other":"x"},"annotations":{"owner":"ops"},"#;
    cluster().apply(&document.replacen(r#""metadata":{"#, metadata, 1)).unwrap();
    await_that("the objects are there", || condition(&ns, "given-shop", "ObjectsSynced") == "True Synced");
    let pods = "{.spec.template.spec.containers[0].image} {.spec.template.spec.imagePullSecrets[0].name} \
        {.spec.template.metadata.labels.team} {.spec.template.metadata.labels.example\\.com/cost}\
        {.spec.template.metadata.labels.other} {.metadata.annotations.owner}{.spec.template.metadata.annotations.owner}";
    for object in
        ["statefulset/given-shop", "deployment/given-shop-generator", "deployment/given-shop-gateway"]
    {
        assert_eq!(get(&ns, object, pods), "registry.example/weir:2 registry web 7 ops", "{object}");
    }
    let class = get(&ns, "deployment", "{.items[*].spec.template.spec.priorityClassName}");
    assert_eq!(class, "low");
    assert_eq!(get(&ns, "service/given-shop-gateway", "{.metadata.labels.team}"), "web");
}

/// Marks every pod ready, including new ones.
fn run_pods(ns: &str) {
    // Ready since long enough for a rollout to go on (minReadySeconds).
    let ready = r#"{"status":{"phase":"Running","conditions":[
        {"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    for pod in get(ns, "pods", "{.items[*].metadata.name}").split_whitespace() {
        let patch = [
            "patch",
            "pod",
            pod,
            "--namespace",
            ns,
            "--subresource=status",
            "--type=merge",
            "--patch",
            ready,
        ];
        // The pod may be gone by now.
        let _ = cluster().kubectl(&patch);
    }
}

#[test]
fn a_new_image_is_rolled_out_to_one_pipeline_after_the_other() {
    let ns = namespace("turns");
    // Without events: a window would be sealed after three seconds.
    let quiet = "generator: {enabled: false}, gateway: {replicas: 0}, processor: {replicas: 1},
        window: {size: 1s, slide: 1s, outOfOrderness: 0s, idleTimeout: 1s}";
    let names = ["turns-a", "turns-b", "turns-c"];
    let operator = Operator::start(&ns);
    for name in names {
        cluster().apply(&pipeline(&ns, name, quiet)).unwrap();
        kubectl(&ns, &["label", "csp", name, "team=web"]);
    }
    let all_ready = || {
        run_pods(&ns);
        names.iter().all(|name| condition(&ns, name, "Ready") == "True Running")
    };
    await_that("all run", all_ready);
    drop(operator);
    // A pipeline with its own image neither waits for others nor delays them.
    let own = r#"{"spec": {"image": "weir:own"}}"#;
    kubectl(&ns, &["patch", "csp", "turns-c", "--type=merge", "--patch", own]);
    let mut options = Operator::options(&ns);
    options.image = "weir:next".to_owned();
    // Other changes that a new operator makes to pods may not fit the old image.
    options.inherit_labels = vec!["team".to_owned()];
    let _operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    let images = || get(&ns, "statefulset", "{.items[*].spec.template.spec.containers[0].image}");
    await_that("one has it", || images().contains("weir:next"));
    let (first, second) = if images().starts_with("weir:next") { (0, 1) } else { (1, 0) };
    await_that("the other waits", || {
        message(&ns, names[second], "ObjectsSynced").contains("weir:next follows")
    });
    let waits = format!(
        "image weir:next follows when turns/{}, which is rolled now, is ready and has sealed a window; until then weir:test stays as it is",
        names[first]
    );
    assert_eq!(message(&ns, names[second], "ObjectsSynced"), waits);
    assert_eq!(condition(&ns, names[second], "ObjectsSynced"), "True RolloutPending");
    await_that("the third has its own", || images().ends_with("weir:own"));
    let labels = || {
        let workload = format!("statefulset/{}", names[second]);
        get(&ns, &workload, "{.spec.template.metadata.labels.team}")
    };
    assert_eq!(labels(), "");
    // Scaling is applied at once, and does not skip the turn.
    kubectl(&ns, &["scale", "csp", names[second], "--replicas=2"]);
    let replicas = || get(&ns, &format!("statefulset/{}", names[second]), "{.spec.replicas}");
    await_that("it is scaled", || replicas() == "2");
    assert_eq!((images().matches("weir:next").count(), labels().as_str()), (1, ""));
    assert_eq!(condition(&ns, names[second], "ObjectsSynced"), "True RolloutPending");
    // A change of the document about pods does not wait, and brings the new image.
    let patch = r#"{"spec": {"processor": {"podTemplate": {"metadata": {"labels": {"tier": "one"}}}}}}"#;
    kubectl(&ns, &["patch", "csp", names[second], "--type=merge", "--patch", patch]);
    await_that("it is rolled", || labels() == "web");
    assert_eq!(images().matches("weir:next").count(), 2);
    await_that("all have it", || all_ready() && images() == "weir:next weir:next weir:own");
}

/// Sends 600 events that span six seconds, and processes them.
fn seal_windows(ns: &str, name: &str, spec: &str) {
    let document = Pipeline::from_yaml(&pipeline(ns, name, spec)).unwrap();
    generate(&document, "2026-01-01T00:00:00Z");
    process(&document).unwrap();
}

#[test]
fn the_next_pipeline_rolls_once_the_previous_one_sealed_a_window() {
    let ns = namespace("sealed");
    // Without a sealed window, only after longer than the test waits.
    let slow = "generator: {enabled: false}, gateway: {replicas: 0}, processor: {replicas: 1}, window: {size: 1h, slide: 1h}";
    let names = ["sealed-a", "sealed-b"];
    let operator = Operator::start(&ns);
    for name in names {
        cluster().apply(&pipeline(&ns, name, slow)).unwrap();
    }
    let ready = |name: &str| {
        run_pods(&ns);
        condition(&ns, name, "Ready") == "True Running"
    };
    await_that("both run", || names.iter().all(|name| ready(name)));
    drop(operator);
    let mut options = Operator::options(&ns);
    // A label changes pods as an image does.
    options.inherit_labels = vec!["team".to_owned()];
    for name in names {
        kubectl(&ns, &["label", "csp", name, "team=web"]);
    }
    let operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    let has = |name: &str| {
        get(&ns, &format!("statefulset/{name}"), "{.spec.template.metadata.labels.team}") == "web"
    };
    await_that("one is rolled", || names.iter().any(|name| has(name)));
    let (first, second) = if has(names[0]) { (names[0], names[1]) } else { (names[1], names[0]) };
    let await_passes = |times: usize| {
        for _ in 0..times {
            let passes = operator.passes();
            nudge(&ns, second);
            await_that("a pass has ended", || operator.passes() > passes);
        }
    };
    await_that("it is ready", || {
        let rolled = get(&ns, "pods", "{.items[*].metadata.labels.team}") == "web";
        ready(first) && rolled
    });
    await_passes(3);
    assert_eq!(condition(&ns, second, "ObjectsSynced"), "True RolloutPending");
    assert!(
        message(&ns, second, "ObjectsSynced")
            .starts_with(&format!("new pods follow when sealed/{first}, which is rolled now"))
    );
    seal_windows(&ns, first, slow);
    await_that("the other follows", || {
        nudge(&ns, second);
        has(second)
    });
}
