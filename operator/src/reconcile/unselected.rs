//! Pipelines that lost the label by which `--selector` chose them: no watch tells of them any more, and no pass comes to them.
//!
//! Their status would go on saying that all is well, and their finalizer would keep them when they are deleted.

use std::collections::HashSet;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Resource as _, core::ObjectMeta};
use serde_json::json;
use weir_manifest::ClickstreamPipeline;

use super::cleanup::{FINALIZER, write_finalizers};
use super::status;
use crate::Error;
use crate::conditions::{self, Condition, ConditionStatus, ConditionType, EventNote};
use crate::context::Context;
use crate::error::api;
use crate::events;
use crate::object::MANAGER;

/// Lets go of those pipelines of a scope (a namespace, or `all`) that this operator keeps and that its selector has no more.
pub(crate) async fn release_unselected(context: &Context, scope: &str, selector: &str) -> Result<(), Error> {
    let kind = ApiResource::erase::<ClickstreamPipeline>(&());
    let pipelines: Api<DynamicObject> = match scope {
        "all" => Api::all_with(context.client.clone(), &kind),
        namespace => Api::namespaced_with(context.client.clone(), namespace, &kind),
    };
    // All of them first: what gets the label meanwhile is among the others, what loses it is of another version.
    let all = pipelines.list(&ListParams::default()).await.map_err(api("list the pipelines"))?;
    let kept = |found: &DynamicObject| found.data["status"]["operator"] == context.operator.as_str();
    let mine: Vec<DynamicObject> = all.items.into_iter().filter(kept).collect();
    if mine.is_empty() {
        return Ok(());
    }
    let chosen = ListParams::default().labels(selector);
    let chosen = pipelines.list(&chosen).await.map_err(api("list the pipelines"))?;
    let chosen: HashSet<String> = chosen.items.iter().filter_map(ResourceExt::uid).collect();
    for found in mine.iter().filter(|found| found.uid().is_none_or(|uid| !chosen.contains(&uid))) {
        match release_pipeline(context, selector, found).await {
            Err(error) if !error.is_conflict() => {
                let (namespace, name) = (found.namespace().unwrap_or_default(), found.name_any());
                tracing::warn!(namespace, name, %error, "could not release a pipeline, retrying");
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

async fn release_pipeline(context: &Context, selector: &str, found: &DynamicObject) -> Result<(), Error> {
    let (namespace, name) = (found.namespace().unwrap_or_default(), found.name_any());
    tracing::warn!(namespace, name, selector, "the selector no longer matches this pipeline: released");
    // The finalizer first: who keeps it is known until all is done.
    let mut others = found.finalizers().to_vec();
    others.retain(|name| name != FINALIZER);
    if others.len() < found.finalizers().len() {
        write_finalizers(&context.client, &namespace, &name, found.resource_version(), &others).await?;
    }
    let before = status::readable(found);
    let message = format!(
        "operator {} keeps pipelines with the label {selector} alone, and this one has it no more: its pods run on, nobody looks after \
         them, and deleted now it leaves its topics; give it a label that an operator's selector has",
        context.operator
    );
    let told =
        |type_: &ConditionType| before.conditions.iter().any(|condition| condition.type_ == type_.as_str());
    let unknown = |type_| Condition::new(type_, ConditionStatus::Unknown, "NotSelected", message.clone());
    let conditions: Vec<Condition> = ConditionType::ALL
        .into_iter()
        .filter(|type_| *type_ == ConditionType::Ready || told(type_))
        .map(unknown)
        .collect();
    let generation = before.observed_generation.unwrap_or_default();
    let conditions = conditions::merged(&before.conditions, &conditions, generation, Timestamp::now());
    let patch = json!({
        "metadata": ObjectMeta { uid: found.uid(), ..ObjectMeta::default() },
        "status": {"conditions": conditions, "operator": null, "contender": null},
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let kind = ApiResource::erase::<ClickstreamPipeline>(&());
    let pipelines: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &kind);
    match pipelines.patch_status(&name, &params, &Patch::Merge(&patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(api(format!("write the status of {name}"))(error)),
    }
    let event_note = EventNote {
        warning: true,
        reason: "NotSelected".to_owned(),
        action: "Release",
        note: message.clone(),
    };
    events::tell(&context.client, &context.instance, found.object_ref(&kind), &[event_note]).await;
    Ok(())
}
