#![allow(clippy::unwrap_used)]
use k8s_openapi::jiff::Timestamp;
use weir_broker::Kafka;

use super::*;
use crate::conditions;

#[test]
fn earlier_conditions_stand_while_kafka_is_busy() {
    let error = Error::KafkaBusy { bootstrap: "kafka:9092".to_owned(), threads: 2 };
    let conditions_and_events = |before: &[Condition], generation| {
        let before = conditions::merged(&[], before, 1, Timestamp::UNIX_EPOCH);
        let conditions = waiting(&before, generation, &error);
        let now = conditions::merged(&before, &conditions, generation, Timestamp::UNIX_EPOCH);
        let found: Vec<_> = now.into_iter().map(|condition| (condition.status, condition.reason)).collect();
        (found, conditions::transitions(&before, &conditions).len())
    };
    let of = |expected: [(&str, &str); 2], notes| {
        (expected.map(|(status, reason)| (status.to_owned(), reason.to_owned())).to_vec(), notes)
    };
    let well = [
        Condition::new(ConditionType::KafkaReachable, ConditionStatus::True, "Answered", ""),
        Condition::new(ConditionType::TopicsSynced, ConditionStatus::True, "Synced", ""),
    ];
    assert_eq!(conditions_and_events(&well, 1), of([("True", "WaitingForKafka"), ("True", "Synced")], 0));
    let lost = [
        well[0].clone(),
        Condition::new(ConditionType::TopicsSynced, ConditionStatus::False, "TopicLost", ""),
    ];
    assert_eq!(conditions_and_events(&lost, 1), of([("True", "WaitingForKafka"), ("False", "TopicLost")], 0));
    // Unknown for another generation, and before the first answer.
    assert_eq!(conditions_and_events(&well, 2).0[1], ("Unknown".to_owned(), "WaitingForKafka".to_owned()));
    assert_eq!(conditions_and_events(&[], 1), of([("Unknown", "WaitingForKafka"); 2], 0));
}

#[test]
fn nothing_is_reset_if_topics_belong_to_others() {
    let specs = Pipeline::demo().topics();
    let of = |pipeline: &str, uid: &str| {
        let resource = admin::Resource { namespace: "web".to_owned(), uid: uid.to_owned() };
        Claimant { pipeline: pipeline.to_owned(), resource: Some(resource) }
    };
    let me = of("shop", "a");
    let found = |role: Role, owner: &Claimant, delete: bool| {
        let topic = specs.iter().find(|spec| spec.role == role).unwrap().name.clone();
        let Claimant { pipeline, resource } = owner.clone();
        let owner = Owner { pipeline, resource, topic_id: "X".to_owned(), ours: true, since: 0 };
        let delete = if delete { vec![topic.clone()] } else { Vec::new() };
        !not_to_be_reset(&specs, &[(topic, owner)].into(), &me, &delete).is_empty()
    };
    let (twin, other) = (of("shop", "b"), of("other", "b"));
    for (role, owner, delete, refused) in [
        (Role::Results, &me, true, false),
        (Role::State, &me, true, false),
        (Role::Results, &other, false, true),
        (Role::State, &twin, true, true),
        // Events may belong to another pipeline, as long as they are only read.
        (Role::Events, &other, false, false),
        (Role::Events, &other, true, true),
        (Role::Events, &twin, false, true),
    ] {
        assert_eq!(found(role, owner, delete), refused, "{role:?} {owner:?} {delete}");
    }
}

#[test]
fn the_creator_of_a_topic_is_known_by_its_id() {
    let specs = &Pipeline::demo().topics()[1..2];
    let name = specs[0].name.clone();
    let old = |id: Option<&str>, created| TopicStatus {
        name: name.clone(),
        topic_id: id.map(str::to_owned),
        partitions: 3,
        created,
    };
    for (what, found, before, created) in [
        ("missing", None, None, true),
        ("refused before, and still missing", None, Some(old(None, false)), true),
        ("was there", Some("a"), None, false),
        ("made by an operator that died", Some("a"), Some(old(None, true)), true),
        ("made by someone after a refusal", Some("a"), Some(old(None, false)), false),
        ("ours", Some("a"), Some(old(Some("a"), true)), true),
        ("not ours", Some("a"), Some(old(Some("a"), false)), false),
    ] {
        let ids = found.map(|id: &str| (name.clone(), id.to_owned())).into_iter().collect();
        let status = expected(specs, &ids, before.as_slice());
        assert_eq!(status[0].created, created, "{what}");
        assert_eq!(status[0].topic_id.as_deref(), found, "{what}");
    }
}

