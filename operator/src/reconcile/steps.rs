//! The steps that change something: resolve, validate, claims, topics, build, plan, apply.

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_analytics::DecisiveSettings;
use weir_log::PartitionProgress;
use weir_manifest::{ClickstreamPipeline, Pipeline, PipelineStatus, SpecError, State};

use super::apply::Applied;
use super::resolve::Resolved;
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
use crate::object::Found;
use crate::objects::{self, Hashes, Input};

/// The result of all steps.
pub(super) struct Worked {
    pub(super) objects: Objects,
    pub(super) connection: Connection,
    /// Whether the pipeline waits for its rollout turn.
    pub(super) waits: bool,
}

/// Runs the steps. An error ends them, and is reported by the condition that it prevents.
pub(super) async fn work(
    context: &Context,
    resource: &ClickstreamPipeline,
    outcome: &mut Outcome,
) -> Result<Worked, Error> {
    let pipeline = Pipeline::from(resource);
    let resolved = resolve_document(context, &pipeline, outcome).await?;
    let connection = resolved.connection;
    let all = context.pipelines.state();
    let claims = Claims::older(resource, all.iter().filter_map(|other| other.0.as_ref().ok()));
    let mut go_on = sync_topics(context, resource, &pipeline, &connection, &claims, outcome).await?;

    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let found = apply::found(context, &namespace, &name).await;
    let found = found.map_err(|error| outcome.failed(ConditionType::ObjectsSynced, error))?;
    let mut input = Input {
        image: pipeline.spec.image.clone().unwrap_or_else(|| context.image.clone()),
        pipeline,
        uid: resource.uid().unwrap_or_default(),
        labels: Inherited::of(&context.inherited.labels, resource.labels()),
        annotations: Inherited::of(&context.inherited.annotations, resource.annotations()),
        secrets: resolved.hashes,
    };
    let recreated =
        if is_set(resource, RECREATE) { begin_recreation(&mut input.pipeline, outcome) } else { None };
    go_on |= recreated.is_some();
    if go_on && outcome.error.as_ref().is_none_or(Error::is_waiting) {
        let generation = resource.metadata.generation.unwrap_or_default();
        go_on =
            is_state_accepted(&input, resolved.pii_key.as_deref(), &connection, generation, outcome).await;
    }
    let takes_turns = go_on && recreated.is_none();
    let (objects, waits) =
        apply_objects(context, resource, &input, found, Change { go_on, takes_turns }, outcome).await?;
    if let Some(loss) = recreated.filter(|loss| !loss.resets() || workloads::ended(&name, &objects)) {
        reset_topics(resource, &input.pipeline, &connection, &claims, &loss, outcome).await;
    }
    Ok(Worked { objects, connection, waits })
}

/// Whether an annotation of the operator's is set.
fn is_set(resource: &ClickstreamPipeline, annotation: &str) -> bool {
    resource.annotations().get(annotation).is_some_and(|value| value == "true")
}

/// Validates the document, and reads the Secrets that it names.
async fn resolve_document(
    context: &Context,
    pipeline: &Pipeline,
    outcome: &mut Outcome,
) -> Result<Resolved, Error> {
    let resolved = match valid(pipeline, context.allow_privileged_pods) {
        Ok(()) => resolve::resolve(&context.client, pipeline).await,
        Err(error) => Err(error),
    };
    let resolved = resolved.map_err(|error| outcome.failed(ConditionType::Valid, error))?;
    outcome.conditions.push(warnings(pipeline));
    Ok(resolved)
}

