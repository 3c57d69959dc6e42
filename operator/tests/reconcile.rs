//! The operator against a real API server and a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{
    Operator, await_that, await_within, cluster, condition, events, get, kubectl, namespace, nudge, pipeline,
    topics,
};
use weir_broker::Kafka;
use weir_kafka::admin::Admin;
use weir_kafka::{Connection, Producer, ProducerOptions};

/// Creates a pipeline and waits for its objects and topics.
fn create_and_await_objects(ns: &str, name: &str, spec: &str) {
    cluster().apply(&pipeline(ns, name, spec)).unwrap();
    await_that("the objects are there", || condition(ns, name, "ObjectsSynced") == "True Synced");
}

fn has_event(ns: &str, name: &str, beginning: &str) -> bool {
    events(ns, name).iter().any(|event| event.starts_with(beginning))
}

/// Marks pods ready: there are no nodes, and controllers rely on the status alone.
fn run_pods(ns: &str, count: usize) {
    let pods = || get(ns, "pods", "{.items[*].metadata.name}");
    await_that("the pods are there", || pods().split_whitespace().count() == count);
    let runs = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    for pod in pods().split_whitespace() {
        kubectl(ns, &["patch", "pod", pod, "--subresource=status", "--type=merge", "--patch", runs]);
    }
}

#[test]
fn a_pipelines_topics_and_objects_are_created() {
    let ns = namespace("come");
    let operator = Operator::start(&ns);
    create_and_await_objects(&ns, "come-shop", "");
    for (type_, expected) in [
        ("TopicsSynced", "True Synced"),
        ("KafkaReachable", "True Answered"),
        ("Valid", "True Valid"),
        // There are no nodes: the pods stay pending.
        ("ProcessorAvailable", "False Progressing"),
        ("GatewayAvailable", "False Progressing"),
        ("Ready", "False Progressing"),
    ] {
        assert_eq!(condition(&ns, "come-shop", type_), expected, "{type_}");
    }
    assert_eq!(get(&ns, "statefulset/come-shop", "{.spec.replicas}"), "2");
    let topics = topics("come");
    let topics: Vec<_> = topics.iter().map(|(name, partitions)| (name.as_str(), *partitions)).collect();
    assert_eq!(
        topics,
        [
            ("come-shop.blocks", 3),
            ("come-shop.dead-letters", 1),
            ("come-shop.live", 1),
            ("come-shop.state", 6),
            ("come.come-shop.events", 6),
            ("come.come-shop.results", 3),
            ("come.come-shop.top", 1),
        ]
    );
    let created = get(&ns, "csp/come-shop", "{.status.topics[*].created}");
    assert_eq!(created, ["true"; 7].join(" "));
    let ids = get(&ns, "csp/come-shop", "{.status.topics[*].topicID}");
    assert!(ids.split(' ').filter(|id| id.len() == 22).count() == 7, "{ids}");
    assert!(
        has_event(&ns, "come-shop", "TopicsCreated: come.come-shop.events"),
        "{:?}",
        events(&ns, "come-shop")
    );
    let generation = get(&ns, "csp/come-shop", "{.metadata.generation} {.status.observedGeneration}");
    assert_eq!(generation, "1 1");
    assert!(operator.passes() >= 1.0);
    assert_eq!(operator.figure("weir_operator_is_leader"), 1.0);
    assert_eq!(operator.figure("weir_operator_managed_objects{kind=\"StatefulSet\"}"), 1.0);
}

#[test]
fn ready_pods_make_the_pipeline_ready() {
    let ns = namespace("ready");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "ready-shop", "generator: {enabled: false}");
    run_pods(&ns, 3);
    await_that("it is ready", || condition(&ns, "ready-shop", "Ready") == "True Running");
    await_that("the condition is set", || {
        has_event(&ns, "ready-shop", "Running: Ready: all conditions are met")
    });
    let shown = kubectl(&ns, &["get", "csp", "ready-shop", "--no-headers"]);
    let shown: Vec<_> = shown.split_whitespace().take(5).collect();
    assert_eq!(shown, ["ready-shop", "True", "Running", "2", "6"]);
    // An autoscaler finds the pods by the scale subresource.
    let scale = format!("/apis/weir.dev/v1alpha1/namespaces/{ns}/clickstreampipelines/ready-shop/scale");
    let scale = cluster().kubectl(&["get", "--raw", &scale]).unwrap();
    assert!(
        scale.contains(r#""status":{"replicas":2,"selector":"app.kubernetes.io/component=processor,"#),
        "{scale}"
    );
}

