//! Reporting and writing decisions, and restoring the autoscaler's state from the status.
#![allow(clippy::unwrap_used)]

use weir_manifest::{Autoscaling, PipelineSpec, PipelineStatus};

use super::*;
use crate::autoscale::Sample;
use crate::conditions;
use crate::reconcile::server::server;

/// Two processors, scaled in this mode.
fn shop(mode: AutoscalingMode) -> ClickstreamPipeline {
    let mut spec = PipelineSpec::default();
    spec.processor.replicas = 2;
    spec.processor.autoscaling.mode = mode;
    let mut resource = ClickstreamPipeline::new("shop", spec);
    resource.metadata.namespace = Some("web".to_owned());
    resource
}

/// Sets the autoscaler's condition in the status.
fn set_condition(resource: &mut ClickstreamPipeline, condition: Condition) {
    let conditions = conditions::merged(&[], &[condition], 1, Timestamp::now());
    resource.status = Some(PipelineStatus { conditions, ..PipelineStatus::default() });
}

/// A Kafka connection that always fails: no client accepts such a certificate.
fn failing_connection() -> Connection {
    let mut connection = Connection::new("127.0.0.1:1");
    connection.encrypt(Some("none"), None);
    connection
}

fn decision(replicas: i32, reason: Reason) -> Decision {
    let measured = Measured { lag: 9_000, arriving: 25.0, processed: 10.0, capacity: None };
    Decision { replicas, reason, measured: Some(measured) }
}

/// The decision from this state, and the capacity: in the fifty seconds after `at` the input is 100/s and one processor's capacity
/// 10/s, so more are wanted as soon as the cooldown allows.
fn decided(mut memory: Memory, at: Timestamp) -> (i32, Reason, Option<f64>) {
    let settings = Autoscaling { min_replicas: 1, max_replicas: 6, ..Autoscaling::default() };
    let samples = [(0, 0), (50, 5_000)].map(|(second, end)| Sample {
        at: at.as_millisecond() + second * 1_000,
        committed: 0,
        end,
    });
    let [_, decided] = samples.map(|sample| {
        memory.decide(&settings, 6, Now { at: sample.at, replicas: 1, ready: 1, sample: Some(sample) })
    });
    (decided.replicas, decided.reason, decided.measured.and_then(|measured| measured.capacity))
}

/// Status, reason and message of the condition.
fn condition_fields(scaled: &Scaled) -> Option<(ConditionStatus, &str, &str)> {
    let condition = scaled.condition.as_ref()?;
    assert_eq!(condition.type_, ConditionType::ScalingActive);
    Some((condition.status, &condition.reason, &condition.message))
}

#[tokio::test]
async fn without_a_sample_the_number_stays_and_the_condition_is_false() {
    let (context, asked) = server(500, "");
    let mut resource = shop(AutoscalingMode::Lag);
    // The report of the last change is replaced.
    set_condition(
        &mut resource,
        Condition::new(ConditionType::ScalingActive, ConditionStatus::True, "ScaleUp", "goes from 1 to 2"),
    );
    let before =
        AutoscalingStatus { desired_replicas: 2, events_per_processor: Some(12), ..Default::default() };
    let mut status = Some(before.clone());
    let scaled =
        scale(&context, &resource, &Pipeline::from(&resource), &failing_connection(), 2, &mut status).await;
    let message = "the offsets could not be read from Kafka: the number of processors stays";
    assert_eq!(condition_fields(&scaled), Some((ConditionStatus::False, "NoSample", message)));
    assert!(scaled.notes.is_empty() && scaled.error.is_none() && asked.lock().unwrap().is_empty());
    assert_eq!(status, Some(before));
}

#[tokio::test]
async fn a_restarted_operator_restores_its_state_from_the_status() {
    let (context, _) = server(500, "");
    let resource = shop(AutoscalingMode::Lag);
    let capacity = || context.memory(&("web".to_owned(), "shop".to_owned())).unwrap().capacity();
    for stored in [12, 99] {
        let mut status = Some(AutoscalingStatus { events_per_processor: Some(stored), ..Default::default() });
        scale(&context, &resource, &Pipeline::from(&resource), &failing_connection(), 2, &mut status).await;
        assert_eq!(capacity(), Some(12.0));
    }
}

#[tokio::test]
async fn a_dry_run_reports_a_decision_once_and_writes_nothing() {
    let (context, asked) = server(500, "");
    let resource = shop(AutoscalingMode::LagDryRun);
    let memory = Memory::new(Some(12), None);
    let mut status = None;
    for (replicas, text) in [(3, "would go from 2 to 3"), (6, "would go from 2 to 6")] {
        let more = decision(replicas, Reason::ScaleUp);
        let scaled = apply_decision(&context, &resource, &more, &memory, &mut status).await;
        let (condition_status, reason, message) = condition_fields(&scaled).unwrap();
        assert_eq!((condition_status, reason), (ConditionStatus::True, "ScaleUp"));
        assert!(message.starts_with(text), "{message}");
        assert_eq!(scaled.notes.iter().map(|event| &*event.note).collect::<Vec<_>>(), [message]);
        let first = status.clone().unwrap();
        assert_eq!((first.desired_replicas, first.events_per_processor), (replicas, Some(12)));
        // The same decision with newer rates changes neither condition nor status.
        let again = Decision { measured: None, ..more };
        let scaled = apply_decision(&context, &resource, &again, &memory, &mut status).await;
        assert!(scaled.condition.is_none() && scaled.notes.is_empty(), "{scaled:?}");
        assert_eq!(status.as_ref(), Some(&first));
    }
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
    // It was not applied, so nothing has changed; and an operator that has just started measuring decides nothing else.
    assert_eq!(status.as_ref().and_then(|status| status.last_scale_time.as_ref()), None);
    let hold = |reason| Decision { replicas: 2, reason, measured: None };
    for (reason, desired) in
        [(Reason::Measuring, 6), (Reason::Settling, 6), (Reason::NoSample, 6), (Reason::Steady, 2)]
    {
        let scaled = apply_decision(&context, &resource, &hold(reason), &memory, &mut status).await;
        assert!(scaled.notes.is_empty(), "{scaled:?}");
        assert_eq!(status.as_ref().map(|status| status.desired_replicas), Some(desired), "{reason:?}");
    }
}

