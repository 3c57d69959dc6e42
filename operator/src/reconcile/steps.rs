//! The steps that change something: resolve, validate, claims, topics, build, plan, apply.

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use weir_analytics::generation::Next;
use weir_log::Generations;
use weir_manifest::{ClickstreamPipeline, Pipeline, PipelineStatus, SpecError, State};

use super::apply::Applied;
use super::resolve::Resolved;
use super::topics::{Before, Reset};
use super::workloads::Objects;
use super::{Outcome, apply, generations, resolve, rollout, status, topics, workloads};
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
    /// The pipeline in its newest generation.
    pub(super) pipeline: Pipeline,
    /// Whether the pipeline waits for its rollout turn.
    pub(super) waits: bool,
    /// Whether its newest generation takes over just now.
    pub(super) takes_over: bool,
}

/// What the steps work on.
struct Work<'a> {
    context: &'a Context,
    resource: &'a ClickstreamPipeline,
    connection: &'a Connection,
    claims: &'a Claims,
}

/// Runs the steps. An error ends them, and is reported by the condition that it prevents.
pub(super) async fn work(
    context: &Context,
    resource: &ClickstreamPipeline,
    outcome: &mut Outcome,
) -> Result<Worked, Error> {
    let document = Pipeline::from(resource);
    let resolved = resolve_document(context, &document, outcome).await?;
    let key = resolved.pii_key.as_deref();
    let all = context.pipelines.state();
    let claims = Claims::older(resource, all.iter().filter_map(|other| other.0.as_ref().ok()));
    let work = Work { context, resource, connection: &resolved.connection, claims: &claims };
    let (recorded, reached) = match generations::read(work.connection, &document).await {
        Ok(recorded) => (Some(recorded), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let number = generations::newest_number(recorded.as_ref(), &outcome.status);
    let pipeline = document.in_generation(number);
    let go_on = work.sync_topics(&pipeline, reached, outcome).await?;
    let (recorded, restored) = work.restore(&pipeline, key, recorded, outcome).await;
    let mut go_on = go_on && restored;
    if outcome.error.is_none() && is_set(resource, RECREATE) {
        // The annotation applies to one loss only, whatever else fails.
        remove_annotation(context, resource, RECREATE).await?;
    }

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
    let configured = Hashes::of(&input).processor == outcome.status.processor.config_hash;
    let mut next = None;
    // Pods with settings of which it is not known whether they begin a generation would only refuse.
    let mut may_roll = configured;
    if let Some(recorded) = &recorded
        && go_on
        && outcome.error.as_ref().is_none_or(Error::is_waiting)
    {
        let counted = configured && is_ready(resource);
        let found = generations::next(work.connection, &input.pipeline, key, recorded, counted).await;
        match found {
            Ok(found) => (next, may_roll) = (found, true),
            // The processors have the document already, and say themselves what they refuse.
            Err(error) if configured && recorded.newest().is_none() => {
                tracing::warn!(%error, "cannot compare the document with what the first generation was counted with");
            }
            Err(error) => {
                refuse_settings(outcome, resource.metadata.generation.unwrap_or_default(), error);
                go_on = false;
            }
        }
    }
    let change = Change { go_on, may_roll, takes_turns: recreated.is_none() };
    let begin = next.zip(recorded.as_ref());
    let (objects, waits, begun) = work.apply_objects(&input, found, change, begin, outcome).await?;
    if let Some(loss) = recreated.filter(|loss| !loss.resets() || workloads::ended(&name, &objects)) {
        work.reset_topics(&input.pipeline, &loss, outcome).await;
    }
    let (pipeline, takes_over) = match begun.or(recorded) {
        Some(recorded) => work.report(&input.pipeline, &recorded, outcome).await,
        None => {
            let generation = resource.metadata.generation.unwrap_or_default();
            let stands =
                Condition::repeated(ConditionType::Generation, &outcome.status.conditions, generation);
            outcome.conditions.extend(stands);
            (input.pipeline, false)
        }
    };
    Ok(Worked { objects, connection: resolved.connection, pipeline, waits, takes_over })
}

/// Whether an annotation of the operator's is set.
fn is_set(resource: &ClickstreamPipeline, annotation: &str) -> bool {
    resource.annotations().get(annotation).is_some_and(|value| value == "true")
}

/// Whether the last pass found everything ready, for this document.
fn is_ready(resource: &ClickstreamPipeline) -> bool {
    let conditions = resource.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = resource.metadata.generation.unwrap_or_default();
    let ready = Condition::repeated(ConditionType::Ready, conditions, generation);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
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

impl Work<'_> {
    /// Syncs the topics of the pipeline's generation. Returns whether objects may follow: pods without topics would only wait, and with
    /// another pipeline's topics do harm. Pods that already run go on.
    async fn sync_topics(
        &self,
        pipeline: &Pipeline,
        reached: Result<(), Error>,
        outcome: &mut Outcome,
    ) -> Result<bool, Error> {
        let Self { context, resource, connection, claims } = *self;
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
        let topics = topics::sync(connection, pipeline, claims, before, reached, intend).await;
        let go_on = match &topics.error {
            None => true,
            // The objects belong to the other operator, too.
            Some(Error::KeptNoLonger) => return Err(Error::KeptNoLonger),
            Some(error) => {
                let known = outcome.status.topics.iter().any(|topic| topic.topic_id.is_some());
                // As they were found last, for this generation.
                let synced = topics.conditions.iter().any(|condition| {
                    condition.type_ == ConditionType::TopicsSynced
                        && condition.status == ConditionStatus::True
                });
                pipeline.spec.state == State::Suspended
                    || known && (error.is_unreachable() || error.is_waiting() && synced)
            }
        };
        topics.conditions.into_iter().for_each(|condition| outcome.replace(condition));
        outcome.status.topics = topics.status;
        outcome.notes.extend(topics.notes);
        outcome.error = topics.error;
        Ok(go_on)
    }

    /// Makes the record of the newest generation again, where it is lost and that is wanted. Returns what is recorded, and whether objects
    /// may follow.
    async fn restore(
        &self,
        pipeline: &Pipeline,
        key: Option<&[u8]>,
        recorded: Option<Generations>,
        outcome: &mut Outcome,
    ) -> (Option<Generations>, bool) {
        let Some(recorded) = recorded else { return (None, true) };
        if !generations::is_lost(&recorded, &outcome.status) {
            return (Some(recorded), true);
        }
        if outcome.error.is_some() {
            return (None, true);
        }
        let restored = match is_set(self.resource, RECREATE) {
            true => generations::restore(self.connection, pipeline, key, &recorded, &outcome.status).await,
            false => Err(generations::lost(pipeline, &outcome.status)),
        };
        match restored {
            Ok(restored) => (Some(restored), true),
            Err(error) => {
                outcome.replace(Condition::of(ConditionType::TopicsSynced, &error));
                outcome.error = Some(error);
                (None, false)
            }
        }
    }

    /// Begins the next generation: makes its topics, then records it. Returns all generations; `None` if it has not begun.
    async fn begin(
        &self,
        pipeline: &Pipeline,
        recorded: &Generations,
        next: Next,
        outcome: &mut Outcome,
    ) -> Result<Option<Generations>, Error> {
        let pipeline = pipeline.in_generation(next.number);
        self.sync_topics(&pipeline, Ok(()), outcome).await?;
        let of_generation = pipeline.topics_of_generation().into_iter().map(|spec| spec.name);
        // Where nothing is recorded, the record is of that attempt, too.
        let record = recorded.newest().is_none().then(|| pipeline.generations_topic());
        let own: Vec<String> = of_generation.chain(record).collect();
        if let Some(Error::TopicLost(loss)) = &outcome.error
            && loss.is_within(&own)
        {
            // Of an attempt to begin it that failed: nothing has been counted in them.
            outcome.status.topics = loss.without(&outcome.status.topics);
            self.sync_topics(&pipeline, Ok(()), outcome).await?;
        }
        if outcome.error.is_some() {
            return Ok(None);
        }
        match generations::record(self.connection, &pipeline, recorded, next.declared).await {
            Ok(all) => Ok(Some(all)),
            Err(error) => {
                outcome.replace(Condition::of(ConditionType::Generation, &error));
                outcome.error = Some(error);
                Ok(None)
            }
        }
    }

    /// Reports the newest generation, and deletes what those that ended long ago have left. Returns the pipeline in the newest one, and
    /// whether it takes over just now.
    async fn report(
        &self,
        pipeline: &Pipeline,
        recorded: &Generations,
        outcome: &mut Outcome,
    ) -> (Pipeline, bool) {
        let takes_over =
            generations::report(self.resource, recorded, outcome, self.context.progress_deadline);
        let pipeline = pipeline.in_generation(generations::newest_number(Some(recorded), &outcome.status));
        if outcome.error.is_none() {
            generations::find_gap(self.connection, &pipeline, recorded, outcome).await;
            let claimant = topics::claimant(self.resource);
            let uid = self.resource.uid().unwrap_or_default();
            let cleared = self.context.cleared(&uid);
            let cleared =
                generations::delete_ended(self.connection, &pipeline, claimant, recorded, cleared, outcome)
                    .await;
            self.context.record_cleared(uid, cleared);
        }
        (pipeline, takes_over)
    }

    /// Applies the objects; before them the generation that the document begins. Returns them, whether the pipeline waits for its rollout
    /// turn, and all generations if one has begun.
    async fn apply_objects(
        &self,
        input: &Input,
        found: Vec<Found>,
        mut change: Change,
        begin: Option<(Next, &Generations)>,
        outcome: &mut Outcome,
    ) -> Result<(Objects, bool, Option<Generations>), Error> {
        let Self { context, resource, .. } = *self;
        let namespace = resource.namespace().unwrap_or_default();
        let desired = objects::build(input);
        let waits = match change.go_on && change.may_roll && change.takes_turns {
            true => rollout::take_turn(context, resource, &found, &desired),
            false => None,
        };
        let mut begun = None;
        if let Some((next, recorded)) = begin
            && waits.is_none()
        {
            begun = self.begin(&input.pipeline, recorded, next, outcome).await?;
            change.go_on = begun.is_some();
        }
        let applied = match waits {
            _ if !change.go_on => Ok(apply::keep(&input.uid, found)),
            None if change.may_roll => {
                let settled = rollout::is_applied(resource);
                apply::apply(context, &namespace, &input.uid, found, desired, settled).await
            }
            _ => apply::scale(context, &namespace, &input.uid, found, &desired).await,
        };
        let applied = applied.map_err(|error| outcome.failed(ConditionType::ObjectsSynced, error))?;
        outcome.conditions.extend(synced(&applied, waits.as_deref(), change.go_on && change.may_roll));
        outcome.notes.extend(applied.notes);
        outcome.error = outcome.error.take().or(applied.error);
        Ok((applied.objects, waits.is_some(), begun))
    }

    /// Resets what refers to lost topics, once the processors have ended.
    async fn reset_topics(&self, pipeline: &Pipeline, loss: &Loss, outcome: &mut Outcome) {
        let Self { resource, connection, claims, .. } = *self;
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

/// Reports why the document's settings cannot be counted with.
fn refuse_settings(outcome: &mut Outcome, generation: i64, error: Error) {
    if error.is_waiting() {
        keep_state_conditions(outcome, generation, &error);
    } else {
        let (type_, status) = match error {
            Error::GenerationCannotEnd(_) => (ConditionType::Generation, ConditionStatus::False),
            Error::StateDiffers { .. } => (ConditionType::Valid, ConditionStatus::False),
            _ => (ConditionType::Valid, ConditionStatus::Unknown),
        };
        outcome.replace(Condition { status, ..Condition::of(type_, &error) });
    }
    outcome.error = Some(error);
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
    let stands = valid.into_iter().chain(before(ConditionType::Generation));
    stands.chain([objects]).for_each(|condition| outcome.replace(condition));
}

/// Which changes of the objects are allowed.
struct Change {
    /// Whether any is.
    go_on: bool,
    /// Whether pods may get the document. Else only their numbers change.
    may_roll: bool,
    /// Whether rollouts take turns with other pipelines.
    takes_turns: bool,
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
