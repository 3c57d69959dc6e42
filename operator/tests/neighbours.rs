//! Several operators with one scope, neighbouring pipelines, and pipelines of the same name on one Kafka.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{Method, Request};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use support::{Operator, await_that, cluster, condition, events, get, kubectl, namespace, nudge, pipeline};
use weir_broker::Kafka;
use weir_kafka::Connection;
use weir_kafka::admin::Admin;
use weir_manifest::Pipeline;

const SPEC: &str = "generator: {enabled: false}, gateway: {replicas: 0}";

fn message(ns: &str, name: &str, type_: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.conditions[?(@.type==\"{type_}\")].message}}"))
}

/// An operator in namespace `home` whose scope is another namespace.
fn operator_of(home: &str, options: weir_operator::Run) -> Operator {
    let home = home.to_owned();
    Operator::start_with(options, &cluster().kubeconfig(), |inner| {
        let forward = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        Client::new(forward, home)
    })
}

#[test]
fn of_two_operators_with_the_same_scope_one_stands_back() {
    let (ns, home) = (namespace("shared"), namespace("elsewhere"));
    let first = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "shared-shop", SPEC)).unwrap();
    await_that("the objects are synced", || condition(&ns, "shared-shop", "ObjectsSynced") == "True Synced");
    let keeper = || get(&ns, "csp/shared-shop", "{.status.operator}");
    assert_eq!(keeper(), "shared/weir-operator");
    let generation = || get(&ns, "statefulset/shared-shop", "{.metadata.generation}");
    let before = generation();

    // With another image, so that both would change every pod back and forth.
    let options = weir_operator::Run { image: "weir:other".to_owned(), ..Operator::options(&ns) };
    let second = operator_of(&home, options);
    await_that("the keeper reports it", || {
        condition(&ns, "shared-shop", "SoleOperator") == "False AnotherOperator"
    });
    assert!(message(&ns, "shared-shop", "SoleOperator").contains("elsewhere/weir-operator"));
    let stands_back = "StandsBack: operator elsewhere/weir-operator stands back: shared/weir-operator keeps";
    await_that("the contender reports it", || {
        events(&ns, "shared-shop").iter().any(|event| event.starts_with(stands_back))
    });
    await_that("the keeper answered", || get(&ns, "csp/shared-shop", "{.status.contender}").is_empty());
    for _ in 0..3 {
        let (passes, others) = (first.passes(), second.passes());
        nudge(&ns, "shared-shop");
        await_that("both have ended a pass", || first.passes() > passes && second.passes() > others);
    }
    assert_eq!((generation(), keeper().as_str()), (before, "shared/weir-operator"));
    assert_eq!(get(&ns, "statefulset/shared-shop", "{..image}"), "weir:test");
    assert_ne!(condition(&ns, "shared-shop", "Ready"), "False AnotherOperator");

    // The first operator is gone, and the answer is overdue.
    drop(first);
    let asked =
        r#"{"status":{"contender":{"operator":"elsewhere/weir-operator","since":"2026-01-01T00:00:00Z"}}}"#;
    kubectl(&ns, &["patch", "csp", "shared-shop", "--subresource=status", "--type=merge", "--patch", asked]);
    await_that("it is taken over", || {
        keeper() == "elsewhere/weir-operator"
            && get(&ns, "statefulset/shared-shop", "{..image}") == "weir:other"
    });
}

#[test]
fn operators_with_selectors_share_a_namespace() {
    let (ns, home) = (namespace("selected"), namespace("selected-home"));
    let of = |class: &str| weir_operator::Run {
        selector: Some(format!("class={class}")),
        ..Operator::options(&ns)
    };
    let _first = operator_of(&ns, of("a"));
    let _second = operator_of(&home, of("b"));
    for (name, class, keeper) in
        [("selected-a", "a", "selected/weir-operator"), ("selected-b", "b", "selected-home/weir-operator")]
    {
        let mut document: Value = serde_json::from_str(&pipeline(&ns, name, SPEC)).unwrap();
        document["metadata"]["labels"] = serde_json::json!({"class": class});
        cluster().apply(&document.to_string()).unwrap();
        await_that("the objects are synced", || condition(&ns, name, "ObjectsSynced") == "True Synced");
        assert_eq!(get(&ns, &format!("csp/{name}"), "{.status.operator}"), keeper);
        assert_eq!(condition(&ns, name, "SoleOperator").trim(), "");
    }
}

