//! Edits of settings that decide results: each begins a generation, on a real control plane and a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;
use support::killed::dies_after;
use support::processing::{
    SPEC, admin, document, generate, lose, message, process, process_with, recreate, with,
};
use support::{
    Operator, await_that, cluster, condition, events, get, kubectl, namespace, nudge, pipeline, topics,
};
use weir_broker::Kafka;
use weir_events::decode_top_pages;
use weir_kafka::{Connection, MemberOptions, TopicInspector, record_generations};
use weir_log::{Committed, Generation, Generations, Member as _, PartitionProgress, Rebalance};
use weir_manifest::Pipeline;

const MINUTE: &str = "window: {size: 1m}";

/// Starts a pipeline, and counts its first events.
fn counted(name: &str) -> (String, Operator) {
    let ns = namespace(&format!("of-{name}"));
    let operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, name, &format!("{SPEC}, deletionPolicy: Delete"))).unwrap();
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    generate(&document(&ns, name), "2026-01-01T00:00:00Z");
    process(&document(&ns, name)).unwrap();
    (ns, operator)
}

fn edit(ns: &str, name: &str, spec: &str) {
    kubectl(ns, &["patch", "csp", name, "--type=merge", "--patch", &format!("{{\"spec\":{spec}}}")]);
}

const SIZE_1M: &str = r#"{"window":{"size":"1m"}}"#;
const SIZE_5M: &str = r#"{"window":{"size":"5m"}}"#;

/// A field of the status's generation.
fn status(ns: &str, name: &str, field: &str) -> String {
    get(ns, &format!("csp/{name}"), &format!("{{.status.generation.{field}}}"))
}

/// Waits until a generation takes over.
#[track_caller]
fn await_generation(ns: &str, name: &str, number: u32) {
    await_that("the generation is in the status", || status(ns, name, "number") == number.to_string());
    await_that("it takes over", || condition(ns, name, "Generation") == "False TakingOver");
    // An edit of what runs is applied once its generation is declared.
    await_that("the pods follow", || {
        let observed = "{.status.conditions[?(@.type==\"ObjectsSynced\")].observedGeneration}";
        let object = format!("csp/{name}");
        condition(ns, name, "ObjectsSynced") == "True Synced"
            && get(ns, &object, observed) == get(ns, &object, "{.metadata.generation}")
    });
}

fn inspector(topic: &str) -> TopicInspector {
    TopicInspector::connect(&MemberOptions::new(Kafka::shared(), "test", topic, "test")).unwrap()
}

fn recorded(pipeline: &Pipeline) -> Generations {
    let topic = pipeline.generations_topic();
    inspector(&topic).generations(&topic).unwrap()
}

/// The number of records in the topic of generations.
fn records(pipeline: &Pipeline) -> usize {
    let (topic, mut count) = (pipeline.generations_topic(), 0);
    inspector(&topic).read(&topic, 0, 0, &mut |_| count += 1).unwrap();
    count
}

/// The size of each window in the rankings in seconds, by its end. Fails where one is there twice.
fn sizes(pipeline: &Pipeline) -> BTreeMap<i64, i64> {
    let (topic, mut sizes) = (pipeline.top_pages_topic(), BTreeMap::new());
    let read = inspector(topic).read(topic, 0, 0, &mut |record| {
        let top = decode_top_pages(record.value.unwrap()).unwrap();
        assert_eq!(sizes.insert(top.window_end, (top.window_end - top.window_start) / 1_000), None);
    });
    read.unwrap();
    sizes
}

/// The events with this reason.
fn emitted(ns: &str, name: &str, reason: &str) -> Vec<String> {
    events(ns, name).into_iter().filter(|event| event.starts_with(&format!("{reason}: "))).collect()
}

/// Waits for two more passes: one may be under way.
#[track_caller]
fn pass(ns: &str, name: &str, operator: &Operator) {
    for _ in 0..2 {
        let before = operator.passes();
        nudge(ns, name);
        await_that("another pass has ended", || operator.passes() > before);
    }
}

