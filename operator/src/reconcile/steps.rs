//! The steps that change something: resolve, validate, claims, topics, build, plan, apply.

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_analytics::DecisiveSettings;
use weir_log::PartitionProgress;
use weir_manifest::{ClickstreamPipeline, Pipeline, PipelineStatus, SpecError, State};

use super::topics::{Before, Reset};
use super::workloads::Objects;
use super::{Outcome, apply, resolve, rollout, status, topics, workloads};
use crate::Error;
use crate::claims::Claims;
use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::{Context, Inherited};
use crate::error::{ADOPT, TAKE_OVER, api};
use crate::kafka::Connection;
use crate::loss::{Loss, RECREATE};
use crate::objects::{self, Hashes, Input};

/// What is known after all steps.
pub(super) struct Worked {
    pub(super) objects: Objects,
    pub(super) connection: Connection,
    /// Whether it waits for its turn to roll.
    pub(super) waits: bool,
}

/// The steps. An error ends them, and is said in the condition of what it kept from being as it should.
pub(super) async fn work(
    context: &Context,
    resource: &ClickstreamPipeline,
    outcome: &mut Outcome,
) -> Result<Worked, Error> {
    let pipeline = Pipeline::from(resource);
    let resolved = match valid(&pipeline, context.allow_privileged_pods) {
        Ok(()) => resolve::resolve(&context.client, &pipeline).await,
        Err(error) => Err(error),
    };
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => {
            outcome.conditions.push(Condition::of(ConditionType::Valid, &error));
            return Err(error);
        }
    };
    outcome.conditions.push(warnings(&pipeline));

    let all = context.pipelines.state();
    let claims = Claims::older(resource, all.iter().filter_map(|other| other.0.as_ref().ok()));
    let says = |annotation| resource.annotations().get(annotation).is_some_and(|value| value == "true");
    let before = Before {
        claimant: topics::claimant(resource),
        adopt: says(ADOPT),
        take_over: says(TAKE_OVER),
        topics: outcome.status.topics.clone(),
        conditions: outcome.status.conditions.clone(),
        generation: resource.metadata.generation.unwrap_or_default(),
    };
    let status = outcome.status.clone();
    let intend =
        async move |topics| match status::write(context, resource, PipelineStatus { topics, ..status }, &[])
            .await
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::KeptNoLonger),
            Err(error) => Err(error),
        };
    let topics = topics::sync(&resolved.connection, &pipeline, &claims, before, intend).await;
    // Pods without topics would only wait, and with another's topics do harm. Those that run already go on.
    let go_on = match &topics.error {
        None => true,
        Some(error) => {
            let known = outcome.status.topics.iter().any(|topic| topic.topic_id.is_some());
            let wrong = |condition: &Condition| {
                condition.type_ == ConditionType::TopicsSynced && condition.status == ConditionStatus::False
            };
            let wrong = topics.conditions.iter().any(wrong);
            pipeline.spec.state == State::Suspended
                || known && (error.is_unreachable() || error.is_waiting() && !wrong)
        }
    };
    outcome.conditions.extend(topics.conditions);
    outcome.status.topics = topics.status;
    outcome.notes.extend(topics.notes);
    outcome.error = topics.error;
    if outcome.error.is_none() && says(RECREATE) {
        // It was said for one loss, not for all times, whatever else fails.
        take_annotation(context, resource, RECREATE).await?;
    }

    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let uid = resource.uid().unwrap_or_default();
    let found = match apply::found(context, &namespace, &name).await {
        Ok(found) => found,
        Err(error) => {
            outcome.conditions.push(Condition::of(ConditionType::ObjectsSynced, &error));
            return Err(error);
        }
    };
    let specs = pipeline.topics();
    let mut input = Input {
        image: pipeline.spec.image.clone().unwrap_or_else(|| context.image.clone()),
        pipeline,
        uid: uid.clone(),
        labels: Inherited::of(&context.inherited.labels, resource.labels()),
        annotations: Inherited::of(&context.inherited.annotations, resource.annotations()),
        secrets: resolved.hashes,
    };
    let recreate = says(RECREATE).then(|| recreating(&mut outcome.error)).flatten();
    let go_on = go_on || recreate.is_some();
    if let Some(loss) = &recreate {
        outcome.conditions.retain(|condition| condition.type_ != ConditionType::TopicsSynced);
        let message = Error::Recreating(loss.clone()).to_string();
        outcome.conditions.push(Condition::new(
            ConditionType::TopicsSynced,
            ConditionStatus::FalseForNow,
            "RecreatingTopics",
            message,
        ));
        if loss.resets() {
            input.pipeline.spec.state = State::Suspended;
        }
    }
    let foreseen = match (&outcome.error, go_on) {
        (None, true) => {
            foresee(&input, resolved.pii_key.as_deref(), &resolved.connection, &outcome.status).await
        }
        _ => Ok(()),
    };
    let go_on = go_on && foreseen.is_ok();
    if let Err(error) = foreseen {
        let status = if matches!(error, Error::StateDiffers { .. }) {
            ConditionStatus::False
        } else {
            ConditionStatus::Unknown
        };
        outcome.conditions.retain(|condition| condition.type_ != ConditionType::Valid);
        outcome.conditions.push(Condition { status, ..Condition::of(ConditionType::Valid, &error) });
        outcome.error = Some(error);
    }
    let takes_turns = go_on && recreate.is_none();
    let built = objects::build(&input);
    let waits = if takes_turns { rollout::take_turn(context, resource, &found, &built) } else { None };
    let applied = match waits {
        None if go_on => {
            apply::apply(context, &namespace, &uid, found, built, rollout::is_settled(resource)).await
        }
        Some(_) => apply::scale(context, &namespace, &uid, found, &built).await,
        None => Ok(apply::keep(&uid, found)),
    };
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            outcome.conditions.push(Condition::of(ConditionType::ObjectsSynced, &error));
            return Err(error);
        }
    };
    outcome.conditions.extend(match &applied.error {
        Some(error) => Some(Condition::of(ConditionType::ObjectsSynced, error)),
        None if !applied.contested.is_empty() => {
            let message = format!(
                "somebody else changes it again and again, so it is left alone for ten minutes: {}; have the other leave it, or say in the \
                 pipeline what it wants",
                applied.contested.join("; ")
            );
            Some(Condition::new(ConditionType::ObjectsSynced, ConditionStatus::False, "Contested", message))
        }
        None if !applied.overruled.is_empty() => {
            let message = format!(
                "the API server, or what it asks, makes it otherwise: {}; say in the pipeline what it may be",
                applied.overruled.join("; ")
            );
            Some(Condition::new(ConditionType::ObjectsSynced, ConditionStatus::TrueWithWarning, "Overruled", message))
        }
        None if waits.is_some() => {
            let message = waits.clone().unwrap_or_default();
            Some(Condition::new(ConditionType::ObjectsSynced, ConditionStatus::True, "RolloutPending", message))
        }
        None if go_on => {
            let message = format!("{} objects in sync", applied.objects.len());
            Some(Condition::new(ConditionType::ObjectsSynced, ConditionStatus::True, "Synced", message))
        }
        None => None,
    });
    outcome.notes.extend(applied.notes);
    outcome.error = outcome.error.take().or(applied.error);
    if let Some(loss) = recreate.filter(|loss| !loss.resets() || workloads::ended(&name, &applied.objects)) {
        let (connection, claimant) = (&resolved.connection, topics::claimant(resource));
        let take_over = says(TAKE_OVER);
        match topics::reset(connection, &input.pipeline, &claims, claimant, take_over, &loss).await {
            Ok(Reset::Running(group, members)) => {
                for condition in &mut outcome.conditions {
                    if condition.type_ == ConditionType::TopicsSynced {
                        condition.message +=
                            &format!("; Kafka still knows {members} members of the group {group}");
                    }
                }
            }
            Ok(Reset::Done) => {
                outcome.status.topics = loss.after(&outcome.status.topics, &specs);
                let note = format!("{}: processors begin anew", loss.names());
                let reason = "TopicsReset".to_owned();
                outcome.notes.push(EventNote { warning: true, reason, action: "SyncTopics", note });
            }
            Err(error) => {
                outcome.conditions.retain(|condition| condition.type_ != ConditionType::TopicsSynced);
                outcome.conditions.push(Condition::of(ConditionType::TopicsSynced, &error));
                outcome.error = Some(error);
            }
        }
    }
    Ok(Worked { objects: applied.objects, connection: resolved.connection, waits: waits.is_some() })
}

