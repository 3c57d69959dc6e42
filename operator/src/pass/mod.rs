//! One pass over a pipeline: resolve, validate, build, plan, apply, and say how it is.

mod apply;
mod cleanup;
mod keeper;
mod pods;
mod resolve;
mod rollout;
mod scaling;
#[cfg(test)]
mod server;
mod status;
mod topics;
mod workloads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use serde_json::json;
use weir_spec::{ClickstreamPipeline, Pipeline, PipelineStatus, SpecError, State};
use weir_stream::made_with::MadeWith;

pub(crate) use self::cleanup::{FINALIZER, write_finalizers};
use self::topics::{Before, Reset};
use crate::build::{self, Hashes, Input};
use crate::claims::Claims;
use crate::conditions::{Aspect, News, Truth, Verdict};
use crate::context::{Context, Inherited, Resource};
use crate::error::{ADOPT, RECREATE, TAKE_OVER, api};
use crate::kafka::Connection;
use crate::loss::Loss;
use crate::metrics::Ending;
use crate::object::Kind;
use crate::{Error, conditions, events};

/// Nobody tells when a topic or a secret changes: so all is looked at again, without writing anything where all is well.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Where the autoscaler looks.
const SAMPLE_AGAIN: Duration = Duration::from_secs(15);

/// While pods are on their way: what they say changes without a word from their controllers.
const PROGRESS_AGAIN: Duration = Duration::from_secs(5);

/// While others roll first: each look asks Kafka and the API server for everything.
const TURN_AGAIN: Duration = Duration::from_secs(30);

/// With the value `true`: the operator leaves the pipeline alone.
const PAUSED: &str = "weir.dev/paused";

/// What a pass found.
struct Outcome {
    status: PipelineStatus,
    verdicts: Vec<Verdict>,
    news: Vec<News>,
    error: Option<Error>,
    /// Whether pods are on their way.
    progressing: bool,
    /// Whether it waits for its turn to roll.
    waiting: bool,
}

/// Makes one pipeline what its resource says.
///
/// # Errors
/// What stands in the way; the resource's status says so too, where it can be written.
pub async fn reconcile(resource: Arc<Resource>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    // Before any pause: whoever asks takes silence for an end.
    let attended = match &resource.0 {
        Ok(readable) => keeper::attend(&context, readable).await,
        Err(_) => Ok(None),
    };
    if let (Ok(None), Some(left)) = (&attended, context.rest(&resource)) {
        return Ok(Action::requeue(left));
    }
    let result = match (attended, &resource.0) {
        (Ok(Some(action)), _) => Ok(action),
        (Err(error), _) => Err(error),
        (Ok(None), Ok(readable)) => pass(&context, readable).await,
        (Ok(None), Err(invalid)) => status::undecodable(&context, &resource, invalid).await,
    };
    let (result_label, reason) = match &result {
        Ok(_) => ("success", ""),
        Err(error) => ("failure", error.reason()),
    };
    context.metrics.reconciles.get_or_create(&Ending { result: result_label, reason }).inc();
    context.metrics.durations.observe(began.elapsed().as_secs_f64());
    if result.is_ok() {
        context.well(&resource);
    }
    result
}

/// What to do after a failed pass.
pub fn after_failure(resource: Arc<Resource>, error: &Error, context: Arc<Context>) -> Action {
    let namespace = resource.namespace().unwrap_or_default();
    let name = resource.name_any();
    if error.awaits_change() {
        tracing::warn!(namespace, name, reason = error.reason(), %error, "waiting for a change");
        return Action::await_change();
    }
    let pause = context.pause(&resource);
    tracing::warn!(namespace, name, reason = error.reason(), %error, again_in = ?pause, "not now");
    Action::requeue(pause)
}

