//! Outages of Kafka and of the API server.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    Operator, await_that, await_within, cluster, condition, events, get, kubectl, namespace, nudge,
    pipeline_on,
};
use weir_broker::Kafka;

/// Fields that change if the workloads are touched.
fn workloads(ns: &str) -> String {
    get(
        ns,
        "statefulsets,deployments",
        "{range .items[*]}{.metadata.uid} {.metadata.generation} {.spec.replicas},{end}",
    )
}

#[test]
fn workloads_stay_unchanged_while_kafka_or_the_api_server_is_down() {
    let ns = namespace("away");
    let kafka = Kafka::start(1).unwrap();
    let operator = Operator::start(&ns);
    cluster().apply(&pipeline_on(kafka.bootstrap(), &ns, "away-shop", "")).unwrap();
    await_that("the objects are there", || condition(&ns, "away-shop", "ObjectsSynced") == "True Synced");
    let before = workloads(&ns);

    kafka.broker(0).stop().unwrap();
    nudge(&ns, "away-shop");
    await_that("the condition is set", || {
        condition(&ns, "away-shop", "KafkaReachable") == "False KafkaUnreachable"
            && condition(&ns, "away-shop", "TopicsSynced") == "Unknown KafkaUnreachable"
            && condition(&ns, "away-shop", "Ready") == "False KafkaUnreachable"
    });
    assert_eq!(workloads(&ns), before);
    // Changes that do not concern Kafka are applied without it.
    kubectl(&ns, &["scale", "csp", "away-shop", "--replicas=3"]);
    await_that("it is scaled", || get(&ns, "statefulset/away-shop", "{.spec.replicas}") == "3");
    // Whether these settings begin a generation is not known without it: pods keep the document that they have.
    let pods =
        || get(&ns, "statefulset/away-shop", "{.spec.template.metadata.annotations.weir\\.dev/config-hash}");
    let (hash, edit) = (pods(), r#"{"spec":{"window":{"size":"1m"},"processor":{"replicas":4}}}"#);
    kubectl(&ns, &["patch", "csp", "away-shop", "--type=merge", "--patch", edit]);
    await_that("it is scaled", || get(&ns, "statefulset/away-shop", "{.spec.replicas}") == "4");
    assert!(!hash.is_empty() && pods() == hash, "{hash}");
    kafka.broker(0).start().unwrap();
    await_that("the pods follow", || pods() != hash);
    await_within(150, "it recovers by itself", || {
        condition(&ns, "away-shop", "KafkaReachable") == "True Answered"
            && condition(&ns, "away-shop", "TopicsSynced") == "True Synced"
    });
    for event_start in [
        "KafkaUnreachable: KafkaReachable: no kafka broker answered",
        "Answered: KafkaReachable: Kafka answers",
    ] {
        assert!(events(&ns, "away-shop").iter().any(|event| event.starts_with(event_start)), "{event_start}");
    }

    let before = workloads(&ns);
    cluster().stop_api().unwrap();
    // An operator that cannot renew its lease ends, and is started again.
    let ended = operator.wait().unwrap_err().to_string();
    assert!(ended.contains("the lease weir-operator could not be renewed within 10 s"), "{ended}");
    let operator = Operator::start(&ns);
    await_that("health is served meanwhile", || support::http_get(operator.health, "/readyz").is_ok());
    assert!(support::http_get(operator.health, "/readyz").unwrap().contains("has not answered"));
    cluster().start_api().unwrap();
    await_that("it leads again", || operator.figure("weir_operator_is_leader") == 1.0);
    await_that("a pass has ended", || operator.passes() >= 1.0);
    assert_eq!(workloads(&ns), before);
    kubectl(&ns, &["delete", "service", "away-shop-gateway"]);
    await_that("it repairs", || !get(&ns, "service/away-shop-gateway", "{.spec.clusterIP}").is_empty());
}
