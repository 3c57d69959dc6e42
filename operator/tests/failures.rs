//! An operator that is killed after any write, and one that loses its lease.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::Client;
use serde_json::{Value, json};
use support::killed::dies_after;
use support::{Operator, await_that, cluster, condition, get, kubectl, namespace, pipeline};

/// The objects of a pipeline, with `NAME` for its name and without fields that the API server adds.
fn made(ns: &str, name: &str) -> Vec<Value> {
    let kinds =
        "serviceaccounts,configmaps,networkpolicies,services,poddisruptionbudgets,statefulsets,deployments";
    let labels = format!("app.kubernetes.io/managed-by=weir-operator,app.kubernetes.io/instance={name}");
    let text = kubectl(ns, &["get", kinds, "--selector", &labels, "--output=json"]);
    let list: Value = serde_json::from_str(&text.replace(name, "NAME").replace(ns, "SPACE")).unwrap();
    let items = list["items"].as_array().unwrap().iter().map(|item| {
        let mut spec = item["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, _| !field.starts_with("clusterIP"));
        }
        if !spec["template"].is_null() {
            spec["template"]["metadata"]["annotations"]["weir.dev/config-hash"] = Value::Null;
        }
        json!([item["kind"], item["metadata"]["name"], item["metadata"]["labels"], spec, item["data"]])
    });
    items.collect()
}

#[test]
fn killed_after_any_write_the_next_start_converges() {
    let ns = namespace("killed");
    // The expected objects, from an undisturbed run.
    let whole = namespace("whole");
    cluster().apply(&pipeline(&whole, "whole-shop", "deletionPolicy: Delete")).unwrap();
    let operator = Operator::start(&whole);
    await_that("the objects are synced", || {
        condition(&whole, "whole-shop", "ObjectsSynced") == "True Synced"
    });
    drop(operator);
    let expected = made(&whole, "whole-shop");
    assert_eq!(expected.len(), 9);
    let mut deaths = 0;
    for n in 1.. {
        let name = format!("victim-{n:02}");
        // One namespace each, because an operator reconciles all pipelines of its namespace.
        let ns = namespace(&format!("{ns}-{n:02}"));
        cluster().apply(&pipeline(&ns, &name, "deletionPolicy: Delete")).unwrap();
        let rests = || condition(&ns, &name, "ObjectsSynced") == "True Synced";
        if !dies_after(&ns, n, rests) {
            break;
        }
        deaths = n;
        let operator = Operator::start(&ns);
        await_that("the objects are synced", || {
            condition(&ns, &name, "ObjectsSynced") == "True Synced"
                && condition(&ns, &name, "TopicsSynced") == "True Synced"
        });
        drop(operator);
        assert_eq!(made(&ns, &name), expected, "after write {n}");
        // The topics count as created, so they are deleted with the pipeline.
        let created = get(&ns, &format!("csp/{name}"), "{.status.topics[*].created}");
        assert_eq!(created, ["true"; 7].join(" "), "after write {n}");
    }
    // The finalizer, the topics to be created, nine objects, the status.
    assert!(deaths >= 12, "{deaths}");
}

/// The operator's process, and its log file.
struct Program(Child, PathBuf);

impl Program {
    fn start(ns: &str, pod: &str, health: &str) -> Self {
        let text = std::fs::read_to_string(cluster().kubeconfig()).unwrap();
        let config = cluster().folder().join(format!("{ns}.kubeconfig"));
        std::fs::write(&config, text.replace("user: test}", &format!("user: test, namespace: {ns}}}")))
            .unwrap();
        let log = cluster().folder().join(format!("{ns}.{pod}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_weir-operator"))
            .args(["run", "--namespace", ns, "--health", health, "--log-format", "json"])
            .env("KUBECONFIG", config)
            .env("POD_NAME", pod)
            .stderr(File::create(&log).unwrap())
            .spawn();
        Self(child.unwrap(), log)
    }

    /// Its exit code and log, once it has ended by itself.
    #[track_caller]
    fn wait(mut self) -> (Option<i32>, String) {
        await_that("the program ends", || self.0.try_wait().unwrap().is_some());
        (self.0.wait().unwrap().code(), std::fs::read_to_string(&self.1).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_process_leads_at_a_time_and_ends_when_it_loses_the_lease() {
    let ns = namespace("lease");
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (a, b) = (free(), free());
    let leads = |address| {
        support::http_get(address, "/metrics").is_ok_and(|text| text.contains("weir_operator_is_leader 1"))
    };
    let holder = || get(&ns, "lease/weir-operator", "{.spec.holderIdentity}");
    let first = Program::start(&ns, "first", &a.to_string());
    await_that("the first leads", || leads(a));
    let second = Program::start(&ns, "second", &b.to_string());
    await_that("the second is ready", || support::http_get(b, "/readyz").is_ok_and(|text| text == "ok\n"));
    assert_eq!(support::http_get(b, "/healthz").unwrap(), "ok\n");
    assert!(!leads(b) && holder() == "first");
    Command::new("kill").args(["-TERM", &first.0.id().to_string()]).status().unwrap();
    let (code, log) = first.wait();
    assert_eq!(code, Some(0), "{log}");
    await_that("the second leads", || leads(b));
    assert_eq!(holder(), "second");
    cluster().apply(&pipeline(&ns, "lease-shop", "")).unwrap();
    await_that("the objects are synced", || condition(&ns, "lease-shop", "ObjectsSynced") == "True Synced");
    let status = std::fs::read_to_string(format!("/proc/{}/status", second.0.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: u32 = resident.unwrap().parse().unwrap();
    println!("resident memory of the operator: {resident} KiB");
    assert!(resident < 128 * 1024, "{resident} KiB");
    kubectl(
        &ns,
        &[
            "patch",
            "lease",
            "weir-operator",
            "--type=merge",
            "--patch",
            r#"{"spec":{"holderIdentity":"third"}}"#,
        ],
    );
    let (code, log) = second.wait();
    assert!(code == Some(1) && log.contains("the lease weir-operator was taken by third"), "{code:?} {log}");
    assert_eq!(holder(), "third");
}

#[test]
fn a_lease_is_taken_only_once_it_is_no_longer_renewed() {
    let ns = namespace("orphan");
    let renewed = AtomicUsize::new(0);
    // With a duration shorter than six reads of the operator.
    let renew = || {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "weir-operator", "namespace": ns},
            "spec": {
                "holderIdentity": "another",
                "leaseDurationSeconds": 6,
                "leaseTransitions": renewed.fetch_add(1, Ordering::Relaxed),
            },
        });
        cluster().apply(&lease.to_string()).unwrap();
    };
    renew();
    let reads = Arc::new(AtomicUsize::new(0));
    let (read_count, home) = (Arc::clone(&reads), ns.clone());
    let operator = Operator::start_as(&ns, &cluster().kubeconfig(), move |inner| {
        let count = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            if request.method() == "GET" && request.uri().path().contains("/leases/") {
                read_count.fetch_add(1, Ordering::Relaxed);
            }
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        Client::new(count, home)
    });
    let holder = || get(&ns, "lease/weir-operator", "{.spec.holderIdentity}");
    await_that("the lease was read six times", || {
        assert_eq!(holder(), "another");
        renew();
        reads.load(Ordering::Relaxed) >= 6
    });
    await_that("it takes the lease that is no longer renewed", || {
        operator.figure("weir_operator_is_leader") == 1.0
    });
    assert_eq!(holder(), "test");
}
