//! Lost and recreated topics on a real broker, with the processors that the pods would run.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use serde_json::json;
use support::{
    Operator, await_that, cluster, condition, events, get, kubectl, namespace, nudge, pipeline, topics,
};
use weir_broker::Kafka;
use weir_kafka::admin::Admin;
use weir_kafka::{Connection, MemberOptions, TopicInspector};
use weir_manifest::Pipeline;

const SPEC: &str = "generator: {enabled: false}, gateway: {replicas: 0}";

fn admin() -> Admin {
    Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap()
}

fn document(ns: &str, name: &str) -> Pipeline {
    Pipeline::from_yaml(&pipeline(ns, name, SPEC)).unwrap()
}

/// A condition's message.
fn message(ns: &str, name: &str, type_: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.conditions[?(@.type==\"{type_}\")].message}}"))
}

/// A topic's id as the status has it.
fn known_id(ns: &str, name: &str, topic: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.topics[?(@.name==\"{topic}\")].topicID}}"))
}

/// Sends 600 events that span six seconds from `start`.
fn generate(pipeline: &Pipeline, start: &str) {
    let options = weir::args::Generate {
        events: Some(600),
        rate: Some(0.0),
        start: Some(start.parse().unwrap()),
        seed: None,
        late: 0.0,
        duplicates: 0.0,
        malformed: 0.0,
        burst: None,
        health: None,
    };
    weir::generate::run(pipeline, Kafka::shared(), &options, &AtomicBool::new(false)).unwrap();
}

/// Runs a processor until all events are in the results; or returns its refusal.
fn process(pipeline: &Pipeline) -> Result<(), String> {
    process_with(pipeline, None)
}

fn process_with(pipeline: &Pipeline, pii_key_file: Option<PathBuf>) -> Result<(), String> {
    let steps = weir::process::Steps { until_end: true, ..weir::process::Steps::default() };
    let options =
        weir::process::ProcessOptions { steps, pii_key_file, ..weir::process::ProcessOptions::default() };
    let done = weir::process::run(pipeline, Kafka::shared(), &options, &AtomicBool::new(false));
    done.map_err(|error| error.to_string())
}

/// The ends of the windows that have a ranking, in the order in which they were written.
fn windows(pipeline: &Pipeline) -> Vec<i64> {
    let lookup = TopicInspector::connect(&MemberOptions::new(
        Kafka::shared(),
        "test",
        pipeline.top_pages_topic(),
        "test",
    ))
    .unwrap();
    let mut ends = Vec::new();
    lookup
        .read(pipeline.top_pages_topic(), 0, 0, &mut |record| {
            ends.push(weir_events::decode_top_pages(record.value.unwrap()).unwrap().window_end);
        })
        .unwrap();
    ends
}

/// Deletes topics, and waits until the operator reports it.
#[track_caller]
fn lose(ns: &str, name: &str, lost: &[&str]) {
    admin().delete_topics_and_wait(lost).unwrap();
    nudge(ns, name);
    await_that("the condition is set", || {
        condition(ns, name, "TopicsSynced") == "False TopicLost"
            && lost.iter().all(|topic| message(ns, name, "TopicsSynced").contains(topic))
    });
    assert_eq!(condition(ns, name, "Ready"), "False TopicLost");
}

#[track_caller]
fn recreate(ns: &str, name: &str) {
    kubectl(ns, &["annotate", "csp", name, "weir.dev/recreate-topics=true"]);
    await_that("the pipeline starts over", || condition(ns, name, "TopicsSynced") == "True Synced");
    let left = || get(ns, &format!("csp/{name}"), "{.metadata.annotations}");
    await_that("the annotation is removed", || !left().contains("recreate-topics"));
    await_that("processors are back", || get(ns, &format!("statefulset/{name}"), "{.spec.replicas}") == "2");
}

