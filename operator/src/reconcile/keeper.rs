//! Which operator reconciles a pipeline that is in the scope of several: the one that the status names, its keeper.
//!
//! Other operators stand back, as contenders: at intervals one writes its name into the status, and the keeper answers by removing
//! it. A keeper that does not answer is gone, and its pipelines are taken over. Times are only compared with the clock of the
//! process that wrote them.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};
use weir_manifest::{ClickstreamPipeline, Contender, PipelineStatus};

use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::{Context, Resource};
use crate::error::api;
use crate::object::MANAGER;
use crate::{Error, events};

/// A keeper that does not answer within this time is gone.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum concurrent answers: a thousand pipelines are answered within [`ANSWER_TIMEOUT`], even if each takes [`ANSWER_INTERVAL`].
const MAX_CONCURRENT_ANSWERS: usize = 64;
/// Interval of checks for contenders.
const ANSWER_INTERVAL: Duration = Duration::from_secs(15);
/// Time between two requests to a keeper that answers.
const ASK_INTERVAL: Duration = Duration::from_secs(600);
/// Time after a contender's request during which `SoleOperator` is False.
pub(crate) const CONTESTED_FOR: Duration = Duration::from_secs(900);
/// Poll interval of a contender.
const STAND_BACK_INTERVAL: Duration = Duration::from_secs(60);

/// An operator's next step for a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This operator is the keeper.
    Keep,
    /// There is no keeper, or it is gone: take over.
    Take,
    /// This operator is the keeper, and a contender asks.
    Answer,
    /// Another operator is the keeper: ask whether it is alive.
    Ask,
    /// Another operator is the keeper: wait.
    StandBack,
}

fn step(status: &PipelineStatus, me: &str, asked: Option<Duration>, now: Timestamp) -> Step {
    let Some(keeper) = &status.operator else { return Step::Take };
    let contender = status.contender.as_ref();
    if keeper == me {
        return if contender.is_some() { Step::Answer } else { Step::Keep };
    }
    match contender {
        None if asked.is_some_and(|ago| ago < ASK_INTERVAL) => Step::StandBack,
        None => Step::Ask,
        Some(Contender { operator, since }) => {
            let waited =
                since.parse::<Timestamp>().map_or(SignedDuration::MAX, |since| now.duration_since(since));
            let unanswered = waited >= SignedDuration::from_secs(ANSWER_TIMEOUT.as_secs().cast_signed());
            match (unanswered, operator == me) {
                (true, true) => Step::Take,
                // The contender is gone, too.
                (true, false)
                    if waited >= SignedDuration::from_secs(CONTESTED_FOR.as_secs().cast_signed()) =>
                {
                    Step::Ask
                }
                _ => Step::StandBack,
            }
        }
    }
}

/// Ensures that one operator keeps the pipeline. Returns the next action if that is not this one now.
///
/// `status` is the decodable part of the resource's status.
pub(super) async fn ensure_keeper(
    context: &Context,
    resource: &Resource,
    status: &PipelineStatus,
) -> Result<Option<Action>, Error> {
    let (me, now) = (&context.operator, Timestamp::now());
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let key = (namespace.clone(), name.clone());
    let keeper = status.operator.clone().unwrap_or_default();
    match step(status, me, context.asked(&key), now) {
        Step::Keep => return Ok(None),
        Step::Take => {
            if !keeper.is_empty() {
                tracing::warn!(
                    namespace,
                    name,
                    keeper,
                    "taking over the pipeline of an operator that does not answer"
                );
            }
            write(context, resource, me, None).await?;
        }
        Step::Answer => {
            if let Some(contender) = &status.contender {
                let other = &contender.operator;
                tracing::warn!(
                    namespace,
                    name,
                    other,
                    "this pipeline is also in the scope of another operator"
                );
                context.contested(&key, other);
            }
            write(context, resource, me, None).await?;
        }
        Step::Ask => {
            let note = format!(
                "operator {me} stands back: {keeper} keeps this pipeline. Where both are wanted, give them namespaces or selectors of their \
                 own (chart: scope, selector)"
            );
            let contender = Contender { operator: me.clone(), since: now.to_string() };
            // Not if the status changed meanwhile: that change triggers the next pass, which asks.
            if write(context, resource, &keeper, Some(contender)).await? {
                tracing::warn!(
                    namespace,
                    name,
                    keeper,
                    "standing back: another operator keeps this pipeline"
                );
                context.ask(&key);
                let event_note =
                    EventNote { warning: true, reason: "StandsBack".to_owned(), action: "Reconcile", note };
                events::emit(&context.client, &context.instance, resource.object_ref(&()), &[event_note])
                    .await;
            }
            return Ok(Some(Action::requeue(STAND_BACK_INTERVAL)));
        }
        Step::StandBack => return Ok(Some(Action::requeue(STAND_BACK_INTERVAL))),
    }
    // The write triggers the next pass.
    Ok(Some(Action::requeue(STAND_BACK_INTERVAL)))
}