#[test]
fn a_pipeline_that_loses_the_selectors_label_is_released() {
    let (ns, home) = (namespace("unlabelled"), namespace("unlabelled-home"));
    let of = |class: &str| weir_operator::Run {
        selector: Some(format!("class={class}")),
        ..Operator::options(&ns)
    };
    let first = operator_of(&ns, of("a"));
    let name = "unlabelled-shop";
    let label = |label: &str| kubectl(&ns, &["label", "--overwrite", "csp", name, label]);
    let mut document: Value =
        serde_json::from_str(&pipeline(&ns, name, &format!("deletionPolicy: Delete, {SPEC}"))).unwrap();
    document["metadata"]["labels"] = serde_json::json!({"class": "a"});
    cluster().apply(&document.to_string()).unwrap();
    let field = |path: &str| get(&ns, &format!("csp/{name}"), path);
    let kept_by = |operator: &str| {
        await_that("it is kept", || {
            condition(&ns, name, "ObjectsSynced") == "True Synced"
                && field("{.status.operator}") == operator
                && !field("{.metadata.finalizers}").is_empty()
        });
    };
    let await_release = || {
        await_that("the pipeline is released", || {
            condition(&ns, name, "Ready") == "Unknown NotSelected" && field("{.status.operator}").is_empty()
        });
        assert_eq!(field("{.metadata.finalizers}"), "");
        assert_eq!(condition(&ns, name, "ObjectsSynced"), "Unknown NotSelected");
    };
    kept_by("unlabelled/weir-operator");
    let generation = || get(&ns, "statefulset", "{.items[*].metadata.generation}");
    let before = generation();
    label("class=none");
    await_release();
    assert!(
        message(&ns, name, "Ready")
            .contains("unlabelled/weir-operator keeps pipelines with the label class=a alone")
    );
    await_that("the event is emitted", || {
        events(&ns, name).iter().any(|event| event.starts_with("NotSelected: "))
    });
    assert_eq!(generation(), before);
    // Its pods run on, under another operator or this one.
    let second = operator_of(&home, of("b"));
    label("class=b");
    kept_by("unlabelled-home/weir-operator");
    // Also a pipeline that lost the label while its operator did not run.
    drop(second);
    label("class=none");
    let _second = operator_of(&home, of("b"));
    await_release();
    label("class=a");
    kept_by("unlabelled/weir-operator");
    assert_eq!(generation(), before);
    drop(first);
}

/// An operator of a namespace with an asynchronous hook on each of its requests.
fn operator_with<F>(
    options: weir_operator::Run,
    before: impl Fn(&Method, &str, &[u8]) -> F + Clone + Send + 'static,
) -> Operator
where
    F: Future<Output = ()> + Send,
{
    let home = options.namespace.clone();
    Operator::start_with(options, &cluster().kubeconfig(), |inner| {
        let forward = tower::service_fn(move |request: Request<Body>| {
            let (inner, before) = (inner.clone(), before.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                before(&parts.method, parts.uri.path(), &body).await;
                inner.send(Request::from_parts(parts, Body::from(body))).await
            }
        });
        Client::new(forward, home)
    })
}

