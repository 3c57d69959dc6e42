//! Pipelines that no longer match `--selector`: watches no longer report them, and no pass handles them.
//!
//! Without a release their status would stay Ready, and their finalizer would block their deletion.

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

/// Releases pipelines of a scope (a namespace, or `all`) that this operator keeps and its selector no longer matches.
pub(crate) async fn release_unselected(context: &Context, scope: &str, selector: &str) -> Result<(), Error> {
    let kind = ApiResource::erase::<ClickstreamPipeline>(&());
    let pipelines: Api<DynamicObject> = match scope {
        "all" => Api::all_with(context.client.clone(), &kind),
        namespace => Api::namespaced_with(context.client.clone(), namespace, &kind),
    };
    // All pipelines are listed first: one that gets the label meanwhile is in the second list, one that loses it has a newer version.
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
    // The finalizer first: the keeper stays known until all is done.
    let mut others = found.finalizers().to_vec();
    others.retain(|name| name != FINALIZER);
    if others.len() < found.finalizers().len() {
        write_finalizers(&context.client, &namespace, &name, found.resource_version(), &others).await?;
    }
    let before = status::readable(found);
    let message = format!(
        "operator {} keeps pipelines with the label {selector} alone, and this one no longer has it: its pods run on without an \
         operator, and deleted now it leaves its topics; give it a label that an operator's selector has",
        context.operator
    );
    let reported =
        |type_: &ConditionType| before.conditions.iter().any(|condition| condition.type_ == type_.as_str());
    let unknown = |type_| Condition::new(type_, ConditionStatus::Unknown, "NotSelected", message.clone());
    let conditions: Vec<Condition> = ConditionType::ALL
        .into_iter()
        .filter(|type_| *type_ == ConditionType::Ready || reported(type_))
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
    events::emit(&context.client, &context.instance, found.object_ref(&kind), &[event_note]).await;
    Ok(())
}
