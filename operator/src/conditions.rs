//! Conditions of a pipeline, and the events of their transitions. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as ApiCondition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::Error;

/// Condition types, in the order of their dependencies; [`ConditionType::Ready`] follows from all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// All of the below.
    Ready,
    /// The document and the Secrets that it names are valid.
    Valid,
    /// Kafka answers.
    KafkaReachable,
    /// The topics are in sync.
    TopicsSynced,
    /// The objects are in sync.
    ObjectsSynced,
    /// The newest settings are those that results are counted with.
    Generation,
    /// The processors run.
    ProcessorAvailable,
    /// The gateway runs.
    GatewayAvailable,
    /// The generator runs.
    GeneratorAvailable,
    /// The autoscaler decides.
    ScalingActive,
    /// No other operator's scope includes the pipeline.
    SoleOperator,
}

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ready,
        Self::Valid,
        Self::KafkaReachable,
        Self::TopicsSynced,
        Self::ObjectsSynced,
        Self::Generation,
        Self::ProcessorAvailable,
        Self::GatewayAvailable,
        Self::GeneratorAvailable,
        Self::ScalingActive,
        Self::SoleOperator,
    ];

    /// The condition's type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Valid => "Valid",
            Self::KafkaReachable => "KafkaReachable",
            Self::TopicsSynced => "TopicsSynced",
            Self::ObjectsSynced => "ObjectsSynced",
            Self::Generation => "Generation",
            Self::ProcessorAvailable => "ProcessorAvailable",
            Self::GatewayAvailable => "GatewayAvailable",
            Self::GeneratorAvailable => "GeneratorAvailable",
            Self::ScalingActive => "ScalingActive",
            Self::SoleOperator => "SoleOperator",
        }
    }
}

/// The status of a condition, with its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// Met.
    True,
    /// Met, with a warning that is reported as an event.
    TrueWithWarning,
    /// Not met, as expected for now.
    FalseForNow,
    /// Not met; somebody may have to act.
    False,
    /// Not checked.
    Unknown,
}

impl ConditionStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True | Self::TrueWithWarning => "True",
            Self::FalseForNow | Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition as a pass found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The type.
    pub type_: ConditionType,
    /// The status.
    pub status: ConditionStatus,
    /// The reason, for programs.
    pub reason: String,
    /// The message, for people.
    pub message: String,
}

impl Condition {
    /// A condition.
    pub fn new(
        type_: ConditionType,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, status, reason: reason.into(), message: message.into() }
    }

    /// The condition that an error leads to.
    pub fn of(type_: ConditionType, error: &Error) -> Self {
        Self::new(type_, ConditionStatus::False, error.reason(), error.to_string())
    }

    /// The reported condition, if it is of this generation of the document.
    pub fn repeated(type_: ConditionType, reported: &[ApiCondition], generation: i64) -> Option<Self> {
        let of = |reported: &&ApiCondition| {
            reported.type_ == type_.as_str() && reported.observed_generation == Some(generation)
        };
        let reported = reported.iter().find(of)?;
        let status = match reported.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        Some(Self::new(type_, status, &reported.reason, &reported.message))
    }
}

/// A note that is emitted once, as a Kubernetes event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventNote {
    /// Whether somebody may have to act.
    pub warning: bool,
    /// The reason, for programs.
    pub reason: String,
    /// The action.
    pub action: &'static str,
    /// The message, for people.
    pub note: String,
}

/// The Ready condition: it repeats the first condition that is not met.
pub fn ready(conditions: &[Condition]) -> Condition {
    let rank = |status| match status {
        ConditionStatus::False => 0,
        ConditionStatus::FalseForNow => 1,
        ConditionStatus::Unknown => 2,
        ConditionStatus::True | ConditionStatus::TrueWithWarning => 3,
    };
    let beside = [ConditionType::ScalingActive, ConditionType::SoleOperator];
    let decisive = conditions.iter().filter(|condition| !beside.contains(&condition.type_));
    match decisive.min_by_key(|condition| (rank(condition.status), condition.type_)) {
        Some(condition) if rank(condition.status) < 3 => {
            Condition { type_: ConditionType::Ready, ..condition.clone() }
        }
        _ => Condition::new(ConditionType::Ready, ConditionStatus::True, "Running", "all conditions are met"),
    }
}

