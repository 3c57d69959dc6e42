//! The operator against a real API server and a real broker.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Operator, await_that, cluster, condition, get, namespace, pipeline, topics};

#[test]
fn a_pipelines_topics_and_objects_come_into_being() {
    let ns = namespace("come");
    let _operator = Operator::start(&ns);
    cluster().apply(&pipeline(&ns, "come-shop", "")).unwrap();
    await_that("the objects are there", || condition(&ns, "come-shop", "ObjectsSynced") == "True Synced");
    assert_eq!(condition(&ns, "come-shop", "TopicsSynced"), "True Synced");
    assert_eq!(condition(&ns, "come-shop", "KafkaReachable"), "True Answered");
    assert_eq!(condition(&ns, "come-shop", "Valid"), "True Valid");
    // There are no nodes: the pods stay pending.
    assert_eq!(condition(&ns, "come-shop", "Ready"), "False Progressing");
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
}
