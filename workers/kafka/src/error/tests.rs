use rdkafka::error::{KafkaError, RDKafkaErrorCode as C};

use super::*;

#[test]
fn an_absent_broker_is_retried() {
    for code in
        [C::BrokerTransportFailure, C::AllBrokersDown, C::OperationTimedOut, C::RequestTimedOut, C::Resolve]
    {
        assert_eq!(class(code), Class::Retry, "{code:?}");
        for error in [KafkaError::AdminOp(code), KafkaError::MetadataFetch(code)] {
            assert!(matches!(classify("look", &error), Error::Retry(_)), "{error:?}");
        }
    }
}

#[test]
fn errors_of_a_starting_broker_are_retried() {
    for code in [C::ListenerNotFound, C::StaleBrokerEpoch, C::FetchSessionIdNotFound, C::UnknownTopicId] {
        assert_eq!(class(code), Class::Retry, "{code:?}");
    }
}

#[test]
fn missing_permissions_are_fatal() {
    for code in
        [C::TopicAuthorizationFailed, C::GroupAuthorizationFailed, C::TransactionalIdAuthorizationFailed]
    {
        assert_eq!(class(code), Class::Fatal, "{code:?}");
    }
}

#[test]
fn unstable_offsets_are_retried() {
    assert_eq!(class(C::UnstableOffsetCommit), Class::Retry);
}

#[test]
fn a_lost_generation_aborts() {
    for code in [C::IllegalGeneration, C::UnknownMemberId, C::AssignmentLost, C::FencedInstanceId] {
        assert_eq!(class(code), Class::Abort, "{code:?}");
    }
}

#[test]
fn fencing_is_its_own_class() {
    for code in [C::Fenced, C::ProducerFenced, C::InvalidProducerEpoch] {
        assert_eq!(class(code), Class::Fenced, "{code:?}");
    }
}

#[test]
fn unclassified_errors_are_fatal() {
    for code in
        [C::Unknown, C::InvalidRequest, C::UnknownTopicOrPartition, C::Authentication, C::AutoOffsetReset]
    {
        assert_eq!(class(code), Class::Fatal, "{code:?}");
    }
    let without_code = classify("seek", &KafkaError::Seek("what is this".into()));
    assert_eq!(without_code, Error::fatal("could not seek: Seek error: what is this"));
}

#[test]
fn a_fatal_message_says_what_to_do() {
    let error = classify("read t", &KafkaError::MetadataFetch(C::UnknownTopicOrPartition));
    let Error::Fatal(message) = error else { panic!("{error:?}") };
    assert!(message.starts_with("could not read t: "), "{message}");
    assert!(message.ends_with(": create the topic or correct its name"), "{message}");
}

#[test]
fn an_uncertain_outcome_in_a_transaction_aborts() {
    let timed_out = KafkaError::Flush(C::OperationTimedOut);
    assert!(matches!(classify("commit", &timed_out), Error::Retry(_)));
    assert!(matches!(in_transaction("commit", &timed_out), Error::Abort(_)));
    let denied = KafkaError::MessageProduction(C::TopicAuthorizationFailed);
    assert!(matches!(in_transaction("send", &denied), Error::Fatal(_)));
}
