//! Events, and the processors that a pipeline's pods would run.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use weir_broker::Kafka;
use weir_kafka::admin::Admin;
use weir_kafka::{Connection, MemberOptions, TopicInspector};
use weir_manifest::Pipeline;

use super::{await_that, condition, get, kubectl, nudge, pipeline};

/// Fields of a pipeline of which only the processors count.
pub const SPEC: &str = "generator: {enabled: false}, gateway: {replicas: 0}";

/// A client of the tests' Kafka.
pub fn admin() -> Admin {
    Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap()
}

/// The document that is applied with [`SPEC`].
pub fn document(ns: &str, name: &str) -> Pipeline {
    with(ns, name, SPEC)
}

/// The document that is applied with these fields.
pub fn with(ns: &str, name: &str, spec: &str) -> Pipeline {
    Pipeline::from_yaml(&pipeline(ns, name, spec)).unwrap()
}

/// A condition's message.
pub fn message(ns: &str, name: &str, type_: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.conditions[?(@.type==\"{type_}\")].message}}"))
}

/// Sends 600 events that span six seconds from `start`.
pub fn generate(pipeline: &Pipeline, start: &str) {
    let options = weir::args::Generate {
        events: Some(600),
        rate: Some(0.0),
        start: Some(start.parse().unwrap()),
        seed: None,
        late: 0.0,
        duplicates: 0.0,
        malformed: 0.0,
        distinct_urls: 0.0,
        burst: None,
        health: None,
    };
    weir::generate::run(pipeline, Kafka::shared(), &options, &AtomicBool::new(false)).unwrap();
}

/// Runs a processor until all events are in the results; or returns its refusal.
pub fn process(pipeline: &Pipeline) -> Result<(), String> {
    process_with(pipeline, None)
}

/// As [`process`], with a key.
pub fn process_with(pipeline: &Pipeline, pii_key_file: Option<PathBuf>) -> Result<(), String> {
    let steps = weir::process::Steps { until_end: true, ..weir::process::Steps::default() };
    let options =
        weir::process::ProcessOptions { steps, pii_key_file, ..weir::process::ProcessOptions::default() };
    let done = weir::process::run(pipeline, Kafka::shared(), &options, &AtomicBool::new(false));
    done.map_err(|error| error.to_string())
}

/// The ends of the windows that have a ranking, in the order in which they were written.
pub fn windows(pipeline: &Pipeline) -> Vec<i64> {
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
pub fn lose(ns: &str, name: &str, lost: &[&str]) {
    admin().delete_topics_and_wait(lost).unwrap();
    nudge(ns, name);
    await_that("the condition is set", || {
        condition(ns, name, "TopicsSynced") == "False TopicLost"
            && lost.iter().all(|topic| message(ns, name, "TopicsSynced").contains(topic))
    });
    assert_eq!(condition(ns, name, "Ready"), "False TopicLost");
}

/// Confirms the loss, and waits until the pipeline starts over.
#[track_caller]
pub fn recreate(ns: &str, name: &str) {
    kubectl(ns, &["annotate", "csp", name, "weir.dev/recreate-topics=true"]);
    await_that("the pipeline starts over", || condition(ns, name, "TopicsSynced") == "True Synced");
    let left = || get(ns, &format!("csp/{name}"), "{.metadata.annotations}");
    await_that("the annotation is removed", || !left().contains("recreate-topics"));
    await_that("processors are back", || get(ns, &format!("statefulset/{name}"), "{.spec.replicas}") == "2");
}
