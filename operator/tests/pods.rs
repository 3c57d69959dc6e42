//! What pods may be given, and what is said of them.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Operator, await_that, cluster, condition, events, get, kubectl, namespace, pipeline};

fn message(ns: &str, name: &str, type_: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.conditions[?(@.type==\"{type_}\")].message}}"))
}

#[test]
fn a_pod_template_lends_no_rights_unless_the_installation_says_so() {
    let ns = namespace("lend");
    let operator = Operator::start(&ns);
    let lending = "gateway: {podTemplate: {spec: {serviceAccountName: weir-operator, automountServiceAccountToken: true,
        volumes: [{name: node, hostPath: {path: /}}]}}}";
    cluster().apply(&pipeline(&ns, "lend-shop", lending)).unwrap();
    await_that("it is refused", || condition(&ns, "lend-shop", "Valid") == "False InvalidSpec");
    let said = message(&ns, "lend-shop", "Valid");
    for path in ["serviceAccountName", "automountServiceAccountToken", "volumes[0].hostPath"] {
        assert!(said.contains(&format!("spec.gateway.podTemplate.spec.{path}: ")), "{said}");
    }
    assert_eq!(get(&ns, "statefulset,deployment", "{.items}"), "[]");
    assert!(events(&ns, "lend-shop").iter().any(|event| event.starts_with("InvalidSpec: ")));
    drop(operator);

    let mut options = Operator::options(&ns);
    options.allow_privileged_pods = true;
    let _operator = Operator::start_with(options, &cluster().kubeconfig(), |client| client);
    await_that("it is taken", || condition(&ns, "lend-shop", "ObjectsSynced") == "True Synced");
    let spec =
        kubectl(&ns, &["get", "deployment", "lend-shop-gateway", "--output=jsonpath={..serviceAccountName}"]);
    assert_eq!(spec, "weir-operator");
}