/// Whether processors that are about to be made or rolled would refuse the state that there is.
async fn foresee(
    input: &Input,
    key: Option<&[u8]>,
    connection: &Connection,
    status: &PipelineStatus,
) -> Result<(), Error> {
    let pipeline = &input.pipeline;
    if Hashes::of(input).processor == status.processor.config_hash {
        return Ok(());
    }
    // A document without the key that it needs is refused before.
    let Ok(made_with) = DecisiveSettings::of(pipeline, key) else { return Ok(()) };
    let (group, topic) = (pipeline.windows_group(), pipeline.events_topic().to_owned());
    let committed = connection.committed(group, topic.clone()).await?.unwrap_or_default();
    let refusal = committed.iter().find_map(|(partition, metadata)| {
        let progress: PartitionProgress = serde_json::from_str(metadata).ok()?;
        Some((format!("{topic}/{partition}"), made_with.refusal(&progress.settings)?))
    });
    refusal.map_or(Ok(()), |(place, why)| Err(Error::StateDiffers { place, why }))
}

/// What was lost and is to be made anew, where that is what stands in the way.
fn recreating(error: &mut Option<Error>) -> Option<Loss> {
    match error.take() {
        Some(Error::TopicLost(loss)) => {
            *error = Some(Error::Recreating(loss.clone()));
            Some(loss)
        }
        other => {
            *error = other;
            None
        }
    }
}

/// Takes an annotation from the resource.
async fn take_annotation(
    context: &Context,
    resource: &ClickstreamPipeline,
    annotation: &str,
) -> Result<(), Error> {
    let name = resource.name_any();
    let client: Api<ClickstreamPipeline> =
        Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"annotations": {annotation: null}, "uid": resource.uid()}});
    client
        .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(api(format!("take the annotation {annotation} from {name}")))?;
    Ok(())
}

/// The rules once more: the resource may be older than they are.
fn valid(pipeline: &Pipeline, allow_privileged_pods: bool) -> Result<(), Error> {
    let pipeline = Pipeline::new(&pipeline.metadata.name, pipeline.spec.clone());
    pipeline.validate()?;
    pipeline.supported()?;
    let refused = if allow_privileged_pods { Vec::new() } else { objects::refused_fields(&pipeline) };
    if refused.is_empty() { Ok(()) } else { Err(SpecError::Invalid(refused).into()) }
}

/// That the document is valid, with what is worth saying about it, such as replicas that are not started.
fn warnings(pipeline: &Pipeline) -> Condition {
    let warnings = pipeline.warnings();
    if warnings.is_empty() {
        return Condition::new(ConditionType::Valid, ConditionStatus::True, "Valid", "the document is valid");
    }
    let text = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Condition::new(ConditionType::Valid, ConditionStatus::TrueWithWarning, "Warnings", text)
}

#[cfg(test)]
mod tests;
