//! One pass over a pipeline: resolve, validate, build, plan, apply, report.

mod apply;
mod cleanup;
mod generations;
mod keeper;
mod pods;
mod resolve;
mod rollout;
mod scaling;
#[cfg(test)]
mod server;
mod status;
mod steps;
mod topics;
mod undecodable;
mod unselected;
mod workloads;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::timeout;
use weir_manifest::{ClickstreamPipeline, PipelineStatus};

pub(crate) use self::cleanup::{FINALIZER, write_finalizers};
pub(crate) use self::keeper::answer_contenders;
pub(crate) use self::unselected::release_unselected;
use self::workloads::Objects;
use crate::Error;
use crate::conditions::{self, Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::{Context, Resource};
use crate::metrics::Ending;
use crate::object::Kind;

/// Timeout of a pass. Contenders are answered independently of passes, and at the start of each.
const PASS_TIMEOUT: Duration = Duration::from_secs(240);
const _: () = assert!(PASS_TIMEOUT.as_secs() < keeper::ANSWER_TIMEOUT.as_secs());

/// Timeouts of the steps that change something, and of reading the objects after these timed out: time is left to write the status.
const WORK_TIMEOUT: Duration = Duration::from_secs(180);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Resync interval: topics and Secrets are not watched. Nothing is written where nothing differs.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);

/// Requeue interval with autoscaling.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(15);

/// Requeue interval while pods are progressing: their state changes without an event of their controllers.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Requeue interval while other pipelines roll first: each pass reads everything from Kafka and the API server.
const TURN_INTERVAL: Duration = Duration::from_secs(30);

/// Requeue interval while the watch is behind; its next event comes earlier.
const BEHIND_INTERVAL: Duration = Duration::from_secs(1);

/// With the value `true`: the operator leaves the pipeline alone.
const PAUSED: &str = "weir.dev/paused";

/// The findings of a pass.
struct Outcome {
    status: PipelineStatus,
    conditions: Vec<Condition>,
    notes: Vec<EventNote>,
    error: Option<Error>,
    /// Whether pods are progressing.
    progressing: bool,
    /// Whether the pipeline waits for its rollout turn.
    waiting: bool,
}

impl Outcome {
    /// Adds the condition that reports an error; returns the error.
    fn failed(&mut self, type_: ConditionType, error: Error) -> Error {
        self.conditions.push(Condition::of(type_, &error));
        error
    }

    /// Replaces a condition of the same type from an earlier step.
    fn replace(&mut self, condition: Condition) {
        self.conditions.retain(|earlier| earlier.type_ != condition.type_);
        self.conditions.push(condition);
    }
}

/// Reconciles one pipeline with its resource.
///
/// # Errors
/// The error that stopped the pass; also reported in the resource's status if that can be written.
pub async fn reconcile(resource: Arc<Resource>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    let result = match timeout(PASS_TIMEOUT, reconcile_kept(&context, &resource)).await {
        Ok(Ok(ControlFlow::Break(action))) => return Ok(action),
        Ok(Ok(ControlFlow::Continue(action))) => Ok(action),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::PassSlow(PASS_TIMEOUT)),
    };
    let (result_label, reason) = match &result {
        Ok(_) => ("success", ""),
        Err(error) => ("failure", error.reason()),
    };
    context.metrics.reconciles.get_or_create(&Ending { result: result_label, reason }).inc();
    context.metrics.durations.observe(began.elapsed().as_secs_f64());
    if result.is_ok() {
        context.record_success(&resource);
    }
    result
}

/// The next action after a failed pass.
pub fn after_failure(resource: Arc<Resource>, error: &Error, context: Arc<Context>) -> Action {
    let namespace = resource.namespace().unwrap_or_default();
    let name = resource.name_any();
    if error.awaits_change() {
        tracing::warn!(namespace, name, reason = error.reason(), %error, "waiting for a change");
        // Pods of an earlier document keep running, and their conditions are kept current.
        return Action::requeue(RESYNC_INTERVAL);
    }
    let pause = context.backoff(&resource);
    tracing::warn!(namespace, name, reason = error.reason(), %error, retry_in = ?pause, "transient error, retrying");
    Action::requeue(pause)
}