async fn pass(context: &Context, resource: &ClickstreamPipeline) -> Result<Action, Error> {
    let paused = resource.annotations().get(PAUSED).is_some_and(|value| value == "true");
    if resource.metadata.deletion_timestamp.is_some() {
        return cleanup::cleanup(context, resource).await;
    }
    // What was written comes back as a change, with the version that the next write must name.
    if !paused && cleanup::keep_finalizer(context, resource).await? {
        return Ok(Action::await_change());
    }
    let mut outcome = Outcome {
        status: resource.status.clone().unwrap_or_default(),
        verdicts: Vec::new(),
        news: Vec::new(),
        error: None,
        progressing: false,
        waiting: false,
    };
    if paused {
        let message = format!("nothing is changed until the annotation {PAUSED} is taken away");
        outcome.verdicts.push(Verdict::new(Aspect::Ready, Truth::Unknown, "Paused", message));
    } else {
        if let Err(error) = work(context, resource, &mut outcome).await {
            // What an earlier step has to say comes first.
            outcome.error.get_or_insert(error);
        }
        outcome.verdicts.push(conditions::ready(&outcome.verdicts));
        outcome.verdicts.extend(keeper::verdict(context, resource));
    }
    let before = resource.status.as_ref().map_or(&[][..], |status| &status.conditions[..]);
    outcome.news.extend(conditions::transitions(before, &outcome.verdicts));
    status::write(context, resource, outcome.status, &outcome.verdicts).await?;
    events::tell(&context.client, &context.instance, resource.object_ref(&()), &outcome.news).await;
    match outcome.error {
        Some(error) => Err(error),
        None if outcome.progressing => Ok(Action::requeue(PROGRESS_AGAIN)),
        None if scaling::is_active(resource) => Ok(Action::requeue(SAMPLE_AGAIN)),
        None if outcome.waiting => Ok(Action::requeue(TURN_AGAIN)),
        None => Ok(Action::requeue(LOOK_AGAIN)),
    }
}

