//! What others do to a pipeline's objects, and to Kafka, while the operator runs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    Operator, await_that, cluster, condition, events, get, kubectl, namespace, nudge, pipeline, pipeline_on,
};

fn settled(ns: &str, name: &str, spec: &str) {
    cluster().apply(&pipeline(ns, name, spec)).unwrap();
    await_that("the objects are there", || condition(ns, name, "ObjectsSynced") == "True Synced");
}

fn told(ns: &str, name: &str, part: &str) -> bool {
    events(ns, name).iter().any(|event| event.contains(part))
}

fn patch(ns: &str, object: &str, kind: &str, patch: &str) {
    let (kind, object) = (format!("--type={kind}"), object.to_owned());
    kubectl(ns, &["patch", &object, &kind, "--field-manager=rival", "--patch", patch]);
}

#[test]
fn entries_that_others_add_are_taken_out() {
    let ns = namespace("added");
    let _operator = Operator::start(&ns);
    settled(&ns, "added-shop", "");
    let before = get(&ns, "service/added-shop-gateway", "{.spec}");
    for (object, addition, path, entry) in [
        (
            "networkpolicy/added-shop-gateway",
            r#"[{"op": "add", "path": "/spec/ingress/-", "value": {}}]"#,
            "NetworkPolicy added-shop-gateway: spec.ingress[1] was added (by rival)",
            "{.spec.ingress[1]}",
        ),
        (
            "networkpolicy/added-shop",
            r#"[{"op": "add", "path": "/spec/podSelector/matchLabels/none", "value": "such"}]"#,
            "NetworkPolicy added-shop: spec.podSelector.matchLabels.none was added (by rival)",
            "{.spec.podSelector.matchLabels.none}",
        ),
        (
            "service/added-shop-gateway",
            r#"[{"op": "add", "path": "/spec/ports/0", "value": {"name": "debug", "port": 9, "protocol": "TCP"}}]"#,
            "Service added-shop-gateway: spec.ports[0] was added (by rival)",
            "{.spec.ports[1]}",
        ),
        (
            "statefulset/added-shop",
            r#"[{"op": "add", "path": "/spec/template/spec/containers/0/env/0", "value": {"name": "LD_PRELOAD", "value": "x"}}]"#,
            "spec.template.spec.containers[0].env[0] was added (by rival)",
            "{.spec.template.spec.containers[0].env[?(@.name==\"LD_PRELOAD\")]}",
        ),
        (
            "deployment/added-shop-generator",
            r#"[{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "miner", "image": "miner"}}]"#,
            "spec.template.spec.containers[1] was added (by rival)",
            "{.spec.template.spec.containers[1]}",
        ),
    ] {
        patch(&ns, object, "json", addition);
        await_that(path, || told(&ns, "added-shop", path));
        await_that("it is taken out", || get(&ns, object, entry).is_empty());
    }
    // And nothing else.
    assert_eq!(get(&ns, "service/added-shop-gateway", "{.spec}"), before);
    // What others may add stays.
    patch(
        &ns,
        "deployment/added-shop-gateway",
        "merge",
        r#"{"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}"#,
    );
    nudge(&ns, "added-shop");
    kubectl(&ns, &["delete", "service", "added-shop-gateway"]);
    await_that("it looked again", || {
        told(&ns, "added-shop", "Repaired: Service added-shop-gateway was missing")
    });
    let annotation =
        get(&ns, "deployment/added-shop-gateway", "{.spec.template.metadata.annotations.restarted}");
    assert_eq!(annotation, "now");
}

