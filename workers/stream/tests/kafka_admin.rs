//! Topics on a real Kafka.
#![allow(clippy::unwrap_used)]

mod kafka;

use std::collections::BTreeSet;

use kafka::{Cluster, name, spec};
use weir_spec::Management;
use weir_stream::kafka::admin::{Admin, AdminError, Change, ensure_topics};

fn change(cluster: &Cluster, spec: weir_spec::TopicSpec) -> Change {
    let outcomes = ensure_topics(cluster.bootstrap(), std::slice::from_ref(&spec)).unwrap();
    assert_eq!((outcomes.len(), &outcomes[0].name), (1, &spec.name));
    outcomes.into_iter().next().unwrap().change
}

#[test]
fn a_topic_is_created_with_its_settings_and_then_left_alone() {
    let cluster = Cluster::shared();
    let spec = spec(&name(), 3, &[("retention.ms", "7200000"), ("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(change(&cluster, spec.clone()), Change::Created);
    assert_eq!(Admin::new(cluster.bootstrap(), &[]).unwrap().partition_count(&spec.name).unwrap(), 3);
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
    assert_eq!(cluster.setting(&before.name, "retention.ms").as_deref(), Some("2000"));
    assert_eq!(cluster.setting(&before.name, "max.message.bytes").as_deref(), Some("5000"));
}

#[test]
fn other_partitions_are_refused_before_anything_changes() {
    let cluster = Cluster::shared();
    let (four, old, new) = (name(), name(), name());
    change(&cluster, spec(&four, 4, &[]));
    change(&cluster, spec(&old, 1, &[("retention.ms", "1000")]));
    let wanted = [spec(&new, 1, &[]), spec(&old, 1, &[("retention.ms", "2000")]), spec(&four, 6, &[])];
    let error = ensure_topics(cluster.bootstrap(), &wanted).unwrap_err();
    let expected = format!(
        "topic {four} has 4 partitions, the pipeline says 6: say 4 in the pipeline, or give it a new topic"
    );
    assert_eq!(error.to_string(), expected);
    let missing = Admin::new(cluster.bootstrap(), &[]).unwrap().partition_count(&new).unwrap_err();
    assert_eq!(missing, AdminError::Missing { topic: new });
    assert_eq!(cluster.setting(&old, "retention.ms").as_deref(), Some("1000"));
}

#[test]
fn an_external_topic_is_only_looked_at() {
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
fn what_kafka_refuses_is_told_with_the_topic() {
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
fn a_topic_made_anew_has_another_id() {
    let cluster = Cluster::shared();
    let admin = Admin::new(cluster.bootstrap(), &[]).unwrap();
    let (first, second, missing) = (name(), name(), name());
    admin.ensure_topics(&[spec(&first, 1, &[]), spec(&second, 2, &[])]).unwrap();
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
    admin.ensure_topics(&[spec(&first, 1, &[])]).unwrap();
    let after = ids(&[&first, &second]);
    assert_ne!(after[&first], before[&first]);
    assert_eq!(after[&second], before[&second]);
}