/// The steps. An error ends them, and is said in the verdict of what it kept from being as it should.
async fn work(context: &Context, resource: &ClickstreamPipeline, outcome: &mut Outcome) -> Result<(), Error> {
    let pipeline = Pipeline::from(resource);
    let resolved = match valid(&pipeline, context.allow_privileged_pods) {
        Ok(()) => resolve::resolve(&context.client, &pipeline).await,
        Err(error) => Err(error),
    };
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => {
            outcome.verdicts.push(Verdict::of(Aspect::Valid, &error));
            return Err(error);
        }
    };
    outcome.verdicts.push(remarks(&pipeline));

    let all = context.pipelines.state();
    let claims = Claims::older(resource, all.iter().filter_map(|other| other.0.as_ref().ok()));
    let says = |annotation| resource.annotations().get(annotation).is_some_and(|value| value == "true");
    let before = Before {
        claimant: topics::claimant(resource),
        adopt: says(ADOPT),
        take_over: says(TAKE_OVER),
        topics: outcome.status.topics.clone(),
        refused: outcome.status.conditions.iter().any(|condition| condition.reason == "KafkaRefused"),
    };
    let status = outcome.status.clone();
    let intend =
        async move |topics| status::write(context, resource, PipelineStatus { topics, ..status }, &[]).await;
    let topics = topics::sync(&resolved.connection, &pipeline, &claims, before, intend).await;
    // Pods without topics would only wait, and with another's topics do harm. Those that run already go on.
    let go_on = match &topics.error {
        None => true,
        Some(error) => {
            pipeline.spec.state == State::Suspended
                || (error.is_unreachable()
                    && outcome.status.topics.iter().any(|topic| topic.topic_id.is_some()))
        }
    };
    outcome.verdicts.extend(topics.verdicts);
    outcome.status.topics = topics.status;
    outcome.news.extend(topics.news);
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
            outcome.verdicts.push(Verdict::of(Aspect::ObjectsSynced, &error));
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
        outcome.verdicts.retain(|verdict| verdict.aspect != Aspect::TopicsSynced);
        let message = Error::Recreating(loss.clone()).to_string();
        outcome.verdicts.push(Verdict::new(Aspect::TopicsSynced, Truth::NotYet, "RecreatingTopics", message));
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
        let truth = if matches!(error, Error::StateDiffers { .. }) { Truth::No } else { Truth::Unknown };
        outcome.verdicts.retain(|verdict| verdict.aspect != Aspect::Valid);
        outcome.verdicts.push(Verdict { truth, ..Verdict::of(Aspect::Valid, &error) });
        outcome.error = Some(error);
    }
    let takes_turns = go_on && recreate.is_none();
    let waits = if takes_turns { rollout::take_turn(context, resource, &found, &input) } else { None };
    let applied = if go_on && waits.is_none() {
        let settled = is_settled(resource);
        apply::apply(context, &namespace, &uid, found, build::objects(&input), settled).await
    } else {
        Ok(apply::keep(&uid, found))
    };
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            outcome.verdicts.push(Verdict::of(Aspect::ObjectsSynced, &error));
            return Err(error);
        }
    };
    outcome.verdicts.extend(match &applied.error {
        Some(error) => Some(Verdict::of(Aspect::ObjectsSynced, error)),
        None if !applied.contested.is_empty() => {
            let message = format!(
                "somebody else changes it again and again, so it is left alone for ten minutes: {}; have the other leave it, or say in the \
                 pipeline what it wants",
                applied.contested.join("; ")
            );
            Some(Verdict::new(Aspect::ObjectsSynced, Truth::No, "Contested", message))
        }
        None if waits.is_some() => {
            let message = waits.clone().unwrap_or_default();
            Some(Verdict::new(Aspect::ObjectsSynced, Truth::Yes, "RolloutPending", message))
        }
        None if go_on => {
            let message = format!("{} objects are as they should be", applied.objects.len());
            Some(Verdict::new(Aspect::ObjectsSynced, Truth::Yes, "Synced", message))
        }
        None => None,
    });
    outcome.news.extend(applied.news);
    outcome.error = outcome.error.take().or(applied.error);
    if let Some(loss) = recreate.filter(|loss| !loss.resets() || workloads::ended(&name, &applied.objects)) {
        let (connection, claimant) = (&resolved.connection, topics::claimant(resource));
        let take_over = says(TAKE_OVER);
        match topics::reset(connection, &input.pipeline, &claims, claimant, take_over, &loss).await {
            Ok(Reset::Running(group, members)) => {
                for verdict in &mut outcome.verdicts {
                    if verdict.aspect == Aspect::TopicsSynced {
                        verdict.message +=
                            &format!("; Kafka still knows {members} members of the group {group}");
                    }
                }
            }
            Ok(Reset::Done) => {
                outcome.status.topics = loss.after(&outcome.status.topics, &specs);
                let note = format!("{}: processors begin anew", loss.names());
                let reason = "TopicsReset".to_owned();
                outcome.news.push(News { warning: true, reason, action: "SyncTopics", note });
            }
            Err(error) => {
                outcome.verdicts.retain(|verdict| verdict.aspect != Aspect::TopicsSynced);
                outcome.verdicts.push(Verdict::of(Aspect::TopicsSynced, &error));
                outcome.error = Some(error);
            }
        }
    }
    context.keeps(resource, applied.objects.keys().map(|(kind, _)| *kind).collect());
    let (processor, available) = workloads::processor(resource, &applied.objects);
    outcome.status.processor = processor;
    let objects = &applied.objects;
    let workloads = vec![
        (available, (Kind::StatefulSet, name.clone())),
        (workloads::gateway(resource, objects), (Kind::Deployment, format!("{name}-gateway"))),
        (workloads::generator(resource, objects), (Kind::Deployment, format!("{name}-generator"))),
    ];
    let explained = pods::explain(context, resource, objects, workloads).await;
    if waits.is_none() && explained.verdicts.iter().all(workloads::is_settled) {
        context.end_turn(resource);
    }
    outcome.verdicts.extend(explained.verdicts);
    outcome.news.extend(explained.news);
    outcome.progressing = explained.progressing;
    outcome.waiting = waits.is_some();
    let ready = outcome.status.processor.ready_replicas;
    let autoscaling = &mut outcome.status.autoscaling;
    let scaled = scaling::scale(context, resource, &resolved.connection, ready, autoscaling).await;
    outcome.verdicts.extend(scaled.verdict);
    outcome.news.extend(scaled.news);
    outcome.error = outcome.error.take().or(scaled.error);
    Ok(())
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
    let Ok(made_with) = MadeWith::of(pipeline, key) else { return Ok(()) };
    let (group, topic) = (format!("{}.windows", pipeline.metadata.name), pipeline.events_topic().to_owned());
    let committed = connection.committed(group, topic.clone()).await?.unwrap_or_default();
    let refusal = committed.iter().find_map(|(partition, metadata)| {
        Some((format!("{topic}/{partition}"), made_with.refusal_of(metadata)?))
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
    let refused = if allow_privileged_pods { Vec::new() } else { build::refused_fields(&pipeline) };
    if refused.is_empty() { Ok(()) } else { Err(SpecError::Invalid(refused).into()) }
}

/// That the document is valid, with what is worth saying about it, such as replicas that are not started.
fn remarks(pipeline: &Pipeline) -> Verdict {
    let remarks = pipeline.remarks();
    if remarks.is_empty() {
        return Verdict::new(Aspect::Valid, Truth::Yes, "Valid", "the document is valid");
    }
    let text = remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Verdict::new(Aspect::Valid, Truth::Remark, "Remarks", text)
}

/// Whether the objects were already what the resource says, so that what is missing now was taken away.
fn is_settled(resource: &ClickstreamPipeline) -> bool {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let mut synced = conditions.filter(|condition| condition.type_ == Aspect::ObjectsSynced.as_str());
    synced.any(|condition| {
        condition.status == "True" && condition.observed_generation == resource.metadata.generation
    })
}

#[cfg(test)]
mod tests;
