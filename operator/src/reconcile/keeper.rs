//! Which operator keeps a pipeline where the scopes of several overlap: the one that the status names. Two would fight over every object.
//!
//! Another one stands back. Now and then it asks in the status whether that one is there, which answers by taking the question away; if it does
//! not, it is gone, and its pipelines are taken over. Times are compared with the clock of the process that wrote them alone.

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

/// An operator that does not answer for so long is gone.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Answers under way at a time. A thousand pipelines are answered within [`ANSWER_TIMEOUT`], also where each takes [`ANSWER_INTERVAL`].
const ANSWERS_AT_A_TIME: usize = 64;
/// Time between looks for questions of other operators.
const ANSWER_INTERVAL: Duration = Duration::from_secs(15);
/// Time between two questions to one that answers.
const ASK_INTERVAL: Duration = Duration::from_secs(600);
/// How long after a question a pipeline is said to be asked for by another operator.
pub(crate) const CONTESTED_FOR: Duration = Duration::from_secs(900);
/// Time between two looks of one that stands back.
const STAND_BACK_INTERVAL: Duration = Duration::from_secs(60);

/// What an operator does about a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is its own.
    Keep,
    /// It is nobody's, or of one that is gone.
    Take,
    /// It is its own, and another asks.
    Answer,
    /// It is another's: is that one there?
    Ask,
    /// It is another's.
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
                // Whoever asked is gone, too.
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

/// Sees to it that one operator keeps the pipeline. What to do next, where that is not to keep it now.
///
/// `status` is what can be read of the resource's.
pub(super) async fn attend(
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
                    "that operator does not answer: its pipeline is taken over"
                );
            }
            write(context, resource, me, None).await?;
        }
        Step::Answer => {
            if let Some(contender) = &status.contender {
                let other = &contender.operator;
                tracing::warn!(namespace, name, other, "another operator's scope has this pipeline, too");
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
            // Not where the status changed meanwhile: that change begins the next pass, which asks.
            if write(context, resource, &keeper, Some(contender)).await? {
                tracing::warn!(namespace, name, keeper, "stands back: another operator keeps this pipeline");
                context.ask(&key);
                let event_note =
                    EventNote { warning: true, reason: "StandsBack".to_owned(), action: "Reconcile", note };
                events::tell(&context.client, &context.instance, resource.object_ref(&()), &[event_note])
                    .await;
            }
            return Ok(Some(Action::requeue(STAND_BACK_INTERVAL)));
        }
        Step::StandBack => return Ok(Some(Action::requeue(STAND_BACK_INTERVAL))),
    }
    // What was written comes back as a change.
    Ok(Some(Action::requeue(STAND_BACK_INTERVAL)))
}

/// Answers operators that ask for a pipeline which this one keeps, without waiting for a pass: those may all be waiting for something. Where
/// the resource cannot be read its pass answers.
pub(crate) async fn answer_contenders(context: &Context) {
    loop {
        // At a time: an API server that hangs holds up the answers for all pipelines no longer than for one.
        let pipelines = stream::iter(context.pipelines.state());
        let answers = pipelines.for_each_concurrent(ANSWERS_AT_A_TIME, |resource| async move {
            let Ok(readable) = &resource.0 else { return };
            let status = readable.status.clone().unwrap_or_default();
            if step(&status, &context.operator, None, Timestamp::now()) != Step::Answer {
                return;
            }
            let answer = tokio::time::timeout(ANSWER_INTERVAL, attend(context, &resource, &status));
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

/// What is said of it: nothing, where it was never so.
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
    let said =
        conditions.into_iter().any(|condition| condition.type_ == ConditionType::SoleOperator.as_str());
    said.then(|| {
        Condition::new(
            ConditionType::SoleOperator,
            ConditionStatus::True,
            "Alone",
            "no other operator asks for it",
        )
    })
}

/// Writes who keeps it, unless somebody was faster. Whether it was written.
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
        // The API server drops fields that it does not know: then nobody would ever keep it.
        Ok(written) if written.data["status"]["operator"] != operator => Err(Error::DefinitionOlder),
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(api(format!("write the status of {name}"))(error)),
    }
}

/// As other operators, of other releases, read it.
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
    async fn a_definition_that_drops_the_keeper_is_said_to_be_older() {
        let mut resource = ClickstreamPipeline::new("shop", weir_manifest::PipelineSpec::default());
        resource.metadata.namespace = Some("web".to_owned());
        let object = |status: &str| {
            let head = r#"{"apiVersion": "weir.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": {"name": "shop"}, "status": "#;
            &*format!("{head}{status}}}").leak()
        };
        let (resource, status) = (DeserializeGuard(Ok(resource)), PipelineStatus::default());
        let (context, _) = server(200, object("{}"));
        let error = attend(&context, &resource, &status).await.unwrap_err();
        assert_eq!(error.reason(), "DefinitionOlder");
        let (context, _) = server(200, object(r#"{"operator": "shop/weir-operator"}"#));
        assert!(attend(&context, &resource, &status).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_question_that_was_not_written_is_asked_again() {
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
                assert!(attend(&context, &resource, &status).await.unwrap().is_some());
            }
            let written = asked.lock().unwrap().iter().filter(|asked| asked.starts_with("PATCH")).count();
            assert_eq!(written, questions, "answered with {code}");
        }
    }

    /// An operator of one release takes over from one of another.
    #[test]
    fn who_keeps_it_is_read_as_it_was_written() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/keeper-1.json")).unwrap();
        let status: PipelineStatus = serde_json::from_value(golden.clone()).unwrap();
        let now = "2026-11-29T12:05:00Z".parse().unwrap();
        assert_eq!(step(&status, "shop/weir-operator", None, now), Step::Answer);
        assert_eq!(step(&status, "web/weir-operator", None, now), Step::Take);
        assert_eq!(step(&status, "third/weir-operator", None, now), Step::StandBack);
        assert_eq!(written("shop/weir-operator", status.contender.as_ref()), golden);
        // Also where the rest of the status is not what it was.
        let mut later =
            DynamicObject::new("shop", &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()));
        later.data = json!({"status": golden});
        later.data["status"]["topics"] = json!("of another kind");
        let read = super::super::status::readable(&later);
        assert_eq!((read.operator, read.contender), (status.operator, status.contender));
    }

    #[test]
    fn one_keeps_it_and_another_asks_waits_and_takes_over() {
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
            // A process that does not remember that it asked.
            (status("other", Some(("me", 300))), None, Step::Take),
            (status("other", Some(("third", 300))), None, Step::StandBack),
            (status("other", Some(("third", 900))), None, Step::Ask),
        ] {
            let found = step(&status, "me", asked.map(Duration::from_secs), now);
            assert_eq!(found, expected, "{status:?} {asked:?}");
        }
    }
}