/// Merges new conditions into the reported ones: the time changes only with the status, and types that were not checked stay.
pub fn merged(
    before: &[ApiCondition],
    conditions: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<ApiCondition> {
    let mut merged: Vec<ApiCondition> = before.to_vec();
    for condition in conditions {
        let type_ = condition.type_.as_str();
        let status = condition.status.as_str();
        let old = merged.iter().position(|old| old.type_ == type_);
        let since = match old.map(|at| &merged[at]) {
            Some(old) if old.status == status => old.last_transition_time.clone(),
            // Kubernetes keeps whole seconds, and a status that differs in the rest would be written again.
            _ => Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        };
        let new = ApiCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: condition.reason.clone(),
            message: shortened(&condition.message, 32_768),
            observed_generation: Some(generation),
            last_transition_time: since,
        };
        match old {
            Some(at) => merged[at] = new,
            None => merged.push(new),
        }
    }
    merged
}

/// Events for conditions whose status or reason changed. A reason that several conditions share is emitted once.
pub fn transitions(before: &[ApiCondition], conditions: &[Condition]) -> Vec<EventNote> {
    let mut notes: Vec<EventNote> = Vec::new();
    // Ready last: it repeats the reason of another condition, or sums up.
    let (ready, others): (Vec<_>, Vec<_>) =
        conditions.iter().partition(|condition| condition.type_ == ConditionType::Ready);
    for condition in others.into_iter().chain(ready) {
        let old = before.iter().find(|old| old.type_ == condition.type_.as_str());
        let changed =
            old.is_none_or(|old| old.status != condition.status.as_str() || old.reason != condition.reason);
        let noted = notes.iter().any(|note| note.reason == condition.reason);
        let notable = match condition.status {
            ConditionStatus::False | ConditionStatus::TrueWithWarning => true,
            ConditionStatus::True => {
                condition.type_ == ConditionType::Ready || old.is_some_and(|old| old.status == "False")
            }
            ConditionStatus::FalseForNow | ConditionStatus::Unknown => {
                condition.type_ == ConditionType::Ready
            }
        };
        if changed && notable && !noted {
            notes.push(EventNote {
                warning: condition.status == ConditionStatus::False,
                reason: condition.reason.clone(),
                action: "Reconcile",
                note: shortened(&format!("{}: {}", condition.type_.as_str(), condition.message), 1_000),
            });
        }
    }
    notes
}

/// Truncates a text to a maximum number of bytes.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - 3).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn yes(type_: ConditionType) -> Condition {
        Condition::new(type_, ConditionStatus::True, "Fine", "fine")
    }

    #[test]
    fn ready_repeats_the_first_unmet_condition() {
        let waiting = Condition::new(
            ConditionType::ProcessorAvailable,
            ConditionStatus::FalseForNow,
            "Progressing",
            "1 of 2",
        );
        let broken =
            Condition::new(ConditionType::GatewayAvailable, ConditionStatus::False, "Broken", "it is");
        let scaling =
            Condition::new(ConditionType::ScalingActive, ConditionStatus::False, "NoSample", "none");
        assert_eq!(ready(&[yes(ConditionType::Valid), scaling.clone()]).status, ConditionStatus::True);
        let both = ready(&[yes(ConditionType::Valid), waiting.clone(), broken]);
        assert_eq!((both.status, both.reason.as_str()), (ConditionStatus::False, "Broken"));
        assert_eq!(ready(&[scaling, waiting]).reason, "Progressing");
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let first = merged(&[], &[yes(ConditionType::Valid)], 1, at(10));
        let other_reason = Condition::new(ConditionType::Valid, ConditionStatus::True, "Other", "other");
        let second = merged(&first, &[other_reason], 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Other", Some(2)));
        let third = merged(
            &second,
            &[Condition::new(ConditionType::Valid, ConditionStatus::False, "Bad", "bad")],
            2,
            at(30),
        );
        assert_eq!(third[0].last_transition_time, Time(at(30)));
        // A condition that was not checked keeps its time.
        assert_eq!(merged(&third, &[yes(ConditionType::Ready)], 3, at(40))[0], third[0]);
    }

    #[test]
    fn transitions_are_emitted_once() {
        let error =
            Condition::new(ConditionType::KafkaReachable, ConditionStatus::False, "KafkaUnreachable", "gone");
        let conditions = [ready(std::slice::from_ref(&error)), error];
        let notes = transitions(&[], &conditions);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].warning && notes[0].note == "KafkaReachable: gone", "{notes:?}");
        let before = merged(&[], &conditions, 1, at(1));
        assert_eq!(transitions(&before, &conditions), []);
        let back = [ready(&[yes(ConditionType::KafkaReachable)]), yes(ConditionType::KafkaReachable)];
        let notes: Vec<_> = transitions(&before, &back).into_iter().map(|event| event.reason).collect();
        assert_eq!(notes, ["Fine", "Running"]);
    }

    #[test]
    fn long_texts_are_cut_at_character_boundaries() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("ab\u{e9}\u{e9}cd", 7), "ab\u{e9}…");
    }
}
