//! A real Kafka, with administrative operations for tests.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use weir_kafka::admin::ensure_topics;
use weir_manifest::{Compression, Management, Role, TopicSpec};

/// A cluster: usually the one shared by all tests of a process.
pub struct Cluster {
    bootstrap: String,
}

/// Key and value of a record.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A unique name, also in a cluster that outlives this process.
pub fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn spec(name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicSpec {
    let settings = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    TopicSpec {
        role: Role::Live,
        name: name.to_owned(),
        partitions,
        replicas: 1,
        compression: Compression::Lz4,
        management: Management::Managed,
        settings: settings.collect::<BTreeMap<_, _>>(),
    }
}

impl Cluster {
    pub fn shared() -> Self {
        Self::at(weir_broker::Kafka::shared())
    }

    pub fn at(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub fn create(&self, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = name();
        ensure_topics(&self.bootstrap, &[spec(&name, partitions, config)]).unwrap();
        name
    }

    pub fn write(&self, topic: &str, partition: i32, records: &[KeyValue<'_>]) {
        // One request at a time preserves the order.
        let producer: BaseProducer =
            self.client().set("enable.idempotence", "true").set("linger.ms", "1").create().unwrap();
        for (key, value) in records {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition);
            (record.key, record.payload) = (*key, *value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    pub fn delete_before(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        let deleted = block_on(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
        deleted.elements()[0].error().unwrap();
    }

    pub fn delete_topic(&self, topic: &str) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|deleted| assert_eq!(deleted.unwrap(), topic));
    }

    pub fn set(&self, topic: &str, key: &str, value: &str) {
        let alter = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        block_on(self.admin().alter_configs([&alter], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    }

    pub fn setting(&self, topic: &str, key: &str) -> Option<String> {
        let resource = ResourceSpecifier::Topic(topic);
        let found = block_on(self.admin().describe_configs([&resource], &AdminOptions::new())).unwrap();
        found.into_iter().next().unwrap().unwrap().get(key)?.value.clone()
    }

    /// Waits until a setting is visible: a broker may briefly return the previous one.
    pub fn await_setting(&self, topic: &str, key: &str, value: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.setting(topic, key).as_deref() != Some(value) {
            assert!(Instant::now() < deadline, "{key} of {topic} does not become {value}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn headers_at(&self, topic: &str, partition: i32, offset: i64) -> Vec<(String, String)> {
        let consumer: BaseConsumer = self.client().set("group.id", "headers").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        consumer.assign(&list).unwrap();
        let message = loop {
            match consumer.poll(Duration::from_secs(30)) {
                Some(message) => break message.unwrap(),
                None => continue,
            }
        };
        assert_eq!(message.offset(), offset);
        let headers = message.headers().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect()
    }

    /// The ids of a group's members.
    pub fn members(&self, group: &str) -> Vec<String> {
        let asker: BaseConsumer = self.client().set("group.id", "members").create().unwrap();
        let groups = asker.fetch_group_list(Some(group), Duration::from_secs(30)).unwrap();
        groups
            .groups()
            .iter()
            .flat_map(|group| group.members())
            .map(|member| member.id().to_owned())
            .collect()
    }

    /// Joins a group under an instance id, and closes without leaving: a static member stays in its group.
    pub fn join_and_vanish(&self, group: &str, topic: &str, instance: &str) {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", group)
            .set("group.instance.id", instance)
            .set("partition.assignment.strategy", "range")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        while consumer.assignment().unwrap().count() == 0 {
            drop(consumer.poll(Duration::from_millis(50)));
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}