#[test]
fn an_edit_of_the_window_begins_a_generation() {
    let name = "edited";
    let (ns, operator) = counted(name);
    let shop = document(&ns, name);
    pass(&ns, name, &operator);
    assert_eq!(topics(&format!("{name}.")).len(), 4, "without an edit nothing is other than before");
    assert_eq!(condition(&ns, name, "Generation"), " ");
    // A notation of the same length of time is no edit, and nor is a field that decides nothing.
    edit(&ns, name, r#"{"window":{"size":"300s","idleTimeout":"1m"}}"#);
    pass(&ns, name, &operator);
    assert_eq!((topics(&format!("{name}.")).len(), &*status(&ns, name, "number")), (4, ""));

    let config_hash = || get(&ns, &format!("csp/{name}"), "{.status.processor.configHash}");
    let before = config_hash();
    edit(&ns, name, SIZE_1M);
    await_generation(&ns, name, 2);
    assert_eq!(condition(&ns, name, "Ready"), "False TakingOver");
    assert_ne!(config_hash(), before, "the pods have the document");
    assert_eq!(topics(&format!("{name}.")).len(), 9, "four of each generation, and that of the generations");
    let began = emitted(&ns, name, "GenerationBegan");
    assert_eq!(began, ["GenerationBegan: generation 2 begins: window.size 5m before, window.size 1m now"]);
    let all = recorded(&shop);
    assert_eq!((all.newest().unwrap().number, all.newest().unwrap().cut), (2, None));
    let count = records(&shop);
    pass(&ns, name, &operator);
    assert_eq!((records(&shop), emitted(&ns, name, "GenerationBegan").len()), (count, 1));
    assert_eq!(status(&ns, name, "cut"), "");

    // Its processors take over, and go on after the last window of the first one.
    let minute = with(&ns, name, &format!("{SPEC}, {MINUTE}"));
    generate(&minute, "2026-01-01T00:10:00Z");
    process(&minute).unwrap();
    nudge(&ns, name);
    await_that("it has taken over", || condition(&ns, name, "Generation") == "True TakenOver");
    let cut = recorded(&shop).newest().unwrap().cut.unwrap();
    let time = k8s_time(cut);
    assert_eq!((status(&ns, name, "cut"), status(&ns, name, "toldAfter")), (time.clone(), time.clone()));
    let text = message(&ns, name, "Generation");
    let expected =
        format!("results of generation 2 are of windows that end after {time}; those before are of");
    assert!(text.starts_with(&expected) && !text.contains("left out"), "{text}");
    assert_eq!(emitted(&ns, name, "TakenOver").len(), 1);
    let windows = sizes(&shop);
    assert!(
        windows.iter().all(|(end, size)| *size == if *end <= cut { 300 } else { 60 }),
        "{cut} {windows:?}"
    );
    assert!(windows.keys().any(|end| *end > cut) && windows.contains_key(&cut), "{cut} {windows:?}");

    // And back: other settings than those of the newest one, though once they were those of the first.
    edit(&ns, name, SIZE_5M);
    await_generation(&ns, name, 3);
    assert_eq!(status(&ns, name, "cut"), "");
    let began = emitted(&ns, name, "GenerationBegan");
    assert!(began.contains(
        &"GenerationBegan: generation 3 begins: window.size 1m before, window.size 5m now".to_owned()
    ));
    generate(&shop, "2026-01-01T00:20:00Z");
    process(&shop).unwrap();
    nudge(&ns, name);
    await_that("it has taken over", || condition(&ns, name, "Generation") == "True TakenOver");
    assert!(sizes(&shop).last_key_value().is_some_and(|(_, size)| *size == 300));

    // With the pipeline the topics of all generations are deleted.
    assert_eq!(topics(&format!("{name}.")).len(), 13);
    kubectl(&ns, &["delete", "csp", name, "--timeout=120s"]);
    assert_eq!(topics(&format!("{name}.")), BTreeMap::new());
}

#[test]
fn an_edit_before_the_first_commit_begins_a_generation_once_it_is_seen_what_was_counted_with() {
    let (ns, name) = (namespace("of-early"), "early");
    let operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, name, &format!("{SPEC}, deletionPolicy: Delete"))).unwrap();
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    let config_hash = || get(&ns, &format!("csp/{name}"), "{.status.processor.configHash}");
    let before = config_hash();
    edit(&ns, name, SIZE_1M);
    await_that("the pods have the document", || config_hash() != before);
    assert_eq!(status(&ns, name, "number"), "");
    // As a pod with the document of before does that has not ended yet.
    generate(&document(&ns, name), "2026-01-01T00:00:00Z");
    process(&document(&ns, name)).unwrap();
    nudge(&ns, name);
    await_generation(&ns, name, 2);
    drop(operator);
}