#[test]
fn lag_adds_processors() {
    let ns = namespace("lag");
    let operator = Operator::start(&ns);
    create_and_await_objects(
        &ns,
        "lag-shop",
        "generator: {enabled: false}, gateway: {replicas: 0}, processor: {replicas: 1, autoscaling: {mode: LagDryRun,
         eventsPerProcessor: 10, scaleUpCooldown: 1s}}",
    );
    run_pods(&ns, 1);
    // Nothing is processed: 3,000 in two minutes are 25/s, and one processor's capacity is 10/s.
    let options = ProducerOptions {
        connection: Connection::new(Kafka::shared(), "test"),
        compression: weir_manifest::Compression::None,
        linger: std::time::Duration::ZERO,
    };
    let producer = Producer::connect(&options).unwrap();
    for n in 0..3_000 {
        producer.send("lag.lag-shop.events", n % 6, b"key", b"value").unwrap();
    }
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
    let replicas = |object: &str| get(&ns, object, "{..spec.replicas}");
    await_within(180, "the dry run emits its decision", || {
        has_event(&ns, "lag-shop", "ScaleUp: would go from 1 to 3 processors: lag 3000 events, input 0/s")
    });
    assert_eq!(condition(&ns, "lag-shop", "ScalingActive"), "True ScaleUp");
    assert_eq!(
        get(&ns, "csp/lag-shop", "{.status.autoscaling.desiredReplicas} {.spec.processor.replicas}"),
        "3 1"
    );
    let lag = operator.figure("weir_operator_pipeline_lag_events{namespace=\"lag\",name=\"lag-shop\"}");
    assert_eq!(lag, 3_000.0);
    let patch = r#"{"spec":{"processor":{"autoscaling":{"mode":"Lag"}}}}"#;
    kubectl(&ns, &["patch", "csp", "lag-shop", "--type=merge", "--patch", patch]);
    await_within(180, "it is scaled up", || replicas("statefulset/lag-shop") == "3");
    assert_eq!(get(&ns, "csp/lag-shop", "{.spec.processor.replicas}"), "3");
    await_that("the event is emitted", || has_event(&ns, "lag-shop", "ScaleUp: goes from 1 to 3 processors"));
}

#[test]
fn drift_is_repaired_and_reported() {
    let ns = namespace("drift");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "drift-shop", "");
    kubectl(
        &ns,
        &["patch", "statefulset", "drift-shop", "--type=merge", "--patch", r#"{"spec":{"replicas":5}}"#],
    );
    await_that("the number is back", || {
        has_event(&ns, "drift-shop", "Repaired: StatefulSet drift-shop: spec.replicas was 5, is 2")
    });
    assert_eq!(get(&ns, "statefulset/drift-shop", "{.spec.replicas}"), "2");
    kubectl(&ns, &["delete", "configmap", "drift-shop"]);
    await_that("the config map is back", || {
        has_event(&ns, "drift-shop", "Repaired: ConfigMap drift-shop was missing")
    });
    assert!(get(&ns, "configmap/drift-shop", "{.data}").contains("pipeline.yaml"));
    // An object that never existed is no drift.
    kubectl(
        &ns,
        &["patch", "csp", "drift-shop", "--type=merge", "--patch", r#"{"spec":{"gateway":{"replicas":2}}}"#],
    );
    await_that("it is created", || {
        has_event(&ns, "drift-shop", "Created: PodDisruptionBudget drift-shop-gateway")
    });

    let admin = Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap();
    let mut spec = weir_manifest::Pipeline::demo().topics().remove(1);
    spec.name = "drift.drift-shop.results".to_owned();
    spec.settings = [("retention.ms".to_owned(), "1000".to_owned())].into();
    admin.ensure_topics(&[spec], |_| true).unwrap();
    nudge(&ns, "drift-shop");
    await_that("the topic is back", || {
        has_event(&ns, "drift-shop", "TopicRepaired: drift.drift-shop.results: retention.ms")
    });
}

#[test]
fn a_topic_of_others_keeps_its_records_until_it_is_adopted() {
    let ns = namespace("keep");
    let admin = Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap();
    let mut spec = weir_manifest::Pipeline::demo().topics().remove(0);
    (spec.name, spec.replicas) = ("keep.keep-shop.events".to_owned(), 1);
    spec.settings.insert("retention.ms".to_owned(), "1209600000".to_owned());
    admin.ensure_topics(&[spec], |_| false).unwrap();
    let kept = || admin.setting("keep.keep-shop.events", "retention.ms").unwrap().unwrap();
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "keep-shop", "")).unwrap();
    await_that("the condition is set", || {
        condition(&ns, "keep-shop", "TopicsSynced") == "False TopicSettingsDiffer"
    });
    let message = get(&ns, "csp/keep-shop", "{.status.conditions[?(@.type==\"TopicsSynced\")].message}");
    assert!(message.contains("retention.ms=1209600000 (14 d), the pipeline says 7200000 (2 h)"), "{message}");
    assert_eq!(kept(), "1209600000");
    assert_eq!(topics("keep").len(), 1);
    kubectl(&ns, &["annotate", "csp", "keep-shop", "weir.dev/adopt-topics=true"]);
    await_that("it is changed", || condition(&ns, "keep-shop", "TopicsSynced") == "True Synced");
    assert_eq!(kept(), "7200000");
    // An adopted topic does not count as created: it is never deleted with the pipeline.
    let created = get(&ns, "csp/keep-shop", "{.status.topics[?(@.created==false)].name}");
    assert_eq!(created, "keep.keep-shop.events");
}

