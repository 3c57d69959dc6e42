//! Writes the status if it changed.

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

/// Writes the status if it differs from the resource's. Returns `false` if this operator no longer keeps the pipeline.
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

/// Writes the status, and emits events for its transitions.
pub(super) async fn report(
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
    events::emit(&context.client, &context.instance, resource.object_ref(&()), &notes).await;
    Ok(())
}

/// The resource undecoded, whether or not it fits the operator's types; `None` if it is gone.
pub(super) async fn found(
    context: &Context,
    resource: &impl ResourceExt,
) -> Result<Option<DynamicObject>, Error> {
    // By a list, for which the operator has the right anyway.
    let named = ListParams::default().fields(&format!("metadata.name={}", resource.name_any()));
    let found = client(context, resource).list(&named).await.map_err(api("read the resource"))?.items.pop();
    Ok(found.filter(|found| found.uid() == resource.uid()))
}

/// Whether the API server has a later version of the resource, or none: an event of an object can begin a pass before the watch has
/// the status that the last pass wrote. It would write an earlier one, and emit the same events again.
pub(super) async fn is_outdated(context: &Context, resource: &Resource) -> Result<bool, Error> {
    let found = found(context, resource).await?;
    Ok(found.is_none_or(|found| found.resource_version() != resource.resource_version()))
}

/// The decodable part of its status. If the status itself does not decode it starts empty, except for the keeper.
pub(super) fn readable(found: &DynamicObject) -> PipelineStatus {
    let status = &found.data["status"];
    serde_json::from_value(status.clone()).unwrap_or_else(|_| PipelineStatus {
        operator: status["operator"].as_str().map(str::to_owned),
        contender: serde_json::from_value(status["contender"].clone()).ok(),
        generation: serde_json::from_value(status["generation"].clone()).ok(),
        conditions: serde_json::from_value(status["conditions"].clone()).unwrap_or_default(),
        ..PipelineStatus::default()
    })
}

/// Reports a resource that does not fit its definition, or a definition that does not fit the operator.
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
        events::emit(&context.client, &context.instance, resource.object_ref(&()), &notes).await;
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

/// Maximum attempts when others write the status at the same time.
const MAX_WRITE_ATTEMPTS: usize = 5;

/// Writes the status of a pipeline if this operator still keeps it. Keeper and contender are only written by [`keeper`](super::keeper);
/// the pipeline may have been released or taken over since the pass began. Returns whether it was written.
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
            tracing::info!(name, %keeper, "the pipeline has another keeper: status not written");
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

/// The same for a resource that does not fit its definition, for which server-side apply fails. A merge patch leaves other fields, also
/// those that do not decode.
async fn merge(context: &Context, resource: &Resource, status: &PipelineStatus) -> Result<(), Error> {
    let name = resource.name_any();
    let mut body = body(resource, status);
    // A contender that decodes was answered before.
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
        // Not of another resource that was created meanwhile under the same name.
        "metadata": {"name": resource.name_any(), "uid": resource.uid()},
        "status": status,
    })
}

#[cfg(test)]
mod tests;