fn k8s_time(millis: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_millisecond(millis).unwrap().to_string()
}

#[test]
fn killed_after_any_write_an_edit_begins_one_generation() {
    let mut deaths = 0;
    for n in 1.. {
        let name = &*format!("slain-{n:02}");
        let (ns, operator) = counted(name);
        drop(operator);
        edit(&ns, name, SIZE_1M);
        let rests = || {
            let seen = "{.status.observedGeneration}";
            condition(&ns, name, "Generation") == "False TakingOver"
                && get(&ns, &format!("csp/{name}"), seen) == "2"
                && !emitted(&ns, name, "GenerationBegan").is_empty()
        };
        if !dies_after(&ns, n, rests) {
            break;
        }
        deaths = n;
        let operator = Operator::start(&ns);
        await_generation(&ns, name, 2);
        pass(&ns, name, &operator);
        drop(operator);
        let shop = document(&ns, name);
        let numbers: Vec<u32> = recorded(&shop).iter().map(|one| one.number).collect();
        assert_eq!((numbers, records(&shop)), (vec![1, 2], 2), "after write {n}");
        assert!(emitted(&ns, name, "GenerationBegan").len() <= 1, "after write {n}");
        let created = get(&ns, &format!("csp/{name}"), "{.status.topics[*].created}");
        assert_eq!(created, ["true"; 12].join(" "), "after write {n}");
        process(&with(&ns, name, &format!("{SPEC}, {MINUTE}"))).unwrap();
    }
    // The topics to be created, the document, the processors, the status, the event.
    assert!(deaths >= 4, "{deaths}");
}

#[test]
fn what_a_killed_operator_has_left_is_gone_on_with() {
    // Topics without a record.
    let name = "half-made";
    let (ns, operator) = counted(name);
    drop(operator);
    let second = document(&ns, name).in_generation(2);
    admin().ensure_topics(&second.topics(), |_| true).unwrap();
    // One that the status knows is gone: nothing has been counted in it.
    let gone = second.state_topic();
    admin().delete_topics_and_wait(&[&gone]).unwrap();
    let id = "0ZF3HL99Tty8C2vrbYmNZg";
    let known = json!({"name": gone, "topicID": id, "partitions": 4, "created": true});
    let known = json!([{"op": "add", "path": "/status/topics/-", "value": known}]).to_string();
    kubectl(&ns, &["patch", "csp", name, "--subresource=status", "--type=json", "--patch", &known]);
    edit(&ns, name, SIZE_1M);
    let operator = Operator::start(&ns);
    await_generation(&ns, name, 2);
    assert_eq!(records(&second), 2);
    drop(operator);

    // A record of which nothing else knows yet, as the command line makes it too.
    let name = "half-told";
    let (ns, operator) = counted(name);
    drop(operator);
    let minute = with(&ns, name, &format!("{SPEC}, {MINUTE}"));
    weir::topics::apply(&minute, Kafka::shared(), &weir::topics::Apply::default(), &AtomicBool::new(false))
        .unwrap();
    edit(&ns, name, SIZE_1M);
    let operator = Operator::start(&ns);
    await_generation(&ns, name, 2);
    pass(&ns, name, &operator);
    assert_eq!((records(&minute), emitted(&ns, name, "GenerationBegan").len()), (2, 1));
}