#[test]
fn a_field_that_the_api_server_reverts_is_repaired_once() {
    let ns = namespace("overruled");
    let operator = Operator::start(&ns);
    // The API server drops this field if it is false, so it always differs from the document.
    create_and_await_objects(&ns, "overruled-shop", "processor: {podTemplate: {spec: {hostNetwork: false}}}");
    let repaired = || {
        let all = events(&ns, "overruled-shop");
        all.iter().filter(|event| event.contains("hostNetwork was missing, is false")).count()
    };
    await_that("one repair is tried", || {
        nudge(&ns, "overruled-shop");
        repaired() > 0
    });
    for _ in 0..3 {
        let before = operator.passes();
        nudge(&ns, "overruled-shop");
        await_that("another pass has ended", || operator.passes() > before);
    }
    assert_eq!(repaired(), 1, "{:#?}", events(&ns, "overruled-shop"));
    assert_eq!(condition(&ns, "overruled-shop", "ObjectsSynced"), "True Overruled");
    let message =
        get(&ns, "csp/overruled-shop", "{.status.conditions[?(@.type==\"ObjectsSynced\")].message}");
    let field = "StatefulSet overruled-shop: spec.template.spec.hostNetwork is missing, not false";
    assert!(message.contains(field), "{message}");
}

#[test]
fn a_topic_with_another_number_of_partitions_is_not_changed() {
    let ns = namespace("other");
    let admin = Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap();
    let mut spec = weir_manifest::Pipeline::demo().topics().remove(0);
    (spec.name, spec.partitions, spec.replicas) = ("other.other-shop.events".to_owned(), 4, 1);
    admin.ensure_topics(&[spec], |_| true).unwrap();
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "other-shop", "")).unwrap();
    await_that("the condition is set", || {
        condition(&ns, "other-shop", "TopicsSynced") == "False TopicPartitionsDiffer"
            && condition(&ns, "other-shop", "Ready") == "False TopicPartitionsDiffer"
    });
    let message = get(&ns, "csp/other-shop", "{.status.conditions[?(@.type==\"Ready\")].message}");
    assert!(message.contains("other.other-shop.events has 4 partitions, the pipeline says 6"), "{message}");
    assert_eq!(topics("other").len(), 1);
    assert_eq!(get(&ns, "statefulset", "{.items}"), "[]");
    assert!(has_event(&ns, "other-shop", "TopicPartitionsDiffer: "));
}

