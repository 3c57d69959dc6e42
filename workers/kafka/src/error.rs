//! Maps Kafka's errors to Retry, Abort or Fatal, in this one place.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use weir_log::Error;

/// How to handle an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Transient.
    Retry,
    /// The transaction or the membership is lost; commits stay.
    Abort,
    /// The producer's epoch is outdated: by another process, or because its transaction timed out.
    Fenced,
    /// Manual action is required.
    Fatal,
}

/// Classifies an error by its code. Unknown codes are fatal.
pub(super) fn class(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode as C;
    match code {
        C::BrokerTransportFailure
        | C::AllBrokersDown
        | C::Resolve
        | C::OperationTimedOut
        | C::TimedOutQueue
        | C::WaitingForCoordinator
        | C::WaitCache
        | C::InProgress
        | C::PreviousInProgress
        | C::Retry
        | C::RequestTimedOut
        | C::NetworkException
        | C::BrokerNotAvailable
        | C::LeaderNotAvailable
        | C::NotLeaderForPartition
        | C::PreferredLeaderNotAvailable
        | C::ReplicaNotAvailable
        | C::FencedLeaderEpoch
        | C::UnknownLeaderEpoch
        | C::OffsetNotAvailable
        | C::KafkaStorageError
        | C::NotEnoughReplicas
        | C::NotEnoughReplicasAfterAppend
        | C::NotController
        | C::CoordinatorNotAvailable
        | C::CoordinatorLoadInProgress
        | C::NotCoordinator
        | C::RebalanceInProgress
        | C::ConcurrentTransactions
        | C::UnstableOffsetCommit
        | C::ThrottlingQuotaExceeded
        // Temporary errors of a broker that has just started, and of its clients.
        | C::ListenerNotFound
        | C::StaleBrokerEpoch
        | C::FetchSessionIdNotFound
        | C::InvalidFetchSessionEpoch
        | C::EligibleLeadersNotAvailable
        | C::UnknownTopicId
        | C::MemberIdRequired
        | C::UnreleasedInstanceId => Class::Retry,

        C::State
        | C::MessageTimedOut
        | C::PurgeQueue
        | C::PurgeInflight
        | C::GaplessGuarantee
        | C::Inconsistent
        | C::AssignmentLost
        | C::IllegalGeneration
        | C::UnknownMemberId
        // Rejoining finds out whether another process has the instance id: see `Group::fenced`.
        | C::FencedInstanceId
        | C::FencedMemberEpoch
        | C::StaleMemberEpoch
        | C::PollExceeded
        | C::InvalidTransactionalState
        | C::OutOfOrderSequenceNumber
        | C::UnknownProducerId
        | C::InvalidProducerIdMapping
        | C::TransactionCoordinatorFenced
        | C::OperationNotAttempted => Class::Abort,

        C::Fenced | C::ProducerFenced | C::InvalidProducerEpoch => Class::Fenced,

        _ => Class::Fatal,
    }
}

/// Advice appended to a fatal error.
fn advice(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as C;
    match code {
        C::UnknownTopic | C::UnknownTopicOrPartition | C::UnknownPartition => {
            ": create the topic or correct its name"
        }
        C::Authentication | C::SaslAuthenticationFailed | C::SSL => {
            ": check the credentials and certificates"
        }
        C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed => ": grant this user the access",
        C::MessageSizeTooLarge => {
            ": it is larger than the topic's max.message.bytes, or than what this program sends in one record (1,000,000 bytes)"
        }
        C::InvalidTransactionTimeout => ": it must not exceed the broker's transaction.max.timeout.ms",
        C::InvalidSessionTimeout => {
            ": it must lie between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        _ => "",
    }
}

/// `error`, met while `doing` something, outside transactions.
pub(super) fn classify(doing: &str, error: &KafkaError) -> Error {
    // Of requests such as a description of topics rdkafka does not give the code by that method.
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    match code {
        Some(code) => of_code(doing, code, &error.to_string()),
        None => Error::fatal(format!("could not {doing}: {error}")),
    }
}

/// As [`classify`], from a code and its text. Fencing is fatal here: only a transaction may excuse it.
pub(super) fn of_code(doing: &str, code: RDKafkaErrorCode, text: &str) -> Error {
    let message = format!("could not {doing}: {text}{}", advice(code));
    match class(code) {
        Class::Retry => Error::retry(message),
        Class::Abort => Error::abort(message),
        Class::Fenced | Class::Fatal => Error::fatal(message),
    }
}

/// As [`classify`], inside a transaction: a retriable error leaves the outcome unknown there, so it aborts.
pub(super) fn in_transaction(doing: &str, error: &KafkaError) -> Error {
    let abortable = matches!(error, KafkaError::Transaction(detail) if detail.txn_requires_abort());
    match classify(doing, error) {
        // Some errors recur with every new transaction: those stay fatal.
        Error::Fatal(message) if abortable && !hopeless(error) => Error::Abort(message),
        Error::Retry(message) => Error::Abort(message),
        other => other,
    }
}

fn hopeless(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| !advice(code).is_empty())
}

#[cfg(test)]
mod tests;