#[test]
fn topics_of_an_ended_generation_are_deleted_once_results_are_that_old() {
    let name = "expired";
    let (ns, operator) = counted(name);
    edit(&ns, name, SIZE_1M);
    await_generation(&ns, name, 2);
    let minute = with(&ns, name, &format!("{SPEC}, {MINUTE}"));
    process(&minute).unwrap();
    pass(&ns, name, &operator);
    assert_eq!(topics(&format!("{name}.")).len(), 9, "it has just ended");
    // As if it had been declared long ago. A processor of the first one still runs, which Kafka refuses to delete the group for.
    let mut member = join(&document(&ns, name));
    let all = recorded(&minute);
    let newest = all.newest().unwrap();
    let old = Generation::declared(2, &newest.settings, 1_000).after(newest.cut.unwrap());
    let topic = minute.generations_topic();
    record_generations(&Connection::new(Kafka::shared(), "test"), &topic, &all, &[old]).unwrap();
    nudge(&ns, name);
    await_that("the refusal is a warning", || condition(&ns, name, "Generation") == "True EndedTopicsLeft");
    let text = message(&ns, name, "Generation");
    assert!(
        text.contains("are left: ")
            && text.contains("Delete on the group expired.windows, or delete the group"),
        "{text}"
    );
    assert_ne!(condition(&ns, name, "Ready"), "False GroupRefused");
    member.leave().unwrap();
    nudge(&ns, name);
    await_that("the topics of the first one are gone", || topics(&format!("{name}.")).len() == 5);
    assert!(
        topics(&format!("{name}."))
            .keys()
            .all(|topic| topic.ends_with(".2") || topic.ends_with(".generations"))
    );
    await_that("it is told", || emitted(&ns, name, "TopicsDeleted").len() == 1);
    assert!(
        emitted(&ns, name, "TopicsDeleted")[0].contains(&format!("generation 1 has ended: {name}.blocks, "))
    );
    pass(&ns, name, &operator);
    let known = get(&ns, &format!("csp/{name}"), "{.status.topics[*].name}");
    assert_eq!(known.split(' ').count(), 8, "{known}");
    assert_eq!(emitted(&ns, name, "TopicsDeleted").len(), 1);
    process(&minute).unwrap();
}

#[test]
fn a_lost_topic_of_generations_is_reported_and_nothing_begins_in_the_first() {
    let name = "unrecorded";
    let (ns, operator) = counted(name);
    edit(&ns, name, SIZE_1M);
    await_generation(&ns, name, 2);
    let minute = with(&ns, name, &format!("{SPEC}, {MINUTE}"));
    process(&minute).unwrap();
    nudge(&ns, name);
    await_that("it has taken over", || condition(&ns, name, "Generation") == "True TakenOver");
    let (before, cut) = (recorded(&minute), status(&ns, name, "cut"));

    let topic = minute.generations_topic();
    lose(&ns, name, &[&topic]);
    let text = message(&ns, name, "TopicsSynced");
    assert!(text.contains("the record of generation 2 is made again from status.generation"), "{text}");
    assert!(!topics(&topic).contains_key(&topic));
    assert_eq!((status(&ns, name, "number"), status(&ns, name, "cut")), ("2".to_owned(), cut.clone()));
    recreate(&ns, name);
    let after = recorded(&minute);
    assert_eq!((after.newest().unwrap().cut, after.iter().count()), (before.newest().unwrap().cut, 2));
    assert_eq!(after.newest().unwrap().settings.get(..60), before.newest().unwrap().settings.get(..60));
    pass(&ns, name, &operator);
    assert_eq!((status(&ns, name, "number"), status(&ns, name, "cut")), ("2".to_owned(), cut));
    let windows = sizes(&minute).len();
    generate(&minute, "2026-01-01T00:10:00Z");
    process(&minute).unwrap();
    assert!(sizes(&minute).len() > windows);
}

#[test]
fn another_key_begins_a_generation_also_for_a_pipeline_that_is_applied_again() {
    let (ns, name) = (namespace("of-rekeyed"), "rekeyed");
    let operator = Operator::start(&ns);
    let spec = format!("{SPEC}, pii: {{userId: Hash, hashKeySecretRef: {{name: pii, key: key}}}}");
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
    set_key("0123456789abcdef0123456789abcdef");
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    let shop = with(&ns, name, &spec);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef0123456789abcdef").unwrap();
    generate(&shop, "2026-01-01T00:00:00Z");
    process_with(&shop, Some(file.path().to_owned())).unwrap();
    set_key("0123456789abcdef0123456789abcdeX");
    await_generation(&ns, name, 2);
    let began = emitted(&ns, name, "GenerationBegan").remove(0);
    assert!(began.contains("pii key ") && !began.contains("abcdef"), "{began}");
    // Processors with that key take the recorded settings for theirs.
    std::fs::write(file.path(), "0123456789abcdef0123456789abcdeX").unwrap();
    process_with(&shop, Some(file.path().to_owned())).unwrap();

    // Applied again over the same topics with another window.
    kubectl(&ns, &["delete", "csp", name]);
    await_that("its pods are gone", || get(&ns, "statefulsets", "{.items}") == "[]");
    cluster().apply(&pipeline(&ns, name, &format!("{spec}, window: {{size: 10m}}"))).unwrap();
    await_generation(&ns, name, 3);
    assert!(!get(&ns, &format!("statefulset/{name}"), "{.spec.replicas}").is_empty());
    drop(operator);
}

