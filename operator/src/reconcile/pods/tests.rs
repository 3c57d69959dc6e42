#![allow(clippy::unwrap_used)]
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::conditions::{self, ConditionType};

const NOW: &str = "2026-11-29T12:00:00Z";

/// The cause from a pod with one container in this state.
fn cause_of(container: Value) -> Option<Cause> {
    let mut status =
        json!({"name": "processor", "image": "weir:2", "imageID": "", "ready": false, "restartCount": 3});
    status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let pod = json!({"metadata": {"name": "shop-0"}, "status": {"phase": "Running", "containerStatuses": [status]}});
    cause_from_status(&serde_json::from_value(pod).unwrap(), NOW.parse().unwrap())
}

fn ended(at: &str, code: i32, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": "Error", "finishedAt": at, "message": message}})
}

#[test]
fn a_crash_has_one_reason_in_all_states_of_the_container() {
    let crash = ended("2026-11-29T11:59:00Z", 1, "first\nweir: topic events is gone\n\n");
    let expected = Cause::new(
        "CrashLoopBackOff",
        "pod shop-0: container processor: ended with exit code 1: weir: topic events is gone",
    );
    for container in [
        json!({"state": crash}),
        json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": crash}),
        json!({"state": {"running": {}}, "lastState": crash}),
    ] {
        assert_eq!(cause_of(container.clone()), Some(expected.clone()), "{container}");
    }
    // A crash long ago, or exit code 0: the container waits for something else.
    for crash in [ended("2026-11-29T11:00:00Z", 1, ""), ended("2026-11-29T11:59:00Z", 0, "")] {
        assert_eq!(cause_of(json!({"state": {"running": {}}, "lastState": crash})), None);
    }
}

#[test]
fn containers_that_cannot_start_have_a_cause() {
    let waiting = |reason: &str, message: &str| {
        cause_of(json!({"state": {"waiting": {"reason": reason, "message": message}}}))
    };
    let pull = "pod shop-0: container processor: image weir:2 cannot be pulled";
    for (reason, message, expected) in [
        ("ErrImagePull", "not found", Some(("ErrImagePull", format!("{pull}: not found")))),
        ("ImagePullBackOff", "Back-off pulling image \"weir:2\"", Some(("ErrImagePull", pull.to_owned()))),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"weir:2\": ErrImagePull: not found",
            Some(("ErrImagePull", format!("{pull}: not found"))),
        ),
        (
            "CreateContainerError",
            "invalid utf-8",
            Some(("CreateContainerError", "pod shop-0: container processor: invalid utf-8".to_owned())),
        ),
        ("ContainerCreating", "", None),
    ] {
        let expected = expected.map(|(reason, message)| Cause::new(reason, message));
        assert_eq!(waiting(reason, message), expected, "{reason} {message}");
    }
}

fn progressing() -> Condition {
    Condition::new(
        ConditionType::ProcessorAvailable,
        ConditionStatus::FalseForNow,
        "Progressing",
        "processors: 0 of 2 ready",
    )
}

#[test]
fn numbers_in_a_pods_text_do_not_change_the_condition() {
    let apply = |message: &str, over: Option<Duration>, old: Option<&ApiCondition>| {
        with_cause(progressing(), Some(Cause::new("CrashLoopBackOff", message)), over, old)
    };
    let first = apply("pod shop-0: at 12:00:01 it lost 10.0.0.7", None, None);
    assert_eq!((first.status, first.reason.as_str()), (ConditionStatus::FalseForNow, "CrashLoopBackOff"));
    let old = &conditions::merged(&[], std::slice::from_ref(&first), 1, NOW.parse().unwrap())[0];
    assert_eq!(old.last_transition_time, Time(NOW.parse().unwrap()));
    assert_eq!(apply("pod shop-0: at 12:00:09 it lost 10.0.0.8", None, Some(old)), first);
    assert_ne!(apply("pod shop-0: at 12:00:09 it found 10.0.0.8", None, Some(old)), first);
    let over = apply("pod shop-0: it", Some(Duration::from_secs(300)), Some(old));
    assert_eq!(over.status, ConditionStatus::False);
    assert_eq!(over.message, "no progress for 300 s: processors: 0 of 2 ready; pod shop-0: it");
    // Without a cause the deadline is the reason.
    let alone = with_cause(progressing(), None, Some(Duration::from_secs(300)), None);
    assert_eq!(alone.reason, "ProgressDeadlineExceeded");
}

#[test]
fn old_failures_are_not_reported_forever() {
    let event = |reason: &str, last: &str| -> Event {
        let object =
            json!({"metadata": {}, "eventTime": null, "reason": reason, "deprecatedLastTimestamp": last});
        serde_json::from_value(object).unwrap()
    };
    let failed = |at: &str| event("FailedCreate", at);
    let reason = |events: &[Event], since: Option<&str>| {
        let since = since.map(|since| since.parse().unwrap());
        newest_current(events.to_vec(), since, NOW.parse().unwrap()).and_then(|event| event.reason)
    };
    for (at, since, expected) in [
        ("2026-11-29T11:59:00Z", None, true),
        ("2026-11-29T11:59:00Z", Some("2026-11-29T11:58:00Z"), true),
        ("2026-11-29T11:59:00Z", Some("2026-11-29T11:59:00.9Z"), true),
        // A pod was created since.
        ("2026-11-29T11:59:00Z", Some("2026-11-29T11:59:30Z"), false),
        // A controller would have retried by now.
        ("2026-11-29T11:39:00Z", None, false),
    ] {
        let expected = expected.then(|| "FailedCreate".to_owned());
        assert_eq!(reason(&[failed(at)], since), expected, "{at} {since:?}");
    }
    // The volume is mounted: the next step has begun.
    let events = [event("FailedMount", "2026-11-29T11:58:00Z"), event("Pulling", "2026-11-29T11:58:30Z")];
    assert_eq!(reason(&events, None).as_deref(), Some("Pulling"));
    assert_eq!(reason(&[], None), None);
}
