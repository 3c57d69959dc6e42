//! The conformance suite against the in-memory log.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::time::Duration;

use weir_conformance::{KeyValue, MemberSpec, World};
use weir_memory::{Broker, Clock, Member, MemberOptions};

struct Memory {
    broker: Broker,
    names: Cell<u32>,
}

impl Memory {
    fn new() -> Self {
        Self { broker: Broker::new(Clock::Manual(0)), names: Cell::new(0) }
    }
}

impl World for Memory {
    type M = Member;

    fn topic(&self, partitions: i32) -> String {
        let name = self.name();
        self.broker.create_topic(&name, partitions);
        name
    }

    fn name(&self) -> String {
        self.names.set(self.names.get() + 1);
        format!("name-{}", self.names.get())
    }

    fn append(&self, topic: &str, partition: i32, records: &[KeyValue<'_>]) {
        for (key, value) in records {
            self.broker.append(topic, partition, *key, *value, &[]).unwrap();
        }
    }

    fn truncate(&self, topic: &str, partition: i32, before: i64) {
        self.broker.truncate(topic, partition, before).unwrap();
    }

    fn headers(&self, topic: &str, partition: i32, offset: i64) -> Vec<(String, String)> {
        let records = self.broker.records(topic, partition);
        records.into_iter().find(|record| record.offset == offset).unwrap().headers
    }

    fn member(&self, spec: &MemberSpec) -> Member {
        self.broker.member(MemberOptions {
            group: spec.group.clone(),
            topic: spec.topic.clone(),
            instance: spec.instance.clone(),
            transactional_id: spec.transactional_id.clone(),
            session_timeout: spec.session_timeout,
            transaction_timeout: spec.transaction_timeout,
        })
    }

    fn pass(&self, time: Duration) {
        self.broker.advance(time);
    }
}

weir_conformance::conformance!(Memory::new());