#[test]
fn a_running_pass_does_not_take_back_a_released_pipeline() {
    let ns = namespace("late");
    let name = "late-shop";
    let (hold, held, release) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (holds, holding, released) = (Arc::clone(&hold), Arc::clone(&held), Arc::clone(&release));
    let options = weir_operator::Run { selector: Some("class=a".to_owned()), ..Operator::options(&ns) };
    let operator = operator_with(options, move |method, path, body| {
        // The status of a pass: a release writes only conditions.
        let status = *method == Method::PATCH && path.ends_with("/status");
        let of_pass = status && String::from_utf8_lossy(body).contains("configHash");
        let (holding, released) = (Arc::clone(&holding), Arc::clone(&released));
        let holds = of_pass && holds.swap(false, Ordering::SeqCst);
        async move {
            if holds {
                holding.store(true, Ordering::SeqCst);
                released.notified().await;
            }
        }
    });
    let mut document: Value = serde_json::from_str(&pipeline(&ns, name, SPEC)).unwrap();
    document["metadata"]["labels"] = serde_json::json!({"class": "a"});
    cluster().apply(&document.to_string()).unwrap();
    await_that("the objects are synced", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    hold.store(true, Ordering::SeqCst);
    kubectl(&ns, &["scale", "csp", name, "--replicas=3"]);
    await_that("a pass is about to write", || held.load(Ordering::SeqCst));
    kubectl(&ns, &["label", "--overwrite", "csp", name, "class=none"]);
    let status = || (condition(&ns, name, "Ready"), get(&ns, &format!("csp/{name}"), "{.status.operator}"));
    let released = ("Unknown NotSelected".to_owned(), String::new());
    await_that("the pipeline is released", || status() == released);
    let passes = operator.passes();
    release.notify_one();
    await_that("the pass has ended", || operator.passes() > passes);
    assert_eq!(status(), released);
}

#[test]
fn a_contender_is_answered_while_the_pass_hangs() {
    let ns = namespace("hung");
    let hung = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&hung);
    let operator = operator_with(Operator::options(&ns), move |_, path, _| {
        let hangs = Arc::clone(&hangs);
        let secret = path.contains("/secrets/");
        async move {
            if secret {
                hangs.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        }
    });
    let spec = "pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}";
    cluster().apply(&pipeline(&ns, "hung-shop", spec)).unwrap();
    await_that("its pass hangs", || hung.load(Ordering::SeqCst));
    let asks =
        r#"{"status":{"contender":{"operator":"elsewhere/weir-operator","since":"2026-01-01T00:00:00Z"}}}"#;
    kubectl(&ns, &["patch", "csp", "hung-shop", "--subresource=status", "--type=merge", "--patch", asks]);
    await_that("the contender is answered", || get(&ns, "csp/hung-shop", "{.status.contender}").is_empty());
    assert_eq!(get(&ns, "csp/hung-shop", "{.status.operator}"), "hung/weir-operator");
    operator.end();
}

/// A running processor; stops when dropped.
struct Processor(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Processor {
    fn start(pipeline: &Pipeline) -> Self {
        let (stop, pipeline) = (Arc::new(AtomicBool::new(false)), pipeline.clone());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let options = weir::process::ProcessOptions::default();
            weir::process::run(&pipeline, Kafka::shared(), &options, &stopped).unwrap();
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let ended = self.1.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn the_second_pipeline_of_the_same_name_on_one_kafka_is_refused() {
    // As in two clusters: neither operator sees the other's namespace.
    let (a, b, name) = (namespace("twin-a"), namespace("twin-b"), "twin-shop");
    let _operators = (Operator::start(&a), Operator::start(&b));
    cluster().apply(&pipeline(&a, name, SPEC)).unwrap();
    await_that("the objects are synced", || condition(&a, name, "ObjectsSynced") == "True Synced");
    let running = Processor::start(&Pipeline::from_yaml(&pipeline(&a, name, SPEC)).unwrap());
    let members = || {
        Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap().running_members(name).unwrap()
    };
    await_that("it runs", || members() > 0);

    cluster().apply(&pipeline(&b, name, SPEC)).unwrap();
    await_that("the second is refused", || condition(&b, name, "TopicsSynced") == "False TopicClaimed");
    let message_text = message(&b, name, "TopicsSynced");
    let uid = get(&a, &format!("csp/{name}"), "{.metadata.uid}");
    assert!(
        message_text.contains(&format!("another pipeline of this name, twin-a/{name} (uid {uid})")),
        "{message_text}"
    );
    assert_eq!(get(&b, "statefulsets", "{.items}"), "[]");
    nudge(&a, name);
    await_that("the first is as it was", || condition(&a, name, "TopicsSynced") == "True Synced");

    // Once the first has stopped, the second continues at its offsets; and then the first is refused.
    drop(running);
    await_that("it has stopped", || members() == 0);
    nudge(&b, name);
    await_that("the second goes on", || condition(&b, name, "TopicsSynced") == "True Synced");
    let _running = Processor::start(&Pipeline::from_yaml(&pipeline(&b, name, SPEC)).unwrap());
    await_that("it runs", || members() > 0);
    nudge(&a, name);
    await_that("the first is refused", || condition(&a, name, "TopicsSynced") == "False TopicClaimed");
    assert!(message(&a, name, "TopicsSynced").contains(&format!("twin-b/{name} (uid ")));
}

#[test]
fn an_object_of_a_neighbour_is_reported_with_its_owner() {
    let ns = namespace("beside");
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "beside-shop", "gateway: {replicas: 1}")).unwrap();
    await_that("the objects are synced", || condition(&ns, "beside-shop", "ObjectsSynced") == "True Synced");
    cluster().apply(&pipeline(&ns, "beside-shop-gateway", SPEC)).unwrap();
    await_that("the condition is set", || {
        condition(&ns, "beside-shop-gateway", "ObjectsSynced") == "False ObjectNotOwned"
    });
    let message_text = message(&ns, "beside-shop-gateway", "ObjectsSynced");
    assert!(
        message_text.contains("NetworkPolicy beside-shop-gateway belongs to ClickstreamPipeline beside-shop"),
        "{message_text}"
    );
    assert!(message_text.contains("another metadata.name or in another namespace"), "{message_text}");
}
