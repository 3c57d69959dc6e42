//! Why a workload's pods are not ready: what its controller and the pods themselves say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use weir_manifest::ClickstreamPipeline;

use crate::Error;
use crate::conditions::{Condition, ConditionStatus, EventNote, shortened};
use crate::context::{Context, Progress};
use crate::error::api;
use crate::object::{Found, Kind};
use crate::objects::{self, COMPONENT_LABEL};

/// How the message of a condition begins whose deadline is over.
const STALLED: &str = "no progress for ";

/// A container that ended so long ago has recovered: it waits for something else. Longer than the kubelet's longest pause between starts.
const RECENTLY: i64 = 600;

/// An event about something that was not tried again for so long, seconds, is history. Longer than a controller's longest pause between
/// two tries, 1,000 s.
const TRIES: i64 = 1_200;

/// The most of a pod's own words that a condition repeats.
const WORDS: usize = 400;

/// Why something is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    reason: String,
    message: String,
}

impl Cause {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Conditions about workloads, with the reason where pods are not ready.
pub(super) struct Explained {
    pub(super) conditions: Vec<Condition>,
    pub(super) notes: Vec<EventNote>,
    /// Whether something is on its way, so that looking again soon is worth it.
    pub(super) progressing: bool,
}

/// Says of each workload that makes progress, or should, what keeps it. What is ready costs no request.
pub(super) async fn explain(
    context: &Context,
    resource: &ClickstreamPipeline,
    objects: &BTreeMap<(Kind, String), Found>,
    conditions: Vec<(Condition, (Kind, String))>,
) -> Explained {
    let mut explained = Explained { conditions: Vec::new(), notes: Vec::new(), progressing: false };
    let before = resource.status.as_ref().map_or(&[][..], |status| &status.conditions[..]);
    let mut pods = None;
    for (condition, workload) in conditions {
        let key = (resource.namespace().unwrap_or_default(), resource.name_any(), condition.type_);
        let (Some(workload), true) = (objects.get(&workload), condition.reason == "Progressing") else {
            context.progressed(&key);
            explained.conditions.push(condition);
            continue;
        };
        let old = before.iter().find(|old| old.type_ == condition.type_.as_str());
        let was_stalled = old.is_some_and(|old| old.message.starts_with(STALLED));
        let stalled = context.is_stalled(key.clone(), progress(workload), was_stalled);
        let cause = match cause(context, resource, workload, &mut pods).await {
            Ok(cause) => cause,
            Err(error) => {
                tracing::warn!(namespace = key.0, name = key.1, %error, "why pods are not ready cannot be told");
                Some(Cause::new("Progressing", format!("why is not known: {error}")))
            }
        };
        let condition = said(condition, cause, stalled.then_some(context.progress_deadline), old);
        // A transition is told by the reason; where that was known before, the end of patience is told here.
        if stalled && !was_stalled && old.is_some_and(|old| old.reason == condition.reason) {
            explained.notes.push(EventNote {
                warning: true,
                reason: condition.reason.clone(),
                action: "Reconcile",
                note: format!("{}: {}", condition.type_.as_str(), condition.message),
            });
        }
        explained.progressing |= !stalled;
        explained.conditions.push(condition);
    }
    explained
}

/// What grows while a workload makes progress.
fn progress(workload: &Found) -> Progress {
    Progress {
        generation: workload.number("/metadata/generation"),
        ready: workload.number("/status/readyReplicas"),
        updated: workload.number("/status/updatedReplicas"),
    }
}

/// The condition with its cause, after the deadline as one that somebody must act upon.
fn said(
    condition: Condition,
    cause: Option<Cause>,
    over: Option<std::time::Duration>,
    old: Option<&ApiCondition>,
) -> Condition {
    let mut said = condition;
    if let Some(over) = over {
        said.status = ConditionStatus::False;
        said.reason = "ProgressDeadlineExceeded".to_owned();
        said.message = format!("{STALLED}{} s: {}", over.as_secs(), said.message);
    }
    if let Some(cause) = cause {
        if cause.reason != "Progressing" {
            said.reason = cause.reason;
        }
        let counts = format!("{}; ", said.message);
        said.message = format!("{counts}{}", cause.message);
        // Numbers in pods' words (times, addresses, ids) differ from start to start and say nothing new; and at times a pod says less.
        let kept =
            old.filter(|old| old.reason == said.reason).and_then(|old| old.message.strip_prefix(&counts));
        let same = |kept: &&str| {
            let (kept, new) = (masked(kept), masked(&cause.message));
            kept == new || kept.starts_with(&format!("{new}: "))
        };
        if let Some(kept) = kept.filter(same) {
            said.message = format!("{counts}{kept}");
        }
    }
    said
}

/// A text with every word that holds a digit replaced.
fn masked(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_alphanumeric());
    words.map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word }).collect()
}