#[test]
fn a_quarrel_ends_and_names_the_other() {
    let ns = namespace("quarrel");
    let _operator = Operator::start(&ns);
    settled(&ns, "quarrel-shop", "generator: {enabled: false}");
    let replicas = || get(&ns, "statefulset/quarrel-shop", "{.spec.replicas}");
    await_that("the operator leaves it", || {
        if replicas() == "2" {
            patch(&ns, "statefulset/quarrel-shop", "merge", r#"{"spec": {"replicas": 7}}"#);
        }
        condition(&ns, "quarrel-shop", "ObjectsSynced") == "False Contested"
    });
    let message = "{.status.conditions[?(@.type==\"ObjectsSynced\")].message}";
    let message = get(&ns, "csp/quarrel-shop", message);
    assert!(message.contains("StatefulSet quarrel-shop: spec.replicas was 7, is 2 (by rival)"), "{message}");
    let repairs = events(&ns, "quarrel-shop").iter().filter(|event| event.starts_with("Repaired: ")).count();
    assert_eq!(repairs, 5);
    assert!(
        get(&ns, "events.events.k8s.io", "{.items[?(@.reason==\"Contested\")].type}").contains("Warning")
    );
    assert_eq!(replicas(), "7");
    // What the other gives back is nobody's quarrel.
    patch(&ns, "statefulset/quarrel-shop", "merge", r#"{"spec": {"replicas": 2}}"#);
    await_that("all is well", || condition(&ns, "quarrel-shop", "ObjectsSynced") == "True Synced");
}

#[test]
fn objects_of_a_pipeline_that_is_gone_become_its_successors() {
    let ns = namespace("orphans");
    let operator = Operator::start(&ns);
    settled(&ns, "orphans-shop", "");
    drop(operator);
    let uids = || get(&ns, "statefulset,service", "{.items[*].metadata.uid}");
    let before = uids();
    kubectl(&ns, &["delete", "csp", "orphans-shop", "--cascade=orphan", "--wait"]);
    let owners = || get(&ns, "statefulset/orphans-shop", "{.metadata.ownerReferences}");
    await_that("nobody has them", || owners().is_empty());
    // Like one of ours by name alone.
    kubectl(&ns, &["delete", "configmap", "orphans-shop"]);
    kubectl(&ns, &["create", "configmap", "orphans-shop"]);
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "orphans-shop", "generator: {enabled: false}")).unwrap();
    await_that("another's stands in the way", || {
        condition(&ns, "orphans-shop", "ObjectsSynced") == "False ObjectNotOwned"
    });
    await_that("it says so", || told(&ns, "orphans-shop", "Adopted: "));
    assert!(told(&ns, "orphans-shop", "StatefulSet orphans-shop"));
    assert_eq!(uids(), before);
    assert!(!owners().is_empty());
    // What it does not want goes.
    assert_eq!(get(&ns, "deployment", "{.items[*].metadata.name}"), "orphans-shop-gateway");
    kubectl(&ns, &["delete", "configmap", "orphans-shop"]);
    nudge(&ns, "orphans-shop");
    await_that("all is well", || condition(&ns, "orphans-shop", "ObjectsSynced") == "True Synced");
}

#[test]
fn a_drain_may_take_pods_that_are_not_ready() {
    let ns = namespace("drain");
    let _operator = Operator::start(&ns);
    settled(&ns, "drain-shop", "gateway: {replicas: 2}");
    let policies = get(&ns, "pdb", "{.items[*].spec.unhealthyPodEvictionPolicy}");
    assert_eq!(policies, "AlwaysAllow AlwaysAllow");
}

#[test]
fn clusters_that_do_not_answer_hold_up_nobody_else() {
    let ns = namespace("dead");
    let _operator = Operator::start(&ns);
    // Each a cluster of its own, where nobody listens. All at once, so that they are looked at before the one that lives.
    let dead = |n: usize| {
        pipeline_on(&format!("127.0.0.1:{n}"), &ns, &format!("dead-{n}"), "gateway: {replicas: 0}")
    };
    let all: Vec<String> = (1..=40).map(dead).chain([pipeline(&ns, "zz-alive", "")]).collect();
    cluster().apply(&all.join("\n---\n")).unwrap();
    await_that("the one that lives is served", || !get(&ns, "csp/zz-alive", "{.status.topics}").is_empty());
    let given_up = get(&ns, "csp", "{.items[*].status.conditions[?(@.type==\"KafkaReachable\")].status}");
    let given_up = given_up.matches("False").count();
    // Were eight looked at at a time, nearly all would have been given up before.
    assert!(given_up < 40, "{given_up}");
}
