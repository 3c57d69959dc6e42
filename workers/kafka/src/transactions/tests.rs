#![allow(clippy::unwrap_used)]
//! Calls that never return, on librdkafka's mock broker.

use rdkafka::ClientContext as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

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

/// A commit that took as long as a repetition does, with a connection that failed, may have been sent twice, and the first one may
/// still be under way: the next transaction must have another epoch, which is what a new producer begins with.
#[test]
fn a_commit_that_may_have_been_repeated_is_followed_by_a_new_producer() {
    let cluster = cluster();
    let mut transactions = Transactions::take_over(&options(&cluster)).unwrap();
    let producer = |transactions: &Transactions| Arc::clone(transactions.producer.as_ref().unwrap());
    let first = producer(&transactions);
    let is_first = |transactions: &Transactions| Arc::ptr_eq(&producer(transactions), &first);
    transactions.resend_after = Duration::ZERO;
    write(&mut transactions).unwrap();
    write(&mut transactions).unwrap();
    assert!(is_first(&transactions), "no connection failed");
    transactions.resend_after = Duration::MAX;
    first.context().log(RDKafkaLogLevel::Info, "FAIL", "a broker: Disconnected");
    write(&mut transactions).unwrap();
    write(&mut transactions).unwrap();
    assert!(is_first(&transactions), "there was no time to send anything again");
    transactions.resend_after = Duration::ZERO;
    write(&mut transactions).unwrap();
    assert!(is_first(&transactions), "not before the next transaction");
    write(&mut transactions).unwrap();
    assert!(!is_first(&transactions));
}

/// As it happens: librdkafka sends the commit again by itself, and reports success.
#[test]
fn a_commit_whose_connection_failed_is_followed_by_a_new_producer() {
    let cluster = cluster();
    let mut transactions = Transactions::take_over(&options(&cluster)).unwrap();
    let first = Arc::clone(transactions.producer.as_ref().unwrap());
    cluster.request_errors(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT]);
    write(&mut transactions).unwrap();
    write(&mut transactions).unwrap();
    assert!(!Arc::ptr_eq(&first, transactions.producer.as_ref().unwrap()));
}

/// Where the user has silenced failed connections, time alone decides.
#[test]
fn silenced_failures_are_taken_for_granted() {
    let cluster = cluster();
    let mut options = options(&cluster);
    options.connection.properties = vec![("log.connection.close".into(), "false".into())];
    let mut transactions = Transactions::take_over(&options).unwrap();
    let first = Arc::clone(transactions.producer.as_ref().unwrap());
    transactions.resend_after = Duration::ZERO;
    write(&mut transactions).unwrap();
    write(&mut transactions).unwrap();
    assert!(!Arc::ptr_eq(&first, transactions.producer.as_ref().unwrap()));
}
