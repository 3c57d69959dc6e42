#![allow(clippy::unwrap_used)]

use k8s_openapi::jiff::Timestamp;
use weir_manifest::PipelineSpec;

use super::*;
use crate::conditions;

/// A resource of generation 3, whose status has this condition for the generation `seen`.
fn shop(seen: i64, condition: Condition) -> ClickstreamPipeline {
    let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
    resource.metadata.generation = Some(3);
    let conditions = conditions::merged(&[], &[condition], seen, Timestamp::UNIX_EPOCH);
    resource.status = Some(PipelineStatus { conditions, ..PipelineStatus::default() });
    resource
}

/// Otherwise a new object of the newest document would be reported as one that was deleted.
#[test]
fn objects_are_settled_only_for_the_newest_generation() {
    let condition = |type_, status| Condition::new(type_, status, "Said", "so");
    let synced = |status| condition(ConditionType::ObjectsSynced, status);
    assert!(rollout::is_settled(&shop(3, synced(ConditionStatus::True))));
    assert!(
        !rollout::is_settled(&shop(2, synced(ConditionStatus::True))),
        "synced before the document changed"
    );
    assert!(!rollout::is_settled(&shop(3, synced(ConditionStatus::False))));
    assert!(!rollout::is_settled(&shop(3, condition(ConditionType::TopicsSynced, ConditionStatus::True))));
    assert!(!rollout::is_settled(&ClickstreamPipeline::new("shop", PipelineSpec::default())));
}

/// Otherwise objects that are created at their turn would be reported as deleted before.
#[test]
fn objects_that_wait_for_their_turn_are_not_applied_yet() {
    let synced = |reason| Condition::new(ConditionType::ObjectsSynced, ConditionStatus::True, reason, "so");
    for (reason, applied) in [(rollout::PENDING, false), ("Synced", true)] {
        let shop = shop(3, synced(reason));
        assert_eq!((rollout::is_settled(&shop), rollout::is_applied(&shop)), (true, applied), "{reason}");
    }
}

/// Otherwise a pipeline with objects of an older document, or with pods that would refuse their state, would be reported ready.
#[test]
fn without_time_to_read_the_state_earlier_conditions_stand() {
    let error = Error::KafkaBusy { bootstrap: "kafka:9092".to_owned(), threads: 2 };
    let found = |type_, status, reason: &str| Condition::new(type_, status, reason, "so");
    let valid = || found(ConditionType::Valid, ConditionStatus::True, "Valid");
    let synced = || found(ConditionType::ObjectsSynced, ConditionStatus::True, "Synced");
    let differs = || found(ConditionType::Valid, ConditionStatus::False, "StateDiffers");
    for (before, ready) in [
        (vec![(3, valid()), (3, synced())], (ConditionStatus::True, "Running")),
        (vec![(2, valid()), (2, synced())], (ConditionStatus::Unknown, "WaitingForKafka")),
        (vec![(3, differs()), (3, synced())], (ConditionStatus::False, "StateDiffers")),
        (vec![(2, differs()), (3, synced())], (ConditionStatus::True, "Running")),
    ] {
        let reported = before.iter().fold(Vec::new(), |reported, (generation, condition)| {
            conditions::merged(&reported, std::slice::from_ref(condition), *generation, Timestamp::UNIX_EPOCH)
        });
        let status = PipelineStatus { conditions: reported, ..PipelineStatus::default() };
        // The document's condition is from this pass.
        let mut outcome = Outcome {
            status,
            conditions: vec![valid()],
            notes: Vec::new(),
            error: None,
            progressing: false,
            waiting: false,
        };
        keep_state_conditions(&mut outcome, 3, &error);
        let found = conditions::ready(&outcome.conditions);
        assert_eq!((found.status, found.reason.as_str()), ready, "{before:?}");
    }
}