/// Syncs the topics. Returns whether objects may follow: pods without topics would only wait, and with another pipeline's topics do
/// harm. Pods that already run go on.
async fn sync_topics(
    context: &Context,
    resource: &ClickstreamPipeline,
    pipeline: &Pipeline,
    connection: &Connection,
    claims: &Claims,
    outcome: &mut Outcome,
) -> Result<bool, Error> {
    let before = Before {
        claimant: topics::claimant(resource),
        adopt: is_set(resource, ADOPT),
        take_over: is_set(resource, TAKE_OVER),
        topics: outcome.status.topics.clone(),
        conditions: outcome.status.conditions.clone(),
        generation: resource.metadata.generation.unwrap_or_default(),
    };
    let status = outcome.status.clone();
    let intend = async move |topics| {
        let written = status::write(context, resource, PipelineStatus { topics, ..status }, &[]).await?;
        if written { Ok(()) } else { Err(Error::KeptNoLonger) }
    };
    let topics = topics::sync(connection, pipeline, claims, before, intend).await;
    let go_on = match &topics.error {
        None => true,
        // The objects belong to the other operator, too.
        Some(Error::KeptNoLonger) => return Err(Error::KeptNoLonger),
        Some(error) => {
            let known = outcome.status.topics.iter().any(|topic| topic.topic_id.is_some());
            // As they were found last, for this generation.
            let synced = topics.conditions.iter().any(|condition| {
                condition.type_ == ConditionType::TopicsSynced && condition.status == ConditionStatus::True
            });
            pipeline.spec.state == State::Suspended
                || known && (error.is_unreachable() || error.is_waiting() && synced)
        }
    };
    outcome.conditions.extend(topics.conditions);
    outcome.status.topics = topics.status;
    outcome.notes.extend(topics.notes);
    outcome.error = topics.error;
    if outcome.error.is_none() && is_set(resource, RECREATE) {
        // The annotation applies to one loss only, whatever else fails.
        remove_annotation(context, resource, RECREATE).await?;
    }
    Ok(go_on)
}

/// The lost topics that are to be recreated, if that is the error. Until the offsets are deleted the pipeline is suspended.
fn begin_recreation(pipeline: &mut Pipeline, outcome: &mut Outcome) -> Option<Loss> {
    let Some(Error::TopicLost(loss)) = &outcome.error else { return None };
    let (loss, error) = (loss.clone(), Error::Recreating(loss.clone()));
    outcome.replace(Condition {
        status: ConditionStatus::FalseForNow,
        ..Condition::of(ConditionType::TopicsSynced, &error)
    });
    outcome.error = Some(error);
    if loss.resets() {
        pipeline.spec.state = State::Suspended;
    }
    Some(loss)
}

/// Whether new processors would accept the existing state.
async fn is_state_accepted(
    input: &Input,
    key: Option<&[u8]>,
    connection: &Connection,
    generation: i64,
    outcome: &mut Outcome,
) -> bool {
    let Err(error) = check_state(input, key, connection, &outcome.status).await else { return true };
    if error.is_waiting() {
        keep_state_conditions(outcome, generation, &error);
    } else {
        let differs = matches!(error, Error::StateDiffers { .. });
        let status = if differs { ConditionStatus::False } else { ConditionStatus::Unknown };
        outcome.replace(Condition { status, ..Condition::of(ConditionType::Valid, &error) });
    }
    outcome.error = Some(error);
    false
}

/// Without time to read the state, earlier conditions of this generation stand. For a new generation they are Unknown: its objects are
/// not applied yet.
fn keep_state_conditions(outcome: &mut Outcome, generation: i64, error: &Error) {
    let before = |type_| Condition::repeated(type_, &outcome.status.conditions, generation);
    let of_state = |condition: &Condition| ["StateDiffers", "OffsetsUnknown"].contains(&&*condition.reason);
    let valid = before(ConditionType::Valid).filter(of_state);
    let unknown = || Condition {
        status: ConditionStatus::Unknown,
        ..Condition::of(ConditionType::ObjectsSynced, error)
    };
    let objects = before(ConditionType::ObjectsSynced).unwrap_or_else(unknown);
    valid.into_iter().chain([objects]).for_each(|condition| outcome.replace(condition));
}

/// Which changes of the objects are allowed.
struct Change {
    /// Whether any is.
    go_on: bool,
    /// Whether rollouts take turns with other pipelines.
    takes_turns: bool,
}

/// Applies the objects. Returns them, and whether the pipeline waits for its rollout turn.
async fn apply_objects(
    context: &Context,
    resource: &ClickstreamPipeline,
    input: &Input,
    found: Vec<Found>,
    change: Change,
    outcome: &mut Outcome,
) -> Result<(Objects, bool), Error> {
    let namespace = resource.namespace().unwrap_or_default();
    let desired = objects::build(input);
    let waits = match change.takes_turns {
        true => rollout::take_turn(context, resource, &found, &desired),
        false => None,
    };
    let applied = match waits {
        None if change.go_on => {
            let settled = rollout::is_applied(resource);
            apply::apply(context, &namespace, &input.uid, found, desired, settled).await
        }
        Some(_) => apply::scale(context, &namespace, &input.uid, found, &desired).await,
        None => Ok(apply::keep(&input.uid, found)),
    };
    let applied = applied.map_err(|error| outcome.failed(ConditionType::ObjectsSynced, error))?;
    outcome.conditions.extend(synced(&applied, waits.as_deref(), change.go_on));
    outcome.notes.extend(applied.notes);
    outcome.error = outcome.error.take().or(applied.error);
    Ok((applied.objects, waits.is_some()))
}

