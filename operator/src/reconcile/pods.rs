//! Why a workload's pods are not ready, from the status of its controller and pods, and from events.

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

/// Prefix of a condition's message after the progress deadline.
const STALLED: &str = "no progress for ";

/// A crash longer ago than this is over: the container waits for something else. Longer than the kubelet's maximum backoff.
const MAX_CRASH_AGE_SECONDS: i64 = 600;

/// Maximum age of an event that still counts, seconds. Longer than a controller's maximum backoff, 1,000 s.
const MAX_EVENT_AGE_SECONDS: i64 = 1_200;

/// Maximum length of a pod's text in a condition, bytes.
const MAX_TEXT_BYTES: usize = 400;

/// Why a workload is not ready.
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

/// Conditions of workloads, with the cause where pods are not ready.
pub(super) struct Explained {
    pub(super) conditions: Vec<Condition>,
    pub(super) notes: Vec<EventNote>,
    /// Whether a workload is progressing, so that a pass should follow soon.
    pub(super) progressing: bool,
}

/// Adds the cause to the condition of each workload that is not ready. Ready workloads cost no request.
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
                tracing::warn!(namespace = key.0, name = key.1, %error, "could not find out why pods are not ready");
                Some(Cause::new("Progressing", format!("the cause is not known: {error}")))
            }
        };
        let condition = with_cause(condition, cause, stalled.then_some(context.progress_deadline), old);
        // Transitions emit an event when the reason changes; if it stays the same, the passed deadline is reported here.
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

/// Numbers that grow while a workload makes progress.
fn progress(workload: &Found) -> Progress {
    Progress {
        generation: workload.number("/metadata/generation"),
        ready: workload.number("/status/readyReplicas"),
        updated: workload.number("/status/updatedReplicas"),
    }
}

/// The condition with its cause; False after the progress deadline.
fn with_cause(
    condition: Condition,
    cause: Option<Cause>,
    over: Option<std::time::Duration>,
    old: Option<&ApiCondition>,
) -> Condition {
    let mut condition = condition;
    if let Some(over) = over {
        condition.status = ConditionStatus::False;
        condition.reason = "ProgressDeadlineExceeded".to_owned();
        condition.message = format!("{STALLED}{} s: {}", over.as_secs(), condition.message);
    }
    if let Some(cause) = cause {
        if cause.reason != "Progressing" {
            condition.reason = cause.reason;
        }
        let counts = format!("{}; ", condition.message);
        condition.message = format!("{counts}{}", cause.message);
        // Numbers in pods' texts (times, addresses, ids) differ between restarts without meaning, and sometimes a text is cut short.
        let kept = old
            .filter(|old| old.reason == condition.reason)
            .and_then(|old| old.message.strip_prefix(&counts));
        let same = |kept: &&str| {
            let (kept, new) = (masked(kept), masked(&cause.message));
            kept == new || kept.starts_with(&format!("{new}: "))
        };
        if let Some(kept) = kept.filter(same) {
            condition.message = format!("{counts}{kept}");
        }
    }
    condition
}

/// A text with every word that contains a digit masked.
fn masked(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_alphanumeric());
    words.map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word }).collect()
}

/// The first cause: pods that cannot be created, then pods that do not run.
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
    if let Some(cause) = creation_failure(context, &namespace, workload, made).await? {
        return Ok(Some(cause));
    }
    own.retain(|pod| pod.metadata.deletion_timestamp.is_none() && !is_ready(pod));
    own.sort_by_key(|pod| pod.name_any());
    let now = Timestamp::now();
    if let Some(cause) = own.iter().find_map(|pod| cause_from_status(pod, now)) {
        return Ok(Some(cause));
    }
    // A pod's status does not report a volume that cannot be mounted.
    let Some(waiting) = own.iter().find(|pod| waits_for_containers(pod)) else { return Ok(None) };
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

/// Why a workload's controller cannot create pods: Pod Security, a quota, an admission webhook. `made`: creation time of the newest pod.
async fn creation_failure(
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
    // A StatefulSet has no such condition; it only emits events.
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

/// The newest event with these fields, if it still counts.
async fn newest(
    context: &Context,
    namespace: &str,
    fields: &str,
    since: Option<Timestamp>,
) -> Result<Option<Event>, Error> {
    let events: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let found = events.list(&ListParams::default().fields(fields)).await.map_err(api("list events"))?;
    Ok(newest_current(found.items, since, Timestamp::now()))
}

/// The newest event, unless there was a success `since`, or it is too old.
fn newest_current(events: Vec<Event>, since: Option<Timestamp>, now: Timestamp) -> Option<Event> {
    let time = |event: &Event| {
        let last = event.series.as_ref().map(|series| series.last_observed_time.0);
        let last = last.or(event.deprecated_last_timestamp.as_ref().map(|time| time.0));
        last.or(event.event_time.as_ref().map(|time| time.0))
    };
    let newest = events.into_iter().max_by_key(time)?;
    let at = time(&newest)?;
    // Some times have whole seconds only.
    let after = since.is_none_or(|since| at.as_second() >= since.as_second());
    (after && now.as_second() - at.as_second() <= MAX_EVENT_AGE_SECONDS).then_some(newest)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the pod is scheduled and none of its containers has started.
fn waits_for_containers(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| status.phase.as_deref() == Some("Pending"))
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// The cause from a pod's status.
fn cause_from_status(pod: &Pod, now: Timestamp) -> Option<Cause> {
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
        let cause = cannot_start(container).or_else(|| crashed(container, now))?;
        let message = format!("pod {name}: container {}: {}", container.name, cause.message);
        Some(Cause::new(cause.reason, message))
    });
    // Other pods have more information than an evicted one.
    cause.or_else(|| {
        (status.phase.as_deref() == Some("Failed")).then(|| {
            let reason = status.reason.as_deref().unwrap_or("PodFailed");
            let message = status.message.as_deref().unwrap_or("it ended");
            Cause::new(reason, format!("pod {name}: {}", last_line(message)))
        })
    })
}

/// A container that cannot start: no image, a missing Secret, and the like.
fn cannot_start(container: &ContainerStatus) -> Option<Cause> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" => None,
        // These two alternate, and only one has the cause.
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

/// A container that crashes again and again. Its three states between restarts are reported as one.
fn crashed(container: &ContainerStatus, now: Timestamp) -> Option<Cause> {
    let of = |state: &Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    let ended = of(&container.state).or_else(|| of(&container.last_state))?;
    let since = ended.finished_at.as_ref().map_or(0, |time| now.as_second() - time.0.as_second());
    let backs_off = container.state.as_ref().is_some_and(|state| state.waiting.is_some());
    if ended.exit_code == 0 || since > MAX_CRASH_AGE_SECONDS && !backs_off {
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

/// The last line with content.
fn last_line(text: &str) -> String {
    let mut lines = text.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"));
    shortened(line.unwrap_or_default(), MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests;
