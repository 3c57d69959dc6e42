//! Writing the status, where it is not so already.

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};
use weir_manifest::{ClickstreamPipeline, PipelineStatus};

use crate::conditions::{self, Condition, EventNote};
use crate::context::{Context, Resource};
use crate::error::api;
use crate::object::MANAGER;
use crate::{Error, events};

/// Writes what was found, if it differs from what the resource says. `false` where this operator keeps it no longer.
pub(super) async fn write(
    context: &Context,
    resource: &ClickstreamPipeline,
    mut status: PipelineStatus,
    conditions: &[Condition],
) -> Result<bool, Error> {
    let generation = resource.metadata.generation.unwrap_or_default();
    status.observed_generation = Some(generation);
    status.conditions = conditions::merged(&status.conditions, conditions, generation, Timestamp::now());
    if resource.status.as_ref() == Some(&status) {
        return Ok(true);
    }
    apply(context, resource, &status).await
}

/// Writes what was found, and tells what of it is new.
pub(super) async fn tell(
    context: &Context,
    resource: &ClickstreamPipeline,
    status: PipelineStatus,
    conditions: &[Condition],
    mut notes: Vec<EventNote>,
) -> Result<(), Error> {
    let before = resource.status.as_ref().map_or(&[][..], |status| &status.conditions[..]);
    notes.extend(conditions::transitions(before, conditions));
    if !write(context, resource, status, conditions).await? {
        return Ok(());
    }
    events::tell(&context.client, &context.instance, resource.object_ref(&()), &notes).await;
    Ok(())
}

/// A resource as it is, whatever of it fits the operator's types; `None` when it is gone.
pub(super) async fn found(
    context: &Context,
    resource: &impl ResourceExt,
) -> Result<Option<DynamicObject>, Error> {
    // By the right to list, which is needed anyway.
    let named = ListParams::default().fields(&format!("metadata.name={}", resource.name_any()));
    let found = client(context, resource).list(&named).await.map_err(api("read the resource"))?.items.pop();
    Ok(found.filter(|found| found.uid() == resource.uid()))
}

/// What can be read of its status. Where the status itself is what cannot be, it begins anew; but who keeps it stays known.
pub(super) fn readable(found: &DynamicObject) -> PipelineStatus {
    let status = &found.data["status"];
    serde_json::from_value(status.clone()).unwrap_or_else(|_| PipelineStatus {
        operator: status["operator"].as_str().map(str::to_owned),
        contender: serde_json::from_value(status["contender"].clone()).ok(),
        conditions: serde_json::from_value(status["conditions"].clone()).unwrap_or_default(),
        ..PipelineStatus::default()
    })
}

/// Says what is so of a resource that does not fit its definition, or a definition that does not fit the operator.
pub(super) async fn refused(
    context: &Context,
    resource: &Resource,
    before: PipelineStatus,
    conditions: &[Condition],
) -> Result<(), Error> {
    let generation = resource.meta().generation.unwrap_or_default();
    let status = PipelineStatus {
        observed_generation: Some(generation),
        conditions: conditions::merged(&before.conditions, conditions, generation, Timestamp::now()),
        ..before.clone()
    };
    if status != before {
        merge(context, resource, &status).await?;
        let notes = conditions::transitions(&before.conditions, conditions);
        events::tell(&context.client, &context.instance, resource.object_ref(&()), &notes).await;
    }
    Ok(())
}

fn client(context: &Context, resource: &impl ResourceExt) -> Api<DynamicObject> {
    Api::namespaced_with(
        context.client.clone(),
        &resource.namespace().unwrap_or_default(),
        &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()),
    )
}

/// Times that a status which others write meanwhile is read again.
const MAX_WRITE_ATTEMPTS: usize = 5;

/// Writes the status of a pipeline that this operator still keeps. Who keeps it, and who asks, is written by [`keeper`](super::keeper) alone,
/// which may have let go of it, or another taken it, since the pass began. Whether it was written.
async fn apply(
    context: &Context,
    resource: &ClickstreamPipeline,
    status: &PipelineStatus,
) -> Result<bool, Error> {
    let name = resource.name_any();
    let mut body = body(resource, status);
    for attempt in 1.. {
        let Some(found) = found(context, resource).await? else { return Ok(false) };
        let keeper = &found.data["status"]["operator"];
        if *keeper != context.operator.as_str() {
            tracing::info!(name, %keeper, "kept no longer: what the pass found is not written");
            return Ok(false);
        }
        body["metadata"]["resourceVersion"] = json!(found.resource_version());
        let params = PatchParams::apply(MANAGER).force();
        match client(context, resource).patch_status(&name, &params, &Patch::Apply(&body)).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < MAX_WRITE_ATTEMPTS => {}
            Err(error) => return Err(api(format!("write the status of {name}"))(error)),
        }
    }
    Ok(false)
}

/// The same for a resource that does not fit its definition: the API server applies nothing to it. A merge leaves what is not named, also
/// what cannot be read.
async fn merge(context: &Context, resource: &Resource, status: &PipelineStatus) -> Result<(), Error> {
    let name = resource.name_any();
    let mut body = body(resource, status);
    // Another operator that can be read of was answered before.
    for field in ["autoscaling", "contender"] {
        let value = body["status"][field].take();
        body["status"][field] = value;
    }
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = client(context, resource).patch_status(&name, &params, &Patch::Merge(&body)).await;
    written.map_err(api(format!("write the status of {name}")))?;
    Ok(())
}

fn body(resource: &impl ResourceExt, status: &PipelineStatus) -> Value {
    let status = PipelineStatus { operator: None, contender: None, ..status.clone() };
    json!({
        "apiVersion": ClickstreamPipeline::api_version(&()),
        "kind": ClickstreamPipeline::kind(&()),
        // Not of another that was made meanwhile under the same name.
        "metadata": {"name": resource.name_any(), "uid": resource.uid()},
        "status": status,
    })
}

#[cfg(test)]
mod tests;
