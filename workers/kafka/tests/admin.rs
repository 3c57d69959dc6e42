//! Topics on a real Kafka.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::collections::BTreeSet;

use cluster::{Cluster, name, spec};
use weir_kafka::Connection;
use weir_kafka::admin::{Admin, AdminError, Change, ensure_topics};
use weir_manifest::Management;

fn change(cluster: &Cluster, spec: weir_manifest::TopicSpec) -> Change {
    let outcomes = ensure_topics(cluster.bootstrap(), std::slice::from_ref(&spec)).unwrap();
    assert_eq!((outcomes.len(), &outcomes[0].name), (1, &spec.name));
    outcomes.into_iter().next().unwrap().change
}

#[test]
fn a_topic_is_created_with_its_settings_and_then_left_alone() {
    let cluster = Cluster::shared();
    let spec = spec(&name(), 3, &[("retention.ms", "7200000"), ("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(change(&cluster, spec.clone()), Change::Created);
    assert_eq!(
        Admin::new(&Connection::new(cluster.bootstrap(), "weir-admin"))
            .unwrap()
            .partition_count(&spec.name)
            .unwrap(),
        3
    );
    assert_eq!(cluster.setting(&spec.name, "retention.ms").as_deref(), Some("7200000"));
    assert_eq!(cluster.setting(&spec.name, "message.timestamp.type").as_deref(), Some("LogAppendTime"));
    assert_eq!(change(&cluster, spec), Change::Unchanged);
}

#[test]
fn a_differing_setting_is_updated_and_others_stay() {
    let cluster = Cluster::shared();
    let before = spec(&name(), 1, &[("retention.ms", "1000"), ("max.message.bytes", "5000")]);
    change(&cluster, before.clone());
    let after = spec(&before.name, 1, &[("retention.ms", "2000")]);
    assert_eq!(change(&cluster, after), Change::Updated(BTreeSet::from(["retention.ms".to_owned()])));
    cluster.await_setting(&before.name, "retention.ms", "2000");
    assert_eq!(cluster.setting(&before.name, "max.message.bytes").as_deref(), Some("5000"));
}

#[test]
fn min_in_sync_replicas_never_exceed_the_replicas() {
    let cluster = Cluster::shared();
    let before = spec(&name(), 1, &[("min.insync.replicas", "1"), ("retention.ms", "1000")]);
    change(&cluster, before.clone());
    let mut after = spec(&before.name, 1, &[("min.insync.replicas", "2"), ("retention.ms", "2000")]);
    after.replicas = 3;
    let outcome = ensure_topics(cluster.bootstrap(), std::slice::from_ref(&after)).unwrap().remove(0);
    assert_eq!(outcome.change, Change::Updated(BTreeSet::from(["retention.ms".to_owned()])));
    assert_eq!(cluster.setting(&before.name, "min.insync.replicas").as_deref(), Some("1"));
    let warning = outcome.warning(&after).unwrap();
    assert!(
        warning.contains("keeps 1 of the 3 copies") && warning.contains("kafka-reassign-partitions"),
        "{warning}"
    );
}

#[test]
fn other_partitions_are_refused_before_anything_changes() {
    let cluster = Cluster::shared();
    let (four, old, new) = (name(), name(), name());
    change(&cluster, spec(&four, 4, &[]));
    change(&cluster, spec(&old, 1, &[("retention.ms", "1000")]));
    let wanted = [spec(&new, 1, &[]), spec(&old, 1, &[("retention.ms", "2000")]), spec(&four, 6, &[])];
    let error = ensure_topics(cluster.bootstrap(), &wanted).unwrap_err();
    assert!(error.to_string().starts_with(&format!("topic {four} has 4 partitions, the pipeline says 6\n")));
    let missing = Admin::new(&Connection::new(cluster.bootstrap(), "weir-admin"))
        .unwrap()
        .partition_count(&new)
        .unwrap_err();
    assert_eq!(missing, AdminError::Missing { topic: new });
    assert_eq!(cluster.setting(&old, "retention.ms").as_deref(), Some("1000"));
}

#[test]
fn an_external_topic_is_only_checked() {
    let cluster = Cluster::shared();
    let mut external = spec(&name(), 2, &[("retention.ms", "1000")]);
    external.management = Management::External;
    let missing = ensure_topics(cluster.bootstrap(), std::slice::from_ref(&external)).unwrap_err();
    assert_eq!(missing, AdminError::Missing { topic: external.name.clone() });
    change(&cluster, spec(&external.name, 2, &[("retention.ms", "5000")]));
    assert_eq!(change(&cluster, external.clone()), Change::Unchanged);
    assert_eq!(cluster.setting(&external.name, "retention.ms").as_deref(), Some("5000"));
}

#[test]
fn a_refusal_by_kafka_names_the_topic() {
    let cluster = Cluster::shared();
    let mut spec = spec(&name(), 1, &[]);
    spec.replicas = 9;
    let error = ensure_topics(cluster.bootstrap(), &[spec.clone()]).unwrap_err();
    assert!(matches!(&error, AdminError::Refused { topic, .. } if *topic == spec.name), "{error}");
}

#[test]
fn an_absent_broker_is_named() {
    let error = ensure_topics("127.0.0.1:1", &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("no kafka broker answered at 127.0.0.1:1 within 10 s: "),
        "{error}"
    );
}

#[test]
fn a_recreated_topic_has_another_id() {
    let cluster = Cluster::shared();
    let admin = Admin::new(&Connection::new(cluster.bootstrap(), "weir-admin")).unwrap();
    let (first, second, missing) = (name(), name(), name());
    admin.ensure_topics(&[spec(&first, 1, &[]), spec(&second, 2, &[])], |_| false).unwrap();
    let ids = |topics: &[&str]| admin.ids(topics).unwrap();
    let before = ids(&[&first, &second, &missing]);
    assert_eq!(before.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&first, &second]));
    assert!(before[&first] != before[&second] && before.values().all(|id| id.len() == 22), "{before:?}");
    assert_eq!(ids(&[&first, &second]), before);

    admin.delete_topics(&[&first, &missing]).unwrap();
    while admin.topics().unwrap().contains_key(&first) {
        std::thread::yield_now();
    }
    assert_eq!(ids(&[&first]).len(), 0);
    admin.ensure_topics(&[spec(&first, 1, &[])], |_| false).unwrap();
    let after = ids(&[&first, &second]);
    assert_ne!(after[&first], before[&first]);
    assert_eq!(after[&second], before[&second]);
}

#[test]
fn destructive_changes_of_topics_that_others_created_are_refused() {
    let cluster = Cluster::shared();
    let admin = Admin::new(&Connection::new(cluster.bootstrap(), "weir-admin")).unwrap();
    let fortnight =
        [("retention.ms", "1209600000"), ("cleanup.policy", "compact"), ("compression.type", "zstd")];
    let (old, new) = (spec(&name(), 1, &fortnight), spec(&name(), 1, &[]));
    change(&cluster, old.clone());
    let hours = [("retention.ms", "7200000"), ("cleanup.policy", "delete"), ("compression.type", "gzip")];
    let wanted = [new.clone(), spec(&old.name, 1, &hours)];
    let error = admin.ensure_topics(&wanted, |_| false).unwrap_err();
    let AdminError::NotOurs(differences) = &error else { panic!("{error}") };
    let messages: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let has = |text: &str| format!("topic {} has {text}", old.name);
    assert_eq!(
        messages,
        [
            has("cleanup.policy=compact, the pipeline says delete"),
            has("retention.ms=1209600000 (14 d), the pipeline says 7200000 (2 h)"),
        ]
    );
    // Nothing was changed, not even harmless settings.
    cluster.await_setting(&old.name, "compression.type", "zstd");
    cluster.await_setting(&old.name, "retention.ms", "1209600000");
    assert!(!admin.topics().unwrap().contains_key(&new.name));
    admin.ensure_topics(&wanted, |topic| topic == old.name).unwrap();
    assert_eq!(cluster.setting(&old.name, "cleanup.policy").as_deref(), Some("delete"));
}

#[test]
fn a_topic_has_one_owner_until_it_is_taken_over_or_recreated() {
    let cluster = Cluster::shared();
    let admin = Admin::new(&Connection::new(cluster.bootstrap(), "weir-admin")).unwrap();
    let topic = spec(&name(), 1, &[]);
    admin.ensure_topics(std::slice::from_ref(&topic), |_| false).unwrap();
    let ids = admin.ids(&[&topic.name]).unwrap();
    let claim = |spec: &str, ours, take_over| {
        let others = admin.claim_topics(spec, &ids, |_| ours, |_| take_over).unwrap();
        others.into_values().next().map(|owner| owner.pipeline)
    };
    assert!(admin.owners(&ids).unwrap().is_empty());
    assert_eq!(claim("one", true, false), None);
    assert_eq!(claim("two", true, false).as_deref(), Some("one"));
    // A repeated claim keeps the record that it created the topic.
    assert_eq!(claim("one", false, false), None);
    let owner = |ids| admin.owners(ids).unwrap().remove(&topic.name);
    assert!(owner(&ids).is_some_and(|owner| owner.pipeline == "one" && owner.ours && owner.since > 0));
    assert_eq!(claim("two", false, true), None);
    assert_eq!(claim("one", false, false).as_deref(), Some("two"));
    assert!(owner(&ids).is_some_and(|owner| owner.pipeline == "two" && !owner.ours));

    admin.delete_topics(&[&topic.name]).unwrap();
    while admin.topics().unwrap().contains_key(&topic.name) {
        std::thread::yield_now();
    }
    admin.ensure_topics(std::slice::from_ref(&topic), |_| false).unwrap();
    assert_eq!(owner(&admin.ids(&[&topic.name]).unwrap()), None);
}
