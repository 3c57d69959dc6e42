#![allow(clippy::unwrap_used)]
use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::conditions;

#[test]
fn what_was_found_before_stands_while_kafka_cannot_be_asked() {
    let error = Error::KafkaBusy { bootstrap: "kafka:9092".to_owned(), threads: 2 };
    let said = |before: &[Condition], generation| {
        let before = conditions::merged(&[], before, 1, Timestamp::UNIX_EPOCH);
        let conditions = waiting(&before, generation, &error);
        let now = conditions::merged(&before, &conditions, generation, Timestamp::UNIX_EPOCH);
        let said: Vec<_> = now.into_iter().map(|condition| (condition.status, condition.reason)).collect();
        (said, conditions::transitions(&before, &conditions).len())
    };
    let of = |said: [(&str, &str); 2], notes| {
        (said.map(|(status, reason)| (status.to_owned(), reason.to_owned())).to_vec(), notes)
    };
    let well = [
        Condition::new(ConditionType::KafkaReachable, ConditionStatus::True, "Answered", ""),
        Condition::new(ConditionType::TopicsSynced, ConditionStatus::True, "Synced", ""),
    ];
    assert_eq!(said(&well, 1), of([("True", "WaitingForKafka"), ("True", "Synced")], 0));
    let lost = [
        well[0].clone(),
        Condition::new(ConditionType::TopicsSynced, ConditionStatus::False, "TopicLost", ""),
    ];
    assert_eq!(said(&lost, 1), of([("True", "WaitingForKafka"), ("False", "TopicLost")], 0));
    // Of another document nothing is known, nor before the first answer.
    assert_eq!(said(&well, 2).0[1], ("Unknown".to_owned(), "WaitingForKafka".to_owned()));
    assert_eq!(said(&[], 1), of([("Unknown", "WaitingForKafka"); 2], 0));
}

#[test]
fn nothing_is_reset_where_topics_are_anothers() {
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
        // Events may be another's, as long as they are only read.
        (Role::Events, &other, false, false),
        (Role::Events, &other, true, true),
        (Role::Events, &twin, false, true),
    ] {
        assert_eq!(found(role, owner, delete), refused, "{role:?} {owner:?} {delete}");
    }
}

#[test]
fn who_made_a_topic_is_known_by_its_id() {
    let specs = &Pipeline::demo().topics()[1..2];
    let name = specs[0].name.clone();
    let old = |id: Option<&str>, created| TopicStatus {
        name: name.clone(),
        topic_id: id.map(str::to_owned),
        partitions: 3,
        created,
    };
    for (what, found, before, refused, created) in [
        ("missing", None, None, false, true),
        ("was there", Some("a"), None, false, false),
        ("made by an operator that died", Some("a"), Some(old(None, true)), false, true),
        ("made by someone after a refusal", Some("a"), Some(old(None, true)), true, false),
        ("ours", Some("a"), Some(old(Some("a"), true)), false, true),
        ("not ours", Some("a"), Some(old(Some("a"), false)), false, false),
    ] {
        let ids = found.map(|id: &str| (name.clone(), id.to_owned())).into_iter().collect();
        let status = expected(specs, &ids, before.as_slice(), refused);
        assert_eq!(status[0].created, created, "{what}");
        assert_eq!(status[0].topic_id.as_deref(), found, "{what}");
    }
}