/// Answers contenders of this operator's pipelines independently of passes, which may all be blocked. For a resource that cannot be
/// decoded its pass answers.
pub(crate) async fn answer_contenders(context: &Context) {
    loop {
        // Concurrently: a slow API server delays the answers for all pipelines no longer than for one.
        let pipelines = stream::iter(context.pipelines.state());
        let answers = pipelines.for_each_concurrent(MAX_CONCURRENT_ANSWERS, |resource| async move {
            let Ok(readable) = &resource.0 else { return };
            let status = readable.status.clone().unwrap_or_default();
            if step(&status, &context.operator, None, Timestamp::now()) != Step::Answer {
                return;
            }
            let answer = tokio::time::timeout(ANSWER_INTERVAL, ensure_keeper(context, &resource, &status));
            let error = match answer.await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => error,
                Err(_) => Error::PassSlow(ANSWER_INTERVAL),
            };
            let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
            tracing::warn!(namespace, name, %error, "could not answer another operator, retrying");
        });
        answers.await;
        tokio::time::sleep(ANSWER_INTERVAL).await;
    }
}

/// The condition SoleOperator; none if it was never False.
pub(super) fn condition(context: &Context, resource: &ClickstreamPipeline) -> Option<Condition> {
    let key = (resource.namespace().unwrap_or_default(), resource.name_any());
    if let Some(other) = context.contender(&key, CONTESTED_FOR) {
        let message = format!(
            "operator {other} has this pipeline in its scope, too, and stands back for {}: give them namespaces or selectors of their own \
             (chart: scope, selector), or uninstall one",
            context.operator
        );
        return Some(Condition::new(
            ConditionType::SoleOperator,
            ConditionStatus::False,
            "AnotherOperator",
            message,
        ));
    }
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let reported =
        conditions.into_iter().any(|condition| condition.type_ == ConditionType::SoleOperator.as_str());
    reported.then(|| {
        Condition::new(
            ConditionType::SoleOperator,
            ConditionStatus::True,
            "Alone",
            "no other operator asks for it",
        )
    })
}

