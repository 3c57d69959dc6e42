//! Deletion of a pipeline with its topics (`deletionPolicy: Delete`).
//!
//! Only the operator removes the finalizer, so it does so within a bounded time whatever happens, and reports topics that are left.

use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::{Client, Resource as _, ResourceExt};
use serde_json::json;
use weir_kafka::admin::{Admin, AdminError, Claimant};
use weir_manifest::{ClickstreamPipeline, DeletionPolicy, Pipeline, TopicStatus};

use super::{apply, resolve, status, topics};
use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::Context;
use crate::error::api;
use crate::object::Kind;
use crate::{Error, events, objects};

/// The finalizer that keeps a deleted resource until its topics are deleted.
pub(crate) const FINALIZER: &str = "weir.dev/topics";

/// With the value `true`: the resource is deleted at once, its topics stay.
const SKIP: &str = "weir.dev/skip-topic-deletion";

/// Timeout for the pods to end, from this process's first attempt; longer than their termination grace periods.
const PODS_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout for deleting the topics, including the pods' end.
const TOPICS_TIMEOUT: Duration = Duration::from_secs(300);
/// Poll interval while pods end.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Sets the finalizer if topics are to be deleted, and removes it if not. Returns whether something was written.
pub(super) async fn keep_finalizer(context: &Context, resource: &ClickstreamPipeline) -> Result<bool, Error> {
    let wanted = resource.spec.deletion_policy == DeletionPolicy::Delete;
    let present = resource.finalizers().iter().any(|name| name == FINALIZER);
    if wanted == present {
        return Ok(false);
    }
    set(context, resource, wanted).await?;
    Ok(true)
}

/// Deletes the topics that the pipeline created, and removes the finalizer.
pub(super) async fn cleanup(context: &Context, resource: &ClickstreamPipeline) -> Result<Action, Error> {
    if !resource.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(Action::await_change());
    }
    let skip = resource.annotations().get(SKIP).is_some_and(|value| value == "true");
    let topics: Vec<TopicStatus> = resource.status.iter().flat_map(|status| status.topics.clone()).collect();
    let created: Vec<TopicStatus> = topics.into_iter().filter(|topic| topic.created).collect();
    let names = created.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ");
    if skip || resource.spec.deletion_policy == DeletionPolicy::Retain || created.is_empty() {
        let note = if names.is_empty() { "there are none of its own".to_owned() } else { names };
        return release(context, resource, event_note(false, "TopicsKept", note)).await;
    }
    // Not since the resource's deletion: an operator that did not run meanwhile has not tried anything yet. A restart starts the
    // timeout again.
    let waited = context.cleanup_elapsed(resource);
    if delete_workloads(context, resource).await? && waited < PODS_TIMEOUT {
        return Ok(Action::requeue(POLL_INTERVAL));
    }
    match delete(context, resource, created).await {
        Ok(deleted) => {
            let note = if deleted.is_empty() { "none is left".to_owned() } else { deleted.join(", ") };
            release(context, resource, event_note(false, "TopicsDeleted", note)).await
        }
        Err(error) if waited >= TOPICS_TIMEOUT => {
            let note = format!("{names}: {error}");
            release(context, resource, event_note(true, "TopicsLeft", note)).await
        }
        Err(error) => {
            let message = format!(
                "its topics could not be deleted yet: {error}; they are left {} s after the operator first tried, or at once with the \
                 annotation {SKIP}: \"true\"",
                TOPICS_TIMEOUT.as_secs()
            );
            let condition =
                Condition::new(ConditionType::Ready, ConditionStatus::False, error.reason(), message);
            let status = resource.status.clone().unwrap_or_default();
            status::report(context, resource, status, &[condition], Vec::new()).await?;
            Err(error)
        }
    }
}

fn event_note(warning: bool, reason: &str, note: String) -> EventNote {
    EventNote { warning, reason: reason.to_owned(), action: "DeleteTopics", note }
}

/// Deletes the workloads, which would recreate topics where brokers auto-create them. Returns whether some still exist.
async fn delete_workloads(context: &Context, resource: &ClickstreamPipeline) -> Result<bool, Error> {
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let uid = resource.uid().unwrap_or_default();
    let mut left = false;
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for object in apply::labelled(context, &namespace, kind, &objects::owned_selector(&name)).await? {
            if object.is_owned_by(&uid) {
                left = true;
                if object.manifest["metadata"]["deletionTimestamp"].is_null() {
                    apply::delete_with_pods(context, &namespace, kind, object.name()).await?;
                }
            }
        }
    }
    Ok(left)
}

async fn delete(
    context: &Context,
    resource: &ClickstreamPipeline,
    created: Vec<TopicStatus>,
) -> Result<Vec<String>, Error> {
    let connection = resolve::connection(&context.client, &Pipeline::from(resource)).await?;
    let claimant = topics::claimant(resource);
    connection.administer(move |admin| delete_ours(admin, &created, &claimant)).await
}

/// Deletes topics that still have the id with which they were created.
fn delete_ours(
    admin: &Admin,
    created: &[TopicStatus],
    claimant: &Claimant,
) -> Result<Vec<String>, AdminError> {
    let names: Vec<&str> = created.iter().map(|topic| topic.name.as_str()).collect();
    let ids = admin.ids(&names)?;
    let owners = topics::permitted(admin.owners(&ids))?;
    let ours = created.iter().filter(|topic| {
        let same = topic.topic_id.is_some() && ids.get(&topic.name) == topic.topic_id.as_ref();
        if !same && ids.contains_key(&topic.name) {
            tracing::warn!(topic = topic.name, "topic was recreated by somebody else: not deleted");
        }
        let other = owners.get(&topic.name).filter(|owner| !owner.is(claimant));
        if let Some(owner) = other {
            tracing::warn!(topic = topic.name, %owner, "topic now belongs to another pipeline: not deleted");
        }
        same && other.is_none()
    });
    let ours: Vec<&str> = ours.map(|topic| topic.name.as_str()).collect();
    admin.delete_topics(&ours)?;
    Ok(ours.into_iter().map(str::to_owned).collect())
}

async fn release(
    context: &Context,
    resource: &ClickstreamPipeline,
    note: EventNote,
) -> Result<Action, Error> {
    // Before the resource is gone: events about missing objects are refused.
    events::emit(&context.client, &context.instance, resource.object_ref(&()), &[note]).await;
    set(context, resource, false).await?;
    Ok(Action::await_change())
}

async fn set(context: &Context, resource: &ClickstreamPipeline, wanted: bool) -> Result<(), Error> {
    let mut finalizers = resource.finalizers().to_vec();
    finalizers.retain(|name| name != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    write_finalizers(
        &context.client,
        &resource.namespace().unwrap_or_default(),
        &resource.name_any(),
        resource.resource_version(),
        &finalizers,
    )
    .await
}

/// Replaces the finalizers of the resource as it was at `version`.
pub(crate) async fn write_finalizers(
    client: &Client,
    namespace: &str,
    name: &str,
    version: Option<String>,
    finalizers: &[String],
) -> Result<(), Error> {
    let pipelines: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        namespace,
        &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()),
    );
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    match pipelines.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(api(format!("change the finalizers of {name}"))(error)),
    }
}

#[cfg(test)]
mod tests;
