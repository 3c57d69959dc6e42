//! A pipeline goes on after a silence longer than the blocks' retention.
#![allow(clippy::unwrap_used)]

mod support;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use support::TestPipeline;
use weir_audit::Audit;

#[test]
fn blocks_deleted_up_to_the_end_are_not_missing() {
    let test = TestPipeline::new("quiet", "quiet-events");
    test.generate(600);
    test.run(&["process", "--until-end"]);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", test.brokers).create().unwrap();
    let mut ends = TopicPartitionList::new();
    for lane in 0..test.pipeline.spec.topics.results.partitions {
        ends.add_partition_offset(&test.pipeline.blocks_topic(), lane, Offset::End).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deleted = runtime.block_on(admin.delete_records(&ends, &AdminOptions::new())).unwrap();
    deleted.elements().iter().for_each(|lane| lane.error().unwrap());

    test.run(&["process", "--until-end"]);
    let report = Audit::connect(&test.pipeline, test.brokers).unwrap().compare(true).unwrap();
    assert_eq!(report.records, 600);
}