/// The first thing that is wrong: pods that cannot be made, then pods that do not run.
async fn cause(
    context: &Context,
    resource: &ClickstreamPipeline,
    workload: &Found,
    pods: &mut Option<Vec<Pod>>,
) -> Result<Option<Cause>, Error> {
    let namespace = resource.namespace().unwrap_or_default();
    if pods.is_none() {
        *pods = Some(list(context, &namespace, &resource.name_any()).await?);
    }
    let component = workload.manifest["metadata"]["labels"][COMPONENT_LABEL].as_str().unwrap_or_default();
    let mut own: Vec<&Pod> = pods
        .iter()
        .flatten()
        .filter(|pod| pod.labels().get(COMPONENT_LABEL).is_some_and(|found| found == component))
        .collect();
    let made = own.iter().filter_map(|pod| pod.creation_timestamp()).map(|time| time.0).max();
    if let Some(cause) = not_made(context, &namespace, workload, made).await? {
        return Ok(Some(cause));
    }
    own.retain(|pod| pod.metadata.deletion_timestamp.is_none() && !is_ready(pod));
    own.sort_by_key(|pod| pod.name_any());
    let now = Timestamp::now();
    if let Some(cause) = own.iter().find_map(|pod| wrong(pod, now)) {
        return Ok(Some(cause));
    }
    // Of a volume that cannot be mounted the pod itself says nothing.
    let Some(waiting) = own.iter().find(|pod| waits(pod)) else { return Ok(None) };
    let name = waiting.name_any();
    let about = format!("regarding.kind=Pod,regarding.uid={}", waiting.uid().unwrap_or_default());
    let event = newest(context, &namespace, &about, None).await?;
    Ok(event.filter(|event| event.reason.as_deref().is_some_and(|reason| reason.starts_with("Failed"))).map(
        |event| {
            let note = event.note.unwrap_or_default();
            Cause::new(event.reason.unwrap_or_default(), format!("pod {name}: {}", last_line(&note)))
        },
    ))
}

/// Why a workload's controller cannot make pods: Pod Security, a quota, another's admission. `made`: when it made its newest one.
async fn not_made(
    context: &Context,
    namespace: &str,
    workload: &Found,
    made: Option<Timestamp>,
) -> Result<Option<Cause>, Error> {
    let conditions = workload.manifest["status"]["conditions"].as_array();
    let failure = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
    let refused = |note: &str| Cause::new("FailedCreate", last_line(note));
    if let Some(failure) = failure {
        return Ok(Some(refused(failure["message"].as_str().unwrap_or_default())));
    }
    // A StatefulSet has no such condition, and says so in events alone.
    let missing = workload.number("/status/replicas") < workload.number("/spec/replicas");
    if workload.kind != Kind::StatefulSet || !missing {
        return Ok(None);
    }
    let (kind, name) = (workload.kind.as_str(), workload.name());
    let about = format!("type=Warning,reason=FailedCreate,regarding.kind={kind},regarding.name={name}");
    let event = newest(context, namespace, &about, made).await?;
    Ok(event.map(|event| refused(&event.note.unwrap_or_default())))
}

async fn list(context: &Context, namespace: &str, pipeline: &str) -> Result<Vec<Pod>, Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let labels = ListParams::default().labels(&objects::owned_selector(pipeline));
    Ok(pods.list(&labels).await.map_err(api("list pods"))?.items)
}