/// A pass over a pipeline that this operator keeps; `Break` during the backoff after a failure, and while the watch is behind.
async fn reconcile_kept(
    context: &Context,
    resource: &Resource,
) -> Result<ControlFlow<Action, Action>, Error> {
    let unread = match &resource.0 {
        Ok(_) => None,
        Err(_) => match status::found(context, resource).await? {
            Some(found) => Some(found),
            None => return Ok(ControlFlow::Continue(Action::await_change())),
        },
    };
    // Also for a resource that cannot be decoded: otherwise two operators would write its status in turn.
    let before = match (&resource.0, &unread) {
        (Ok(readable), _) => readable.status.clone().unwrap_or_default(),
        (Err(_), found) => found.as_ref().map(status::readable).unwrap_or_default(),
    };
    // Before any backoff: a contender takes over from a keeper that does not answer.
    match keeper::ensure_keeper(context, resource, &before).await {
        Ok(None) => {}
        Ok(Some(action)) => return Ok(ControlFlow::Continue(action)),
        Err(error @ Error::DefinitionOlder) => {
            status::refused(context, resource, before, &[Condition::of(ConditionType::Ready, &error)])
                .await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    if let Some(left) = context.remaining_backoff(resource) {
        return Ok(ControlFlow::Break(Action::requeue(left)));
    }
    if status::is_outdated(context, resource).await? {
        return Ok(ControlFlow::Break(Action::requeue(BEHIND_INTERVAL)));
    }
    let action = match &resource.0 {
        Ok(readable) => pass(context, readable).await,
        Err(invalid) => undecodable::report(context, resource, before, invalid).await,
    };
    action.map(ControlFlow::Continue)
}

async fn pass(context: &Context, resource: &ClickstreamPipeline) -> Result<Action, Error> {
    let paused = resource.annotations().get(PAUSED).is_some_and(|value| value == "true");
    if resource.metadata.deletion_timestamp.is_some() {
        return cleanup::cleanup(context, resource).await;
    }
    // The write triggers the next pass, with the resource version that the next write needs.
    if !paused && cleanup::keep_finalizer(context, resource).await? {
        return Ok(Action::await_change());
    }
    let mut outcome = Outcome {
        status: resource.status.clone().unwrap_or_default(),
        conditions: Vec::new(),
        notes: Vec::new(),
        error: None,
        progressing: false,
        waiting: false,
    };
    let worked = match paused {
        true => None,
        false => match timeout(WORK_TIMEOUT, steps::work(context, resource, &mut outcome)).await {
            Ok(Ok(worked)) => Some(worked),
            // Another operator keeps the pipeline: nothing to report.
            Ok(Err(error @ Error::KeptNoLonger)) => return Err(error),
            Err(_) => {
                let error = Error::PassSlow(WORK_TIMEOUT);
                outcome.conditions.push(Condition {
                    status: ConditionStatus::Unknown,
                    ..Condition::of(ConditionType::ObjectsSynced, &error)
                });
                outcome.error.get_or_insert(error);
                None
            }
            Ok(Err(error)) => {
                // The error of an earlier step has precedence.
                outcome.error.get_or_insert(error);
                None
            }
        },
    };
    // Whatever the steps' result: pods run on, or fail, independently of the document.
    let objects = match &worked {
        Some(worked) => Ok(worked.objects.clone()),
        None => timeout(READ_TIMEOUT, apply::present(context, resource))
            .await
            .unwrap_or(Err(Error::PassSlow(READ_TIMEOUT))),
    };
    match objects {
        Ok(objects) => observe(context, resource, &objects, &mut outcome).await,
        Err(error) => {
            outcome.conditions.extend(workloads::unknown(&error));
            outcome.error.get_or_insert(error);
        }
    }
    if let Some(worked) = worked {
        outcome.waiting = worked.waits;
        outcome.progressing |= worked.takes_over;
        let settled = outcome.conditions.iter().all(workloads::is_settled);
        let turn = rollout::end_turn(context, resource, &worked.pipeline, &worked.connection, settled).await;
        // Ready pods do not progress further: only sealed windows are awaited.
        *(if settled { &mut outcome.waiting } else { &mut outcome.progressing }) |= turn;
        let ready = outcome.status.processor.ready_replicas;
        let autoscaling = &mut outcome.status.autoscaling;
        let scaled =
            scaling::scale(context, resource, &worked.pipeline, &worked.connection, ready, autoscaling).await;
        outcome.conditions.extend(scaled.condition);
        outcome.notes.extend(scaled.notes);
        outcome.error = outcome.error.take().or(scaled.error);
    }
    if paused {
        let message = format!("nothing is changed until the annotation {PAUSED} is taken away");
        outcome.conditions.push(Condition::new(
            ConditionType::Ready,
            ConditionStatus::Unknown,
            "Paused",
            message,
        ));
    } else {
        outcome.conditions.push(conditions::ready(&outcome.conditions));
        outcome.conditions.extend(keeper::condition(context, resource));
    }
    status::report(context, resource, outcome.status, &outcome.conditions, outcome.notes).await?;
    match outcome.error {
        Some(error) => Err(error),
        None if outcome.progressing => Ok(Action::requeue(PROGRESS_INTERVAL)),
        None if scaling::is_active(resource) => Ok(Action::requeue(SAMPLE_INTERVAL)),
        None if outcome.waiting => Ok(Action::requeue(TURN_INTERVAL)),
        None => Ok(Action::requeue(RESYNC_INTERVAL)),
    }
}

/// Reports the state of the workloads.
async fn observe(
    context: &Context,
    resource: &ClickstreamPipeline,
    objects: &Objects,
    outcome: &mut Outcome,
) {
    context.record_objects(resource, objects.keys().map(|(kind, _)| *kind).collect());
    let name = resource.name_any();
    let (processor, available) = workloads::processor(resource, objects);
    outcome.status.processor = processor;
    let workloads = vec![
        (available, (Kind::StatefulSet, name.clone())),
        (workloads::gateway(resource, objects), (Kind::Deployment, format!("{name}-gateway"))),
        (workloads::generator(resource, objects), (Kind::Deployment, format!("{name}-generator"))),
    ];
    let explained = pods::explain(context, resource, objects, workloads).await;
    outcome.conditions.extend(explained.conditions);
    outcome.notes.extend(explained.notes);
    outcome.progressing = explained.progressing;
}

#[cfg(test)]
mod tests;
