//! What is said of a pipeline: conditions, and the events of their transitions. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::Error;

/// What a condition is about. In the order in which one depends on the other; [`Aspect::Ready`] follows from all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// Everything.
    Ready,
    /// The document and the secrets that it names.
    Valid,
    /// Kafka answers.
    KafkaReachable,
    /// The topics are as they should be.
    TopicsSynced,
    /// The objects are as they should be.
    ObjectsSynced,
    /// The processors run.
    ProcessorAvailable,
    /// The gateway runs.
    GatewayAvailable,
    /// The generator runs.
    GeneratorAvailable,
    /// The autoscaler decides.
    ScalingActive,
    /// No other operator has the pipeline in its scope.
    SoleOperator,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ready,
        Self::Valid,
        Self::KafkaReachable,
        Self::TopicsSynced,
        Self::ObjectsSynced,
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
            Self::ProcessorAvailable => "ProcessorAvailable",
            Self::GatewayAvailable => "GatewayAvailable",
            Self::GeneratorAvailable => "GeneratorAvailable",
            Self::ScalingActive => "ScalingActive",
            Self::SoleOperator => "SoleOperator",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// As it should be.
    Yes,
    /// As it should be, with something that is worth telling.
    Remark,
    /// Not as it should be, as was to be expected for now.
    NotYet,
    /// Not as it should be, and someone may have to act.
    No,
    /// Nobody looked.
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Yes | Self::Remark => "True",
            Self::NotYet | Self::No => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What was found of one aspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it is about.
    pub aspect: Aspect,
    /// How it is.
    pub truth: Truth,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl Verdict {
    /// A verdict.
    pub fn new(aspect: Aspect, truth: Truth, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { aspect, truth, reason: reason.into(), message: message.into() }
    }

    /// What an error means for an aspect.
    pub fn of(aspect: Aspect, error: &Error) -> Self {
        Self::new(aspect, Truth::No, error.reason(), error.to_string())
    }

    /// What a condition says about this generation of the document.
    pub fn repeated(aspect: Aspect, conditions: &[Condition], generation: i64) -> Option<Self> {
        let of = |condition: &&Condition| {
            condition.type_ == aspect.as_str() && condition.observed_generation == Some(generation)
        };
        let condition = conditions.iter().find(of)?;
        let truth = match condition.status.as_str() {
            "True" => Truth::Yes,
            "False" => Truth::No,
            _ => Truth::Unknown,
        };
        Some(Self::new(aspect, truth, &condition.reason, &condition.message))
    }
}

/// Something that is told once, as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Whether someone may have to act.
    pub warning: bool,
    /// In one word.
    pub reason: String,
    /// What was being done.
    pub action: &'static str,
    /// For people.
    pub note: String,
}

/// Whether a pipeline is ready: the first aspect that is not as it should be says why not.
pub fn ready(verdicts: &[Verdict]) -> Verdict {
    let rank = |truth| match truth {
        Truth::No => 0,
        Truth::NotYet => 1,
        Truth::Unknown => 2,
        Truth::Yes | Truth::Remark => 3,
    };
    let beside = [Aspect::ScalingActive, Aspect::SoleOperator];
    let decisive = verdicts.iter().filter(|verdict| !beside.contains(&verdict.aspect));
    match decisive.min_by_key(|verdict| (rank(verdict.truth), verdict.aspect)) {
        Some(verdict) if rank(verdict.truth) < 3 => Verdict { aspect: Aspect::Ready, ..verdict.clone() },
        _ => Verdict::new(Aspect::Ready, Truth::Yes, "Running", "everything is as it should be"),
    }
}