#[test]
fn of_two_pipelines_with_one_topic_the_older_owns_it() {
    let ns = namespace("claim");
    let shared = "topics: {results: {name: claim.shared}}";
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "claim-old", shared);
    cluster().apply(&pipeline(&ns, "claim-new", shared)).unwrap();
    await_that("the condition is set", || {
        condition(&ns, "claim-new", "TopicsSynced") == "False TopicClaimed"
    });
    assert!(has_event(
        &ns,
        "claim-new",
        "TopicClaimed: TopicsSynced: topic claim.shared belongs to the older pipeline claim/claim-old"
    ));
    assert!(
        !topics("claim").keys().any(|topic| topic.starts_with("claim-new") || topic.contains(".claim-new."))
    );
    assert_eq!(condition(&ns, "claim-old", "TopicsSynced"), "True Synced");
    // Once the older one is gone, its results are still in the topic: the other takes it over only with the annotation, and the topic
    // does not count as created.
    kubectl(&ns, &["delete", "csp", "claim-old"]);
    // The reason is unchanged, so there is no event; only the condition's message changes.
    let message = "{.status.conditions[?(@.type==\"TopicsSynced\")].message}";
    await_that("Kafka remembers the owner", || {
        let text = get(&ns, "csp/claim-new", message);
        text.starts_with("topic claim.shared belongs to the pipeline claim/claim-old (uid ")
    });
    kubectl(&ns, &["annotate", "csp", "claim-new", "weir.dev/take-over-topics=true"]);
    await_that("it goes on", || condition(&ns, "claim-new", "TopicsSynced") == "True Synced");
    let created = get(&ns, "csp/claim-new", "{.status.topics[?(@.created==false)].name}");
    assert_eq!(created, "claim.shared");
}