/// A pipeline with small topics of its own on the shared cluster, and a client.
fn pipeline(name: &str) -> (Pipeline, Admin) {
    let mut pipeline = Pipeline::demo();
    let topics = &mut pipeline.spec.topics;
    pipeline.metadata.name = name.to_owned();
    topics.events.name = format!("{name}.events");
    topics.results.name = format!("{name}.results");
    topics.top_pages.name = format!("{name}.top");
    (pipeline, Admin::new(&weir_kafka::Connection::new(Kafka::shared(), "weir-admin")).unwrap())
}

/// One pass over the topics; `meanwhile` runs between their inspection and their creation.
async fn pass(pipeline: &Pipeline, known: Vec<TopicStatus>, meanwhile: impl FnOnce()) -> Topics {
    let before = Before {
        topics: known,
        conditions: Vec::new(),
        generation: 1,
        claimant: Claimant { pipeline: pipeline.metadata.name.clone(), resource: None },
        adopt: false,
        take_over: false,
    };
    let meanwhile = async |_| {
        meanwhile();
        Ok(())
    };
    sync(&Connection::new(Kafka::shared()), pipeline, &Claims::default(), before, Ok(()), meanwhile).await
}

fn outcome(topics: &Topics) -> String {
    topics.error.as_ref().map_or_else(String::new, ToString::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_during_a_pass_is_not_recreated() {
    let (pipeline, admin) = pipeline("deleted-meanwhile");
    let first = pass(&pipeline, Vec::new(), || ()).await;
    assert_eq!(outcome(&first), "");
    let (state, live) = (pipeline.state_topic(), pipeline.live_topic());
    let mut known = first.status;
    // A topic to create, so that `meanwhile` runs after the inspection.
    admin.delete_topics_and_wait(&[&*live]).unwrap();
    known.iter_mut().filter(|topic| topic.name == live).for_each(|topic| topic.topic_id = None);
    let was =
        known.iter().find(|topic| topic.name == state).and_then(|topic| topic.topic_id.clone()).unwrap();

    let second = pass(&pipeline, known, || admin.delete_topics_and_wait(&[&*state]).unwrap()).await;
    let error = outcome(&second);
    assert!(error.starts_with(&format!("topic {state} was deleted: its id was {was}. ")), "{error}");
    let there = admin.topics().unwrap();
    assert!(!there.contains_key(&*state) && !there.contains_key(&*live), "{there:?}");
    let kept =
        second.status.iter().find(|topic| topic.name == state).and_then(|topic| topic.topic_id.clone());
    assert_eq!(kept, Some(was));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_created_by_others_are_not_owned() {
    let (mut pipeline, admin) = pipeline("refused-topic");
    let events = pipeline.events_topic().to_owned();
    let spec = |pipeline: &Pipeline| pipeline.topics().into_iter().filter(|spec| spec.name == events);
    let created = |topics: &Topics| {
        let of = |topic: &TopicStatus| (topic.created, topic.topic_id.is_some());
        topics.status.iter().map(|topic| (topic.name == events, of(topic))).collect::<BTreeSet<_>>()
    };
    // More replicas than brokers: the topics after it are not created either.
    pipeline.spec.topics.events.replicas = 9;
    let refused = pass(&pipeline, Vec::new(), || ()).await;
    assert!(outcome(&refused).starts_with("kafka refused to create topic "), "{}", outcome(&refused));
    assert_eq!(created(&refused), BTreeSet::from([(true, (false, false)), (false, (false, false))]));
    // Somebody creates it by hand, and Kafka is down for a while: its owner does not depend on the last condition.
    pipeline.spec.topics.events.replicas = 1;
    admin.ensure_topics(&spec(&pipeline).collect::<Vec<_>>(), |_| true).unwrap();
    let after = pass(&pipeline, refused.status, || ()).await;
    assert_eq!(outcome(&after), "");
    assert_eq!(created(&after), BTreeSet::from([(true, (false, true)), (false, (true, true))]));

    // The same if somebody creates it during the pass.
    admin.delete_topics_and_wait(&[&*events]).unwrap();
    let mut known = after.status;
    known.iter_mut().filter(|topic| topic.name == events).for_each(|topic| topic.topic_id = None);
    let make = || {
        admin.ensure_topics(&spec(&pipeline).collect::<Vec<_>>(), |_| true).unwrap();
    };
    let faster = pass(&pipeline, known, make).await;
    assert_eq!(outcome(&faster), "");
    assert_eq!(created(&faster), BTreeSet::from([(true, (false, true)), (false, (true, true))]));
}
