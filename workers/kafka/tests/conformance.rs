//! The conformance suite against a real Kafka.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::thread;
use std::time::Duration;

use cluster::Cluster;
use weir_conformance::{KeyValue, MemberSpec, World};
use weir_kafka::{Member, MemberOptions};

impl World for Cluster {
    type M = Member;

    fn topic(&self, partitions: i32) -> String {
        self.create(partitions, &[])
    }

    fn name(&self) -> String {
        cluster::name()
    }

    fn append(&self, topic: &str, partition: i32, records: &[KeyValue<'_>]) {
        self.write(topic, partition, records);
    }

    fn truncate(&self, topic: &str, partition: i32, before: i64) {
        self.delete_before(topic, partition, before);
    }

    fn headers(&self, topic: &str, partition: i32, offset: i64) -> Vec<(String, String)> {
        self.headers_at(topic, partition, offset)
    }

    fn member(&self, spec: &MemberSpec) -> Member {
        let mut options =
            MemberOptions::new(self.bootstrap(), &spec.group, &spec.topic, &spec.transactional_id);
        options.instance.clone_from(&spec.instance);
        options.session_timeout = spec.session_timeout;
        options.transaction_timeout = spec.transaction_timeout;
        let interval = spec.session_timeout.as_millis().to_string();
        options.connection.properties.push(("max.poll.interval.ms".into(), interval));
        Member::connect(options).unwrap()
    }

    fn pass(&self, time: Duration) {
        // The broker's clock cannot be advanced; it checks timeouts only at intervals.
        thread::sleep(time + Duration::from_secs(1));
    }
}

weir_conformance::conformance!(Cluster::shared());
