//! Changes by others to a pipeline's objects, and Kafka outages, while the operator runs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    Operator, await_that, cluster, condition, events, get, kubectl, namespace, nudge, pipeline, pipeline_on,
};

fn create_and_await_objects(ns: &str, name: &str, spec: &str) {
    cluster().apply(&pipeline(ns, name, spec)).unwrap();
    await_that("the objects are there", || condition(ns, name, "ObjectsSynced") == "True Synced");
}

fn has_event(ns: &str, name: &str, part: &str) -> bool {
    events(ns, name).iter().any(|event| event.contains(part))
}

fn patch(ns: &str, object: &str, kind: &str, patch: &str) {
    let (kind, object) = (format!("--type={kind}"), object.to_owned());
    kubectl(ns, &["patch", &object, &kind, "--field-manager=rival", "--patch", patch]);
}

#[test]
fn entries_that_others_add_are_removed() {
    let ns = namespace("added");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "added-shop", "");
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
        await_that(path, || has_event(&ns, "added-shop", path));
        await_that("the entry is removed", || get(&ns, object, entry).is_empty());
    }
    // Nothing else is repaired.
    assert_eq!(get(&ns, "service/added-shop-gateway", "{.spec}"), before);
    // Entries that others may add stay.
    patch(
        &ns,
        "deployment/added-shop-gateway",
        "merge",
        r#"{"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}"#,
    );
    nudge(&ns, "added-shop");
    kubectl(&ns, &["delete", "service", "added-shop-gateway"]);
    await_that("another pass has ended", || {
        has_event(&ns, "added-shop", "Repaired: Service added-shop-gateway was missing")
    });
    let annotation =
        get(&ns, "deployment/added-shop-gateway", "{.spec.template.metadata.annotations.restarted}");
    assert_eq!(annotation, "now");
}

#[test]
fn a_contested_field_is_left_alone_and_names_the_other_manager() {
    let ns = namespace("quarrel");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "quarrel-shop", "generator: {enabled: false}");
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
    // Once the other manager releases the field it is repaired again.
    patch(&ns, "statefulset/quarrel-shop", "merge", r#"{"spec": {"replicas": 2}}"#);
    await_that("the condition is True", || condition(&ns, "quarrel-shop", "ObjectsSynced") == "True Synced");
}

#[test]
fn orphaned_objects_are_adopted_by_a_pipeline_of_the_same_name() {
    let ns = namespace("orphans");
    let operator = Operator::start(&ns);
    create_and_await_objects(&ns, "orphans-shop", "");
    drop(operator);
    let uids = || get(&ns, "statefulset,service", "{.items[*].metadata.uid}");
    let before = uids();
    kubectl(&ns, &["delete", "csp", "orphans-shop", "--cascade=orphan", "--wait"]);
    let owners = || get(&ns, "statefulset/orphans-shop", "{.metadata.ownerReferences}");
    await_that("they have no owner", || owners().is_empty());
    // An object of the same name, without the operator's label.
    kubectl(&ns, &["delete", "configmap", "orphans-shop"]);
    kubectl(&ns, &["create", "configmap", "orphans-shop"]);
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "orphans-shop", "generator: {enabled: false}")).unwrap();
    await_that("the object of another owner is reported", || {
        condition(&ns, "orphans-shop", "ObjectsSynced") == "False ObjectNotOwned"
    });
    await_that("the condition is set", || has_event(&ns, "orphans-shop", "Adopted: "));
    assert!(has_event(&ns, "orphans-shop", "StatefulSet orphans-shop"));
    assert_eq!(uids(), before);
    assert!(!owners().is_empty());
    // Surplus objects are deleted.
    assert_eq!(get(&ns, "deployment", "{.items[*].metadata.name}"), "orphans-shop-gateway");
    kubectl(&ns, &["delete", "configmap", "orphans-shop"]);
    nudge(&ns, "orphans-shop");
    await_that("the condition is True", || condition(&ns, "orphans-shop", "ObjectsSynced") == "True Synced");
}

#[test]
fn a_drain_may_evict_pods_that_are_not_ready() {
    let ns = namespace("drain");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "drain-shop", "gateway: {replicas: 2}");
    let policies = get(&ns, "pdb", "{.items[*].spec.unhealthyPodEvictionPolicy}");
    assert_eq!(policies, "AlwaysAllow AlwaysAllow");
}

#[test]
fn unreachable_kafka_clusters_do_not_delay_other_pipelines() {
    let ns = namespace("dead");
    let _operator = Operator::start(&ns);
    // Each has another unreachable cluster. All at once, so that their passes start before the reachable one's.
    let dead = |n: usize| {
        pipeline_on(&format!("127.0.0.1:{n}"), &ns, &format!("dead-{n}"), "gateway: {replicas: 0}")
    };
    let all: Vec<String> = (1..=40).map(dead).chain([pipeline(&ns, "zz-alive", "")]).collect();
    cluster().apply(&all.join("\n---\n")).unwrap();
    await_that("the pipeline of the reachable cluster is synced", || {
        !get(&ns, "csp/zz-alive", "{.status.topics}").is_empty()
    });
    let given_up = get(&ns, "csp", "{.items[*].status.conditions[?(@.type==\"KafkaReachable\")].status}");
    let given_up = given_up.matches("False").count();
    // With only eight passes at a time nearly all would have timed out before.
    assert!(given_up < 40, "{given_up}");
}