#[tokio::test]
async fn a_failed_write_is_not_reported_as_done() {
    let forbidden = r#"{"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "may not patch", "code": 403}"#;
    let (context, asked) = server(403, forbidden);
    let mut status = None;
    let more = decision(3, Reason::ScaleUp);
    let scaled =
        apply_decision(&context, &shop(AutoscalingMode::Lag), &more, &Memory::default(), &mut status).await;
    let (condition_status, reason, message) = condition_fields(&scaled).unwrap();
    assert_eq!((condition_status, reason), (ConditionStatus::False, "Forbidden"));
    assert!(message.contains("scale shop") && message.contains("may not patch"), "{message}");
    assert!(scaled.error.is_some() && scaled.notes.is_empty() && status.is_none());
    let path = "PATCH /apis/weir.dev/v1alpha1/namespaces/web/clickstreampipelines/shop/scale";
    assert_eq!(*asked.lock().unwrap(), [path]);
}

#[tokio::test]
async fn only_a_successful_write_starts_the_cooldown() {
    for (mode, answer, reason) in [
        (AutoscalingMode::Lag, 200, Reason::CoolingDown),
        (AutoscalingMode::Lag, 403, Reason::ScaleUp),
        (AutoscalingMode::LagDryRun, 200, Reason::ScaleUp),
    ] {
        let (context, _) =
            server(answer, r#"{"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}}"#);
        let mut resource = shop(mode);
        resource.spec.processor.autoscaling.min_replicas = 4;
        let capacity = AutoscalingStatus { events_per_processor: Some(10), ..AutoscalingStatus::default() };
        let scaled = scale(
            &context,
            &resource,
            &Pipeline::from(&resource),
            &failing_connection(),
            2,
            &mut Some(capacity),
        )
        .await;
        assert_eq!(scaled.error.is_some(), answer == 403, "{scaled:?}");
        let memory = context.memory(&("web".to_owned(), "shop".to_owned())).unwrap();
        assert_eq!(decided(memory, Timestamp::now()).1, reason, "{mode:?} {answer}");
    }
}

#[tokio::test]
async fn a_suspended_pipeline_is_neither_sampled_nor_scaled() {
    let (context, asked) = server(500, "");
    let mut resource = shop(AutoscalingMode::Lag);
    resource.spec.state = State::Suspended;
    // Otherwise it would be scaled to its bounds at once.
    resource.spec.processor.autoscaling.min_replicas = 4;
    let before = AutoscalingStatus { desired_replicas: 2, ..AutoscalingStatus::default() };
    let mut status = Some(before.clone());
    let scaled =
        scale(&context, &resource, &Pipeline::from(&resource), &failing_connection(), 0, &mut status).await;
    assert_eq!(
        condition_fields(&scaled),
        Some((ConditionStatus::FalseForNow, "Suspended", "spec.state is Suspended"))
    );
    assert!(scaled.notes.is_empty() && scaled.error.is_none() && asked.lock().unwrap().is_empty());
    assert_eq!(status, Some(before));
    assert!(context.memory(&("web".to_owned(), "shop".to_owned())).is_none());
}

#[tokio::test]
async fn turning_autoscaling_off_is_reported_only_if_it_was_on() {
    let (context, _) = server(500, "");
    let mut resource = shop(AutoscalingMode::Disabled);
    let mut status = Some(AutoscalingStatus::default());
    let scaled =
        scale(&context, &resource, &Pipeline::from(&resource), &failing_connection(), 2, &mut status).await;
    assert!(scaled.condition.is_none() && status.is_none(), "{scaled:?} {status:?}");
    set_condition(
        &mut resource,
        Condition::new(
            ConditionType::ScalingActive,
            ConditionStatus::True,
            "Steady",
            "2 processors are right",
        ),
    );
    let scaled =
        scale(&context, &resource, &Pipeline::from(&resource), &failing_connection(), 2, &mut status).await;
    assert_eq!(
        condition_fields(&scaled).map(|(status, reason, _)| (status, reason)),
        Some((ConditionStatus::FalseForNow, "Off"))
    );
}

#[test]
fn the_status_holds_the_capacity_and_the_last_change() {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let status = |changed: &str, capacity| AutoscalingStatus {
        last_scale_time: Some(changed.to_owned()),
        events_per_processor: capacity,
        ..AutoscalingStatus::default()
    };
    let now = remembered(Some(&status(&at.to_string(), Some(10))));
    assert_eq!(now.capacity(), Some(10.0));
    assert_eq!(decided(now, at), (1, Reason::CoolingDown, Some(10.0)));
    let long_ago = remembered(Some(&status("2023-11-14T00:00:00Z", Some(10))));
    assert_eq!(decided(long_ago, at), (6, Reason::ScaleUp, Some(10.0)));
    // Absent or unreadable values.
    for memory in [remembered(None), remembered(Some(&status("yesterday", None)))] {
        assert_eq!(decided(memory, at).1, Reason::ScaleUp);
    }
}