#[test]
fn suspending_pausing_and_scaling() {
    let ns = namespace("states");
    let _operator = Operator::start(&ns);
    create_and_await_objects(&ns, "states-shop", "");
    let replicas = |object: &str| get(&ns, object, "{.spec.replicas}");
    kubectl(&ns, &["scale", "csp", "states-shop", "--replicas=9"]);
    await_that("as many as partitions run", || replicas("statefulset/states-shop") == "6");
    await_that("the warning is emitted", || {
        has_event(
            &ns,
            "states-shop",
            "Warnings: Valid: spec.processor.replicas: 9 are asked for, 6 are started",
        )
    });

    kubectl(
        &ns,
        &["patch", "csp", "states-shop", "--type=merge", "--patch", r#"{"spec":{"state":"Suspended"}}"#],
    );
    await_that("processors end", || replicas("statefulset/states-shop") == "0");
    await_that("and so does the generator", || replicas("deployment/states-shop-generator") == "0");
    assert_eq!(replicas("deployment/states-shop-gateway"), "1");
    await_that("the condition is set", || {
        condition(&ns, "states-shop", "ProcessorAvailable").starts_with("False Suspend")
    });

    kubectl(&ns, &["annotate", "csp", "states-shop", "weir.dev/paused=true"]);
    await_that("the condition is set", || condition(&ns, "states-shop", "Ready") == "Unknown Paused");
    let since = get(&ns, "csp/states-shop", "{.status.conditions[?(@.type==\"Ready\")].observedGeneration}");
    kubectl(
        &ns,
        &["patch", "csp", "states-shop", "--type=merge", "--patch", r#"{"spec":{"state":"Running"}}"#],
    );
    let seen =
        || get(&ns, "csp/states-shop", "{.status.conditions[?(@.type==\"Ready\")].observedGeneration}");
    await_that("the change was seen", || seen() != since);
    assert_eq!(replicas("statefulset/states-shop"), "0");
    kubectl(&ns, &["annotate", "csp", "states-shop", "weir.dev/paused-"]);
    await_that("it goes on", || replicas("statefulset/states-shop") == "6");
}

#[test]
fn deletion_policy_delete_deletes_the_topics_that_were_created() {
    let ns = namespace("gone");
    let admin = Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap();
    // Not created by the pipeline.
    let mut spec = weir_manifest::Pipeline::demo().topics().remove(1);
    (spec.name, spec.partitions, spec.replicas) = ("gone.gone-shop.results".to_owned(), 3, 1);
    admin.ensure_topics(&[spec], |_| true).unwrap();
    let operator = Operator::start(&ns);
    create_and_await_objects(&ns, "gone-shop", "deletionPolicy: Delete");
    assert_eq!(get(&ns, "csp/gone-shop", "{.metadata.finalizers}"), r#"["weir.dev/topics"]"#);
    // Recreated by somebody else: no longer its own.
    let recreated = |topic: &str| {
        admin.delete_topics(&[topic]).unwrap();
        await_that("it is gone", || !topics("gone-shop").contains_key(topic));
        let mut spec = weir_manifest::Pipeline::demo().topics().remove(5);
        (spec.name, spec.replicas) = (topic.to_owned(), 1);
        admin.ensure_topics(&[spec], |_| true).unwrap();
    };
    drop(operator);
    recreated("gone-shop.live");
    let operator = Operator::start(&ns);
    await_that("the condition is set", || {
        has_event(&ns, "gone-shop", "TopicLost: TopicsSynced: topic gone-shop.live was deleted and made anew")
    });
    // And one that was recreated without a pass since.
    drop(operator);
    recreated("gone-shop.dead-letters");
    kubectl(&ns, &["delete", "csp", "gone-shop", "--wait=false"]);
    let _operator = Operator::start(&ns);
    kubectl(&ns, &["wait", "--for=delete", "csp/gone-shop", "--timeout=120s"]);
    let left: Vec<_> = topics("gone").into_keys().collect();
    assert_eq!(left, ["gone-shop.dead-letters", "gone-shop.live", "gone.gone-shop.results"]);
    assert!(
        has_event(&ns, "gone-shop", "TopicsDeleted: gone.gone-shop.events"),
        "{:?}",
        events(&ns, "gone-shop")
    );

    // With the annotation it leaves them; and Retain has no finalizer.
    create_and_await_objects(&ns, "kept-shop", "deletionPolicy: Delete");
    kubectl(&ns, &["annotate", "csp", "kept-shop", "weir.dev/skip-topic-deletion=true"]);
    kubectl(&ns, &["delete", "csp", "kept-shop", "--timeout=60s"]);
    assert_eq!(topics("kept-shop").len(), 4);
    create_and_await_objects(&ns, "kept-shop", "deletionPolicy: Delete");
    kubectl(
        &ns,
        &["patch", "csp", "kept-shop", "--type=merge", "--patch", r#"{"spec":{"deletionPolicy":"Retain"}}"#],
    );
    await_that("the finalizer is gone", || get(&ns, "csp/kept-shop", "{.metadata.finalizers}").is_empty());
}

#[test]
fn missing_secrets_are_awaited_and_changed_ones_roll_the_pods() {
    let ns = namespace("secret");
    let _operator = Operator::start(&ns);
    let spec = "pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}";
    cluster().apply(&pipeline(&ns, "secret-shop", spec)).unwrap();
    await_that("the condition is set", || condition(&ns, "secret-shop", "Valid") == "False SecretMissing");
    kubectl(&ns, &["create", "secret", "generic", "pii", "--from-literal=other=x"]);
    nudge(&ns, "secret-shop");
    await_that("the condition is set", || condition(&ns, "secret-shop", "Valid") == "False SecretKeyMissing");
    let set = |value: &str| {
        let patch = format!("{{\"stringData\":{{\"key\":\"{value}\"}}}}");
        kubectl(&ns, &["patch", "secret", "pii", "--type=merge", "--patch", &patch]);
        nudge(&ns, "secret-shop");
    };
    set("five!");
    await_that("the condition is set", || condition(&ns, "secret-shop", "Valid") == "False SecretKeyUnfit");
    let message = get(&ns, "csp/secret-shop", "{.status.conditions[?(@.type==\"Valid\")].message}");
    let expected =
        "entry \"key\" of secret pii (spec.pii.hashKeySecretRef): found 5 bytes, expected at least 16";
    assert!(message.starts_with(expected), "{message}");
    set("the first key of them");
    let hash = || get(&ns, "csp/secret-shop", "{.status.processor.configHash}");
    await_that("it goes on", || !hash().is_empty());
    let first = hash();
    set("the second key of them");
    await_that("the pods are rolled", || hash() != first);
}

#[test]
fn an_idle_cluster_gets_no_writes() {
    let ns = namespace("quiet");
    let operator = Operator::start(&ns);
    create_and_await_objects(&ns, "quiet-shop", "");
    let writes = || {
        let log = fs::read_to_string(cluster().audit_log()).unwrap();
        let of_operator = |line: &&str| {
            line.contains("\"namespace\":\"quiet\"")
                && line.contains("\"username\":\"admin\"")
                && !line.contains("\"resource\":\"leases\"")
        };
        log.lines().filter(of_operator).map(str::to_owned).collect::<Vec<_>>()
    };
    // The controllers update the status of the new workloads first.
    let mut before = (writes().len(), operator.passes());
    await_that("another pass has ended", || operator.passes() > before.1);
    let (mut quiet, mut since) = (std::time::Instant::now(), writes().len());
    while quiet.elapsed() < std::time::Duration::from_secs(5) {
        std::thread::sleep(std::time::Duration::from_millis(200));
        if writes().len() != since {
            (quiet, since) = (std::time::Instant::now(), writes().len());
        }
    }
    before = (since, operator.passes());
    await_within(150, "the next resync", || operator.passes() > before.1);
    let new = writes().split_off(before.0);
    assert!(new.is_empty(), "{new:#?}");
}
