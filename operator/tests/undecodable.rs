//! Resources that were written under another definition.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Operator, await_that, cluster, condition, events, get, kubectl, namespace, pipeline};

#[test]
fn one_that_cannot_be_read_says_so_and_others_go_on() {
    let ns = namespace("unread");
    // An older definition might have let it in.
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

    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "read-shop", "")).unwrap();
    await_that("the other is kept", || condition(&ns, "read-shop", "ObjectsSynced") == "True Synced");
    await_that("it says so", || condition(&ns, "unread-shop", "Valid") == "False Undecodable");
    assert_eq!(condition(&ns, "unread-shop", "Ready"), "False Undecodable");
    await_that("and tells it", || {
        events(&ns, "unread-shop")
            .iter()
            .any(|event| event.starts_with("Undecodable: Valid: the resource cannot be read"))
    });
    let patch = r#"{"spec":{"generator":{"seed":1}}}"#;
    kubectl(&ns, &["patch", "csp", "unread-shop", "--type=merge", "--patch", patch]);
    await_that("it goes on", || condition(&ns, "unread-shop", "ObjectsSynced") == "True Synced");
    assert_eq!(get(&ns, "statefulset/unread-shop", "{.spec.replicas}"), "2");
}
