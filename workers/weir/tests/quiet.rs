//! A pipeline that is quiet for longer than blocks are kept goes on.
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
    let trial = TestPipeline::new("quiet", "quiet-events");
    trial.generate(600);
    trial.run(&["process", "--until-end"]);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", trial.brokers).create().unwrap();
    let mut ends = TopicPartitionList::new();
    for lane in 0..trial.pipeline.spec.topics.results.partitions {
        ends.add_partition_offset(&trial.pipeline.blocks_topic(), lane, Offset::End).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deleted = runtime.block_on(admin.delete_records(&ends, &AdminOptions::new())).unwrap();
    deleted.elements().iter().for_each(|lane| lane.error().unwrap());

    trial.run(&["process", "--until-end"]);
    let report = Audit::connect(&trial.pipeline, trial.brokers).unwrap().compare(true).unwrap();
    assert_eq!(report.records, 600);
}