#[test]
fn a_lost_topic_is_reported_and_recreated_on_request() {
    let (ns, name) = (namespace("lost"), "lost-shop");
    let operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, name, SPEC)).unwrap();
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    let shop = document(&ns, name);
    let (events_topic, state) = (shop.events_topic().to_owned(), shop.state_topic());
    generate(&shop, "2026-01-01T00:00:00Z");
    process(&shop).unwrap();
    let first = windows(&shop);
    assert!(!first.is_empty());

    // Deleted: reported as a warning, with its id and the remedy; nothing is recreated, and pods are not changed.
    let set = || get(&ns, &format!("statefulset/{name}"), "{.metadata.generation}");
    let (id, state_id, before) = (known_id(&ns, name, &events_topic), known_id(&ns, name, &state), set());
    lose(&ns, name, &[&events_topic]);
    let text = message(&ns, name, "TopicsSynced");
    assert!(text.starts_with(&format!("topic {events_topic} was deleted: its id was {id}")), "{text}");
    assert!(text.contains("weir.dev/recreate-topics: \"true\""), "{text}");
    await_that("a warning is emitted", || {
        let emitted = get(&ns, "events.events.k8s.io", "{range .items[*]}{.type} {.reason}{\"\\n\"}{end}");
        emitted.contains("Warning TopicLost")
    });
    let failures =
        || operator.figure("weir_operator_reconciles_total{result=\"failure\",reason=\"TopicLost\"}");
    let seen = failures();
    nudge(&ns, name);
    await_that("another pass has ended", || failures() > seen);
    assert!(!topics(&ns).contains_key(&events_topic) && set() == before);

    // Recreated by somebody else: the same, with the new id; and a processor refuses.
    let mut spec = shop.topics().remove(0);
    spec.name.clone_from(&events_topic);
    admin().ensure_topics(&[spec], |_| true).unwrap();
    let new = admin().ids(&[&events_topic]).unwrap().remove(&events_topic).unwrap();
    nudge(&ns, name);
    await_that("the message names the new id", || {
        message(&ns, name, "TopicsSynced").contains(&format!("its id was {id}, it is {new}"))
    });
    generate(&shop, "2026-01-02T00:00:00Z");
    let refusal = process(&shop).unwrap_err();
    assert!(refusal.contains("begin afresh"), "{refusal}");

    // With the annotation the pipeline starts over with the events of the new topic, and no window is written twice.
    recreate(&ns, name);
    assert_eq!(known_id(&ns, name, &events_topic), new);
    assert_ne!(known_id(&ns, name, &state), state_id);
    let created = get(&ns, &format!("csp/{name}"), "{.status.topics[?(@.created==false)].name}");
    assert_eq!(created, events_topic, "a topic that others recreated counts as created");
    await_that("the event is emitted", || {
        events(&ns, name).iter().any(|event| event.starts_with(&format!("TopicsReset: {events_topic}")))
    });
    process(&shop).unwrap();
    let second = windows(&shop);
    assert!(second.starts_with(&first) && second.len() > first.len(), "{second:?}");
    let distinct: std::collections::BTreeSet<_> = second.iter().collect();
    assert_eq!(distinct.len(), second.len(), "a window was counted twice");

    // A Kafka that came back empty.
    let all: Vec<String> = shop.topics().into_iter().map(|topic| topic.name).collect();
    lose(&ns, name, &all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(topics("lost-shop.").len() + topics("lost.").len(), 0);
    recreate(&ns, name);
    generate(&shop, "2026-01-03T00:00:00Z");
    process(&shop).unwrap();
    assert!(!windows(&shop).is_empty());
}

#[test]
fn lost_state_is_recomputed_from_the_existing_events() {
    let (ns, name) = (namespace("lost-state"), "lost-state-shop");
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, name, SPEC)).unwrap();
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    let shop = document(&ns, name);
    generate(&shop, "2026-01-01T00:00:00Z");
    process(&shop).unwrap();
    let first = windows(&shop);
    lose(&ns, name, &[&shop.state_topic()]);
    let text = message(&ns, name, "TopicsSynced");
    assert!(
        text.contains(&format!("the topics {} are deleted with what is in them", shop.blocks_topic())),
        "{text}"
    );
    recreate(&ns, name);
    process(&shop).unwrap();
    assert_eq!(windows(&shop), first, "nothing is written twice");
    // A topic without state is only recreated.
    lose(&ns, name, &[shop.results_topic(), &shop.live_topic()]);
    let text = message(&ns, name, "TopicsSynced");
    assert!(!text.contains("groups"), "{text}");
    recreate(&ns, name);
    generate(&shop, "2026-01-02T00:00:00Z");
    process(&shop).unwrap();
    assert!(windows(&shop).len() > first.len());
}

#[test]
fn pods_that_would_refuse_their_state_are_not_rolled() {
    let (ns, name) = (namespace("foreseen"), "foreseen-shop");
    let operator = Operator::start(&ns);
    let spec = format!("{SPEC}, pii: {{userId: Hash, hashKeySecretRef: {{name: pii, key: key}}}}");
    let (first, second) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeX");
    let set_key = |key: &str| {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "pii", "namespace": ns},
            "stringData": {"key": key},
        });
        cluster().apply(&secret.to_string()).unwrap();
        nudge(&ns, name);
    };
    cluster().apply(&pipeline(&ns, name, &spec)).unwrap();
    set_key(first);
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    let shop = Pipeline::from_yaml(&pipeline(&ns, name, &spec)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), first).unwrap();
    generate(&shop, "2026-01-01T00:00:00Z");
    process_with(&shop, Some(file.path().to_owned())).unwrap();

    let set = || get(&ns, &format!("statefulset/{name}"), "{.metadata.generation}");
    let before = set();
    set_key(second);
    await_that("the condition is set", || condition(&ns, name, "Valid") == "False StateDiffers");
    let text = message(&ns, name, "Valid");
    assert!(text.contains("was made with pii key ") && text.contains("change it back"), "{text}");
    assert_eq!(set(), before);
    // With that key a processor does refuse, once there is something to read.
    generate(&shop, "2026-01-02T00:00:00Z");
    std::fs::write(file.path(), second).unwrap();
    let refusal = process_with(&shop, Some(file.path().to_owned())).unwrap_err();
    assert!(refusal.contains("was made with pii key "), "{refusal}");
    set_key(first);
    await_that("the condition is True again", || condition(&ns, name, "Valid") == "True Valid");
    assert_eq!(set(), before);

    // Created again over the same topics with another window: pods that would refuse are not created.
    kubectl(&ns, &["delete", "csp", name]);
    await_that("its pods are gone", || get(&ns, "statefulsets", "{.items}") == "[]");
    let other = format!("{spec}, window: {{size: 10m}}");
    cluster().apply(&pipeline(&ns, name, &other)).unwrap();
    await_that("the condition is set", || condition(&ns, name, "Valid") == "False StateDiffers");
    let text = message(&ns, name, "Valid");
    assert!(
        text.contains("was made with size 300000 ms, and the document now says size 600000 ms"),
        "{text}"
    );
    assert_eq!(get(&ns, "statefulsets", "{.items}"), "[]");
    drop(operator);
}