/// The ObjectsSynced condition; none if nothing was to be changed.
fn synced(applied: &Applied, waits: Option<&str>, go_on: bool) -> Option<Condition> {
    let condition =
        |status, reason, message| Some(Condition::new(ConditionType::ObjectsSynced, status, reason, message));
    if let Some(error) = &applied.error {
        return Some(Condition::of(ConditionType::ObjectsSynced, error));
    }
    if !applied.contested.is_empty() {
        let message = format!(
            "somebody else changes these fields again and again, so they are left alone for ten minutes: {}; stop the other writer, or \
             set the values that it wants in the pipeline",
            applied.contested.join("; ")
        );
        return condition(ConditionStatus::False, "Contested", message);
    }
    if !applied.overruled.is_empty() {
        let message = format!(
            "the API server, or an admission webhook, reverts these fields: {}; set what the cluster allows in the pipeline",
            applied.overruled.join("; ")
        );
        return condition(ConditionStatus::TrueWithWarning, "Overruled", message);
    }
    if let Some(waits) = waits {
        return condition(ConditionStatus::True, rollout::PENDING, waits.to_owned());
    }
    if go_on {
        let message = format!("{} objects in sync", applied.objects.len());
        return condition(ConditionStatus::True, "Synced", message);
    }
    None
}

/// Resets what refers to lost topics, once the processors have ended.
async fn reset_topics(
    resource: &ClickstreamPipeline,
    pipeline: &Pipeline,
    connection: &Connection,
    claims: &Claims,
    loss: &Loss,
    outcome: &mut Outcome,
) {
    let (claimant, take_over) = (topics::claimant(resource), is_set(resource, TAKE_OVER));
    match topics::reset(connection, pipeline, claims, claimant, take_over, loss).await {
        Ok(Reset::Running(group, members)) => {
            for condition in &mut outcome.conditions {
                if condition.type_ == ConditionType::TopicsSynced {
                    condition.message +=
                        &format!("; Kafka still knows {members} members of the group {group}");
                }
            }
        }
        Ok(Reset::Done) => {
            outcome.status.topics = loss.after(&outcome.status.topics, &pipeline.topics());
            let note = format!("{}: processors start over", loss.names());
            let reason = "TopicsReset".to_owned();
            outcome.notes.push(EventNote { warning: true, reason, action: "SyncTopics", note });
        }
        Err(error) => {
            if !error.is_waiting() {
                outcome.replace(Condition::of(ConditionType::TopicsSynced, &error));
            }
            outcome.error = Some(error);
        }
    }
}

/// Fails if processors that are about to be created or rolled would refuse the existing state.
async fn check_state(
    input: &Input,
    key: Option<&[u8]>,
    connection: &Connection,
    status: &PipelineStatus,
) -> Result<(), Error> {
    let pipeline = &input.pipeline;
    if Hashes::of(input).processor == status.processor.config_hash {
        return Ok(());
    }
    // A document without the key that it needs was refused earlier.
    let Ok(made_with) = DecisiveSettings::of(pipeline, key) else { return Ok(()) };
    let (group, topic) = (pipeline.windows_group(), pipeline.events_topic().to_owned());
    let committed = connection.committed(group, topic.clone()).await?.unwrap_or_default();
    let refusal = committed.iter().find_map(|(partition, metadata)| {
        let progress: PartitionProgress = serde_json::from_str(metadata).ok()?;
        Some((format!("{topic}/{partition}"), made_with.refusal(&progress.settings)?))
    });
    refusal.map_or(Ok(()), |(place, why)| Err(Error::StateDiffers { place, why }))
}

/// Removes an annotation of the resource.
async fn remove_annotation(
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
        .map_err(api(format!("remove the annotation {annotation} of {name}")))?;
    Ok(())
}

/// Checks the rules again: the resource may be older than they are.
fn valid(pipeline: &Pipeline, allow_privileged_pods: bool) -> Result<(), Error> {
    let pipeline = Pipeline::new(&pipeline.metadata.name, pipeline.spec.clone());
    pipeline.validate()?;
    pipeline.supported()?;
    let refused = if allow_privileged_pods { Vec::new() } else { objects::refused_fields(&pipeline) };
    if refused.is_empty() { Ok(()) } else { Err(SpecError::Invalid(refused).into()) }
}

/// The Valid condition of a valid document, with its warnings, such as replicas that are not started.
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