/// Writes the keeper and the contender, unless the status changed meanwhile. Returns whether it was written.
async fn write(
    context: &Context,
    resource: &Resource,
    operator: &str,
    contender: Option<Contender>,
) -> Result<bool, Error> {
    let name = resource.name_any();
    let client: Api<DynamicObject> = Api::namespaced_with(
        context.client.clone(),
        &resource.namespace().unwrap_or_default(),
        &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()),
    );
    let patch = json!({
        "metadata": {"resourceVersion": resource.resource_version()},
        "status": written(operator, contender.as_ref()),
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match client.patch_status(&name, &params, &Patch::Merge(&patch)).await {
        // The API server drops unknown fields: then the pipeline would never get a keeper.
        Ok(written) if written.data["status"]["operator"] != operator => Err(Error::DefinitionOlder),
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(api(format!("write the status of {name}"))(error)),
    }
}

/// As operators of other releases read it.
fn written(operator: &str, contender: Option<&Contender>) -> Value {
    json!({"operator": operator, "contender": contender})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kube::core::error_boundary::DeserializeGuard;

    use super::super::server::server;
    use super::*;

    #[tokio::test]
    async fn a_definition_that_drops_the_keeper_is_reported_as_older() {
        let mut resource = ClickstreamPipeline::new("shop", weir_manifest::PipelineSpec::default());
        resource.metadata.namespace = Some("web".to_owned());
        let object = |status: &str| {
            let head = r#"{"apiVersion": "weir.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": {"name": "shop"}, "status": "#;
            &*format!("{head}{status}}}").leak()
        };
        let (resource, status) = (DeserializeGuard(Ok(resource)), PipelineStatus::default());
        let (context, _) = server(200, object("{}"));
        let error = ensure_keeper(&context, &resource, &status).await.unwrap_err();
        assert_eq!(error.reason(), "DefinitionOlder");
        let (context, _) = server(200, object(r#"{"operator": "shop/weir-operator"}"#));
        assert!(ensure_keeper(&context, &resource, &status).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_contender_that_was_not_written_asks_again() {
        let mut resource = ClickstreamPipeline::new("shop", weir_manifest::PipelineSpec::default());
        resource.metadata.namespace = Some("web".to_owned());
        let resource = DeserializeGuard(Ok(resource));
        let status =
            PipelineStatus { operator: Some("other/weir-operator".to_owned()), ..Default::default() };
        let conflict = r#"{"kind": "Status", "status": "Failure", "reason": "Conflict", "message": "it was modified", "code": 409}"#;
        let kept = r#"{"apiVersion": "weir.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": {"name": "shop"}, "status": {"operator": "other/weir-operator"}}"#;
        for (code, body, questions) in [(409, conflict, 2), (200, kept, 1)] {
            let (context, asked) = server(code, body);
            for _ in 0..2 {
                assert!(ensure_keeper(&context, &resource, &status).await.unwrap().is_some());
            }
            let written = asked.lock().unwrap().iter().filter(|asked| asked.starts_with("PATCH")).count();
            assert_eq!(written, questions, "answered with {code}");
        }
    }

    /// An operator of one release takes over from one of another.
    #[test]
    fn the_keeper_is_read_as_it_was_written() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/keeper-1.json")).unwrap();
        let status: PipelineStatus = serde_json::from_value(golden.clone()).unwrap();
        let now = "2026-11-29T12:05:00Z".parse().unwrap();
        assert_eq!(step(&status, "shop/weir-operator", None, now), Step::Answer);
        assert_eq!(step(&status, "web/weir-operator", None, now), Step::Take);
        assert_eq!(step(&status, "third/weir-operator", None, now), Step::StandBack);
        assert_eq!(written("shop/weir-operator", status.contender.as_ref()), golden);
        // Even if the rest of the status does not decode.
        let mut later =
            DynamicObject::new("shop", &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()));
        later.data = json!({"status": golden});
        later.data["status"]["topics"] = json!("of another kind");
        let read = super::super::status::readable(&later);
        assert_eq!((read.operator, read.contender), (status.operator, status.contender));
    }

    #[test]
    fn a_contender_asks_waits_and_takes_over() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let ago = |seconds: u64| now - Duration::from_secs(seconds);
        let status = |keeper: &str, contender: Option<(&str, u64)>| PipelineStatus {
            operator: (!keeper.is_empty()).then(|| keeper.to_owned()),
            contender: contender.map(|(operator, seconds)| Contender {
                operator: operator.to_owned(),
                since: ago(seconds).to_string(),
            }),
            ..PipelineStatus::default()
        };
        for (status, asked, expected) in [
            (status("", None), None, Step::Take),
            (status("me", None), None, Step::Keep),
            (status("me", Some(("other", 1))), None, Step::Answer),
            (status("other", None), None, Step::Ask),
            (status("other", None), Some(30), Step::StandBack),
            (status("other", None), Some(600), Step::Ask),
            (status("other", Some(("me", 299))), Some(299), Step::StandBack),
            (status("other", Some(("me", 300))), Some(300), Step::Take),
            // After a restart of the contender.
            (status("other", Some(("me", 300))), None, Step::Take),
            (status("other", Some(("third", 300))), None, Step::StandBack),
            (status("other", Some(("third", 900))), None, Step::Ask),
        ] {
            let found = step(&status, "me", asked.map(Duration::from_secs), now);
            assert_eq!(found, expected, "{status:?} {asked:?}");
        }
    }
}