/// The conditions after these verdicts: the time changes only with the status, and what nobody looked at stays as it was.
pub fn merged(before: &[Condition], verdicts: &[Verdict], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = before.to_vec();
    for verdict in verdicts {
        let type_ = verdict.aspect.as_str();
        let status = verdict.truth.as_str();
        let old = conditions.iter().position(|condition| condition.type_ == type_);
        let since = match old.map(|at| &conditions[at]) {
            Some(old) if old.status == status => old.last_transition_time.clone(),
            // Kubernetes keeps whole seconds, and a status that differs in the rest would be written again.
            _ => Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        };
        let condition = Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.clone(),
            message: shortened(&verdict.message, 32_768),
            observed_generation: Some(generation),
            last_transition_time: since,
        };
        match old {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

/// What is new: verdicts whose status or reason differs from before. What follows from another verdict is not told twice.
pub fn transitions(before: &[Condition], verdicts: &[Verdict]) -> Vec<News> {
    let mut news: Vec<News> = Vec::new();
    // Ready last: it repeats another's reason, or sums up.
    let (ready, others): (Vec<_>, Vec<_>) =
        verdicts.iter().partition(|verdict| verdict.aspect == Aspect::Ready);
    for verdict in others.into_iter().chain(ready) {
        let old = before.iter().find(|condition| condition.type_ == verdict.aspect.as_str());
        let changed =
            old.is_none_or(|old| old.status != verdict.truth.as_str() || old.reason != verdict.reason);
        let told = news.iter().any(|told| told.reason == verdict.reason);
        let worth = match verdict.truth {
            Truth::No | Truth::Remark => true,
            Truth::Yes => verdict.aspect == Aspect::Ready || old.is_some_and(|old| old.status == "False"),
            Truth::NotYet | Truth::Unknown => verdict.aspect == Aspect::Ready,
        };
        if changed && worth && !told {
            news.push(News {
                warning: verdict.truth == Truth::No,
                reason: verdict.reason.clone(),
                action: "Reconcile",
                note: shortened(&format!("{}: {}", verdict.aspect.as_str(), verdict.message), 1_000),
            });
        }
    }
    news
}

/// A text of at most so many bytes.
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

    fn yes(aspect: Aspect) -> Verdict {
        Verdict::new(aspect, Truth::Yes, "Fine", "fine")
    }

    #[test]
    fn readiness_is_the_first_that_is_not_well() {
        let waiting = Verdict::new(Aspect::ProcessorAvailable, Truth::NotYet, "Progressing", "1 of 2");
        let broken = Verdict::new(Aspect::GatewayAvailable, Truth::No, "Broken", "it is");
        let scaling = Verdict::new(Aspect::ScalingActive, Truth::No, "NoSample", "none");
        assert_eq!(ready(&[yes(Aspect::Valid), scaling.clone()]).truth, Truth::Yes);
        let both = ready(&[yes(Aspect::Valid), waiting.clone(), broken]);
        assert_eq!((both.truth, both.reason.as_str()), (Truth::No, "Broken"));
        assert_eq!(ready(&[scaling, waiting]).reason, "Progressing");
    }

    #[test]
    fn the_time_changes_with_the_status_alone() {
        let first = merged(&[], &[yes(Aspect::Valid)], 1, at(10));
        let other_reason = Verdict::new(Aspect::Valid, Truth::Yes, "Other", "other");
        let second = merged(&first, &[other_reason], 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Other", Some(2)));
        let third = merged(&second, &[Verdict::new(Aspect::Valid, Truth::No, "Bad", "bad")], 2, at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
        // What nobody looked at says when it was looked at last.
        assert_eq!(merged(&third, &[yes(Aspect::Ready)], 3, at(40))[0], third[0]);
    }

    #[test]
    fn what_is_new_is_told_once() {
        let error = Verdict::new(Aspect::KafkaReachable, Truth::No, "KafkaUnreachable", "gone");
        let verdicts = [ready(std::slice::from_ref(&error)), error];
        let told = transitions(&[], &verdicts);
        assert_eq!(told.len(), 1);
        assert!(told[0].warning && told[0].note == "KafkaReachable: gone", "{told:?}");
        let conditions = merged(&[], &verdicts, 1, at(1));
        assert_eq!(transitions(&conditions, &verdicts), []);
        let back = [ready(&[yes(Aspect::KafkaReachable)]), yes(Aspect::KafkaReachable)];
        let told: Vec<_> = transitions(&conditions, &back).into_iter().map(|news| news.reason).collect();
        assert_eq!(told, ["Fine", "Running"]);
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("ab\u{e9}\u{e9}cd", 7), "ab\u{e9}…");
    }
}
