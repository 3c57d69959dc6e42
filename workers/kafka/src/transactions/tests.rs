#![allow(clippy::unwrap_used)]
//! Calls that never return, on librdkafka's mock broker.

use rdkafka::mocking::MockCluster;

use super::*;

fn cluster() -> MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("in", 1, 1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    cluster
}

fn options(
    cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
) -> super::super::MemberOptions {
    let mut options = super::super::MemberOptions::new(&cluster.bootstrap_servers(), "group", "in", "id");
    options.transaction_timeout = Duration::from_secs(2);
    options
}

fn write(transactions: &mut Transactions) -> Result<(), Error> {
    transactions.begin()?;
    let value = Some(b"value".to_vec());
    let output = Output { topic: "out".to_owned(), partition: 0, key: None, value, headers: Vec::new() };
    transactions.send(&output)?;
    transactions.commit("in", &[], None)
}

#[test]
fn a_hanging_commit_aborts_only_its_transaction() {
    let cluster = cluster();
    let mut transactions = Transactions::take_over(&options(&cluster)).unwrap();
    write(&mut transactions).unwrap();
    transactions.hangs = Some(Hangs::Commit);
    let given_up = write(&mut transactions);
    let Err(Error::Abort(why)) = given_up else { panic!("{given_up:?}") };
    assert!(why.contains("did not return for"), "{why}");
    assert!(matches!(transactions.begin(), Err(Error::Abort(_))), "not before a restart");
    transactions.restart().unwrap();
    write(&mut transactions).unwrap();
}

#[test]
fn fencing_by_an_own_earlier_attempt_aborts() {
    let cluster = cluster();
    let mut transactions = Transactions::take_over(&options(&cluster)).unwrap();
    transactions.unanswered.set(1);
    transactions.opened = Some(Instant::now());
    assert!(matches!(transactions.fenced("commit"), Error::Abort(_)));
    assert!(
        matches!(transactions.fenced("commit"), Error::Fatal(_)),
        "a second fencing is by another process"
    );
}

#[test]
fn too_many_abandoned_calls_are_fatal() {
    let cluster = cluster();
    let mut transactions = Transactions::take_over(&options(&cluster)).unwrap();
    transactions.hung = MAX_HUNG - 1;
    transactions.restart().unwrap();
    transactions.hangs = Some(Hangs::Commit);
    assert!(matches!(write(&mut transactions), Err(Error::Abort(_))));
    let Err(Error::Fatal(why)) = transactions.restart() else { panic!("it goes on") };
    assert!(why.starts_with("50 calls of the Kafka client did not return"), "{why}");
}