#[test]
fn settings_that_cannot_end_are_reported_and_pods_are_not_changed() {
    let (ns, name) = (namespace("of-stuck"), "stuck");
    let operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, name, SPEC)).unwrap();
    await_that("the objects are there", || condition(&ns, name, "ObjectsSynced") == "True Synced");
    // As an early release committed.
    let shop = document(&ns, name);
    let settings = "size 300000 ms, slide 10000 ms, out-of-orderness 30000 ms, session gap 1800000 ms, trending half-life 86400000 ms, 3 lanes";
    let progress = PartitionProgress { settings: settings.to_owned(), ..PartitionProgress::default() };
    commit(&shop, &serde_json::to_string(&progress).unwrap());
    let set = || get(&ns, &format!("statefulset/{name}"), "{.metadata.generation}");
    let before = set();
    edit(&ns, name, SIZE_1M);
    await_that("the condition is set", || condition(&ns, name, "Generation") == "False GenerationCannotEnd");
    await_that("it is not ready", || condition(&ns, name, "Ready") == "False GenerationCannotEnd");
    let text = message(&ns, name, "Generation");
    assert!(text.contains("generation 1 cannot be ended: no `ranking of NUMBER`"), "{text}");
    assert_eq!((set(), topics(&format!("{name}.")).len()), (before.clone(), 4));
    edit(&ns, name, SIZE_5M);
    await_that("the condition is True again", || condition(&ns, name, "Generation") == "True First");
    assert_eq!((set(), topics(&format!("{name}.")).len()), (before, 4));
    drop(operator);
}

#[test]
fn a_generation_whose_topics_do_not_fit_is_not_begun_and_pods_are_not_changed() {
    let name = "unfit";
    let (ns, operator) = counted(name);
    let mut others = document(&ns, name).in_generation(2).topics_of_generation();
    others.truncate(1);
    others[0].partitions = 5;
    admin().ensure_topics(&others, |_| true).unwrap();
    let config_hash = || {
        let path = "{.spec.template.metadata.annotations.weir\\.dev/config-hash}";
        get(&ns, &format!("statefulset/{name}"), path)
    };
    let before = config_hash();
    edit(&ns, name, SIZE_1M);
    await_that("the condition is set", || {
        condition(&ns, name, "TopicsSynced") == "False TopicPartitionsDiffer"
            && condition(&ns, name, "Ready") == "False TopicPartitionsDiffer"
    });
    assert!(message(&ns, name, "TopicsSynced").contains("unfit.blocks.2 has 5 partitions"));
    assert!(!before.is_empty() && config_hash() == before, "{before}");
    assert_eq!((status(&ns, name, "number"), recorded(&document(&ns, name)).newest()), (String::new(), None));
    // Once they fit, it begins.
    admin().delete_topics_and_wait(&["unfit.blocks.2"]).unwrap();
    nudge(&ns, name);
    await_generation(&ns, name, 2);
    assert_ne!(config_hash(), before);
    drop(operator);
}

/// Joins the group of stage 1, and gets all partitions.
fn join(pipeline: &Pipeline) -> weir_kafka::Member {
    let (group, topic) = (pipeline.windows_group(), pipeline.events_topic());
    let mut member =
        weir_kafka::Member::connect(MemberOptions::new(Kafka::shared(), &group, topic, "stuck")).unwrap();
    let assigned = loop {
        let rebalance = member.poll(1, Duration::from_millis(100), &mut |_| ()).unwrap();
        if let Some(Rebalance::Assigned(partitions)) = rebalance {
            break partitions;
        }
    };
    let starts: Vec<_> = assigned.iter().map(|partition| (*partition, 0)).collect();
    member.assign(&starts).unwrap();
    member
}

/// Commits this metadata in every partition, in the place of stage 1.
fn commit(pipeline: &Pipeline, metadata: &str) {
    let mut member = join(pipeline);
    member.begin().unwrap();
    let at = Committed { offset: 0, metadata: metadata.to_owned() };
    let partitions = 0..pipeline.spec.topics.events.partitions;
    let commits: Vec<_> = partitions.map(|partition| (partition, at.clone())).collect();
    member.commit(&commits).unwrap();
    member.leave().unwrap();
}
