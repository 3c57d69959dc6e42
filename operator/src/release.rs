//! Releases pipelines whose operator is removed: nobody else would remove their finalizer, and deleting them would never end.
//!
//! Their topics stay. A later operator sets the finalizer again.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, Resource as _, ResourceExt};
use weir_manifest::ClickstreamPipeline;

use crate::Error;
use crate::conditions::EventNote;
use crate::context::identity;
use crate::error::api;
use crate::events;
use crate::lease::Election;
use crate::reconcile::{FINALIZER, write_finalizers};

/// Timeout for the lease: by then an operator that was stopped has released it, and that of a killed one has expired.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum attempts when others change the pipeline at the same time.
const MAX_WRITE_ATTEMPTS: usize = 5;

/// Releases all pipelines of a namespace, or of `all`, once no operator is active.
///
/// # Errors
/// An operator is still active; the API server refused a request.
pub async fn release(client: Client, namespace: &str, instance: String) -> anyhow::Result<()> {
    let mut election = Election::new(client.clone(), client.default_namespace(), instance.clone());
    tokio::time::timeout(RELEASE_TIMEOUT, election.acquire()).await.with_context(|| {
        format!(
            "an operator in namespace {} is still active, and would set the finalizers again: end it first (kubectl scale --replicas=0)",
            client.default_namespace()
        )
    })?;
    let released = release_pipelines(&client, namespace, &instance).await;
    election.release().await;
    let released = released?;
    match released.is_empty() {
        true => println!("no pipeline had a finalizer"),
        false => println!("released {}: their topics stay when they are deleted", released.join(", ")),
    }
    Ok(())
}

/// Whether the operator's own namespace is being deleted, and the operator with it.
pub(crate) async fn is_ending(client: &Client) -> kube::Result<bool> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_opt(client.default_namespace()).await?;
    Ok(found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

/// Removes the finalizer of every pipeline that no other operator keeps; returns their names.
pub(crate) async fn release_pipelines(
    client: &Client,
    namespace: &str,
    instance: &str,
) -> Result<Vec<String>, Error> {
    let kind = ApiResource::erase::<ClickstreamPipeline>(&());
    // Including those that cannot be decoded.
    let all: Api<DynamicObject> = match namespace {
        "all" => Api::all_with(client.clone(), &kind),
        namespace => Api::namespaced_with(client.clone(), namespace, &kind),
    };
    let me = identity(client);
    let mut released = Vec::new();
    for attempt in 1.. {
        let found = match all.list(&ListParams::default()).await {
            // Without the definition there are no pipelines.
            Err(kube::Error::Api(status)) if status.code == 404 => break,
            found => found.map_err(api("list the pipelines"))?,
        };
        let mut changed = false;
        for pipeline in
            found.items.iter().filter(|found| found.finalizers().iter().any(|name| name == FINALIZER))
        {
            let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
            if let Some(operator) = other_keeper(pipeline, &me) {
                tracing::info!(namespace, name, operator, "kept by another operator: not released");
                continue;
            }
            let others: Vec<String> =
                pipeline.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
            let version = pipeline.resource_version();
            match write_finalizers(client, &namespace, &name, version, &others).await {
                Ok(()) => {}
                Err(error) if error.is_conflict() && attempt < MAX_WRITE_ATTEMPTS => {
                    changed = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let note = "the operator goes: when the pipeline is deleted its topics stay".to_owned();
            let event_note =
                EventNote { warning: true, reason: "FinalizerReleased".to_owned(), action: "Release", note };
            let about = pipeline.object_ref(&kind);
            events::emit(client, instance, about, &[event_note]).await;
            released.push(format!("{namespace}/{name}"));
        }
        if !changed {
            break;
        }
    }
    Ok(released)
}

/// The operator that keeps the pipeline, where that is not `me`.
fn other_keeper<'a>(pipeline: &'a DynamicObject, me: &str) -> Option<&'a str> {
    pipeline.data["status"]["operator"].as_str().filter(|operator| !operator.is_empty() && *operator != me)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pipelines_of_another_operator_are_not_released() {
        let kind = ApiResource::erase::<ClickstreamPipeline>(&());
        for (status, other) in [
            (json!({}), None),
            (json!({"status": {}}), None),
            (json!({"status": {"operator": "weir/weir-operator"}}), None),
            (json!({"status": {"operator": "web/weir-operator"}}), Some("web/weir-operator")),
        ] {
            let pipeline = DynamicObject::new("shop", &kind).data(status);
            assert_eq!(other_keeper(&pipeline, "weir/weir-operator"), other, "{pipeline:?}");
        }
    }
}
