//! Lost and recreated topics on a real broker, with the processors that the pods would run.
#![allow(clippy::unwrap_used)]

mod support;

use support::processing::{SPEC, admin, document, generate, lose, message, process, recreate, windows};
use support::{Operator, await_that, cluster, condition, events, get, namespace, nudge, pipeline, topics};

/// A topic's id as the status has it.
fn known_id(ns: &str, name: &str, topic: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.topics[?(@.name==\"{topic}\")].topicID}}"))
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