/// The newest event of those with these fields that is still so.
async fn newest(
    context: &Context,
    namespace: &str,
    fields: &str,
    since: Option<Timestamp>,
) -> Result<Option<Event>, Error> {
    let events: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let found = events.list(&ListParams::default().fields(fields)).await.map_err(api("list events"))?;
    Ok(still_so(found.items, since, Timestamp::now()))
}

/// The newest of events, unless something went well `since`, or it was too long ago.
fn still_so(events: Vec<Event>, since: Option<Timestamp>, now: Timestamp) -> Option<Event> {
    let time = |event: &Event| {
        let last = event.series.as_ref().map(|series| series.last_observed_time.0);
        let last = last.or(event.deprecated_last_timestamp.as_ref().map(|time| time.0));
        last.or(event.event_time.as_ref().map(|time| time.0))
    };
    let newest = events.into_iter().max_by_key(time)?;
    let at = time(&newest)?;
    // Some times are in whole seconds.
    let after = since.is_none_or(|since| at.as_second() >= since.as_second());
    (after && now.as_second() - at.as_second() <= TRIES).then_some(newest)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether it is scheduled and none of its containers began.
fn waits(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| status.phase.as_deref() == Some("Pending"))
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// What a pod says is wrong with it.
fn wrong(pod: &Pod, now: Timestamp) -> Option<Cause> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node takes it");
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        return Some(Cause::new(reason, format!("pod {name}: {}", last_line(message))));
    }
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    let cause = containers.into_iter().filter(|container| !container.ready).find_map(|container| {
        let cause = not_begun(container).or_else(|| crashed(container, now))?;
        let message = format!("pod {name}: container {}: {}", container.name, cause.message);
        Some(Cause::new(cause.reason, message))
    });
    // Of a pod that was evicted the others tell more.
    cause.or_else(|| {
        (status.phase.as_deref() == Some("Failed")).then(|| {
            let reason = status.reason.as_deref().unwrap_or("PodFailed");
            let message = status.message.as_deref().unwrap_or("it ended");
            Cause::new(reason, format!("pod {name}: {}", last_line(message)))
        })
    })
}

/// A container that cannot begin: no image, a missing Secret, and the like.
fn not_begun(container: &ContainerStatus) -> Option<Cause> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" => None,
        // The two take turns, and only one says why.
        "ErrImagePull" | "ImagePullBackOff" => {
            let image = format!("image {} cannot be pulled", container.image);
            let why = match message.split_once("ErrImagePull: ") {
                Some((_, why)) => why,
                None if message.starts_with("Back-off") => "",
                None => message,
            };
            let why = last_line(why);
            let why = if why.is_empty() { why } else { format!(": {why}") };
            Some(Cause::new("ErrImagePull", format!("{image}{why}")))
        }
        reason => Some(Cause::new(reason, last_line(message))),
    }
}

/// A container that ended and is started again and again. Between its starts it says so in three ways, which are one here.
fn crashed(container: &ContainerStatus, now: Timestamp) -> Option<Cause> {
    let of = |state: &Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    let ended = of(&container.state).or_else(|| of(&container.last_state))?;
    let since = ended.finished_at.as_ref().map_or(0, |time| now.as_second() - time.0.as_second());
    let backs_off = container.state.as_ref().is_some_and(|state| state.waiting.is_some());
    if ended.exit_code == 0 || since > RECENTLY && !backs_off {
        return None;
    }
    let why = match ended.reason.as_deref() {
        None | Some("Error") => String::new(),
        Some(reason) => format!(" ({reason})"),
    };
    let line = ended.message.as_deref().map(last_line).unwrap_or_default();
    let line = if line.is_empty() { line } else { format!(": {line}") };
    Some(Cause::new("CrashLoopBackOff", format!("ended with exit code {}{why}{line}", ended.exit_code)))
}

/// The last line that says something.
fn last_line(text: &str) -> String {
    let mut lines = text.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"));
    shortened(line.unwrap_or_default(), WORDS)
}

#[cfg(test)]
mod tests;
