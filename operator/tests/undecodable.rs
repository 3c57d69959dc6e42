//! Resources that were written under another definition.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    Operator, await_that, await_within, cluster, condition, events, get, kubectl, namespace, pipeline,
};

#[test]
fn an_undecodable_resource_is_reported_and_others_are_reconciled() {
    let ns = namespace("unread");
    // An older definition might have admitted it.
    let strict = weir_operator::crd().unwrap();
    let mut lax: serde_json::Value = serde_saphyr::from_str(&strict).unwrap();
    lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    cluster().apply(&lax.to_string()).unwrap();
    let document = pipeline(&ns, "unread-shop", "generator: {seed: many}");
    await_that("the definition is lax", || cluster().apply(&document).is_ok());
    cluster().apply(&strict).unwrap();
    await_that("the definition is strict", || {
        cluster().apply(&document.replace("unread-shop", "never-shop")).is_err()
    });

    // Another operator keeps it, and owns its status.
    let keeper = |operator: &str| {
        let patch = format!("{{\"status\": {{\"operator\": {operator}, \"contender\": null}}}}");
        kubectl(
            &ns,
            &["patch", "csp", "unread-shop", "--subresource=status", "--type=merge", "--patch", &patch],
        );
    };
    keeper("\"elsewhere/weir-operator\"");
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "read-shop", "")).unwrap();
    await_that("the other is kept", || condition(&ns, "read-shop", "ObjectsSynced") == "True Synced");
    await_that("it asks for this one", || {
        get(&ns, "csp/unread-shop", "{.status.contender.operator}") == "unread/weir-operator"
    });
    assert_eq!(condition(&ns, "unread-shop", "Valid"), " ");
    keeper("null");
    await_that("the condition is set", || condition(&ns, "unread-shop", "Valid") == "False Undecodable");
    assert_eq!(condition(&ns, "unread-shop", "Ready"), "False Undecodable");
    await_that("the event is emitted", || {
        events(&ns, "unread-shop")
            .iter()
            .any(|event| event.starts_with("Undecodable: Valid: the resource cannot be read"))
    });
    let patch = r#"{"spec":{"generator":{"seed":1}}}"#;
    kubectl(&ns, &["patch", "csp", "unread-shop", "--type=merge", "--patch", patch]);
    await_that("it goes on", || condition(&ns, "unread-shop", "ObjectsSynced") == "True Synced");
    assert_eq!(get(&ns, "statefulset/unread-shop", "{.spec.replicas}"), "2");

    // A definition from before the status had `operator` and `contender`.
    let mut older: serde_json::Value = serde_saphyr::from_str(&strict).unwrap();
    let status =
        older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
            .as_object_mut()
            .unwrap();
    assert!(status.remove("operator").is_some() && status.remove("contender").is_some());
    cluster().apply(&older.to_string()).unwrap();
    cluster().apply(&pipeline("default", "probe-shop", "")).unwrap();
    await_that("the definition is older", || {
        let probe = r#"{"status": {"operator": "probe", "observedGeneration": 1}}"#;
        kubectl(
            "default",
            &["patch", "csp", "probe-shop", "--subresource=status", "--type=merge", "--patch", probe],
        );
        get("default", "csp/probe-shop", "{.status.observedGeneration} {.status.operator}") == "1 "
    });
    cluster().apply(&pipeline(&ns, "older-shop", "")).unwrap();
    await_that("the condition is set", || condition(&ns, "older-shop", "Ready") == "False DefinitionOlder");
    await_that("the event is emitted", || {
        events(&ns, "older-shop")
            .iter()
            .any(|event| event.starts_with("DefinitionOlder: Ready: the cluster's definition"))
    });
    assert_eq!(get(&ns, "statefulset/older-shop", "{.metadata.name}"), "");
    cluster().apply(&strict).unwrap();
    await_within(150, "it goes on", || condition(&ns, "older-shop", "ObjectsSynced") == "True Synced");
}
