//! Reads the objects and applies the plan.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use weir_manifest::ClickstreamPipeline;

use super::workloads::Objects;
use crate::Error;
use crate::conditions::EventNote;
use crate::context::{Context, Repair};
use crate::error::api;
use crate::object::MANAGER;
use crate::object::{Found, Kind, Object};
use crate::objects;
use crate::plan::{self, Difference, Step};

/// The objects afterwards, and notes about what was done.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) objects: Objects,
    pub(super) notes: Vec<EventNote>,
    /// Fields that the API server, or an admission webhook, reverts at once.
    pub(super) overruled: Vec<String>,
    /// Fields that another writer changes again and again; left alone for a while.
    pub(super) contested: Vec<String>,
    pub(super) error: Option<Error>,
}

/// Brings the objects `found` of one pipeline into the desired state. `settled`: they were in sync before, so a missing object was
/// deleted by somebody.
pub(super) async fn apply(
    context: &Context,
    namespace: &str,
    uid: &str,
    mut found: Vec<Found>,
    desired: Vec<Object>,
    settled: bool,
) -> Result<Applied, Error> {
    add_unlabelled(context, namespace, &mut found, &desired).await?;
    let mut applied = Applied::default();
    let steps = plan::plan(desired, &found, uid);
    for object in found.into_iter().filter(|object| object.is_owned_by(uid)) {
        applied.objects.insert((object.kind, object.name().to_owned()), object);
    }
    let mut done: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut not_owned = Vec::new();
    for step in steps {
        match step {
            Step::NotOwned(object) => not_owned.push(object),
            Step::Delete(kind, name) => {
                delete(context, namespace, kind, &name).await?;
                done.entry("Deleted").or_default().push(display_name(kind, &name));
                applied.objects.remove(&(kind, name));
            }
            Step::Create(object) => {
                let display_name = display_name(object.kind, &object.name);
                match write(context, namespace, &object, &mut applied).await {
                    // This kind comes last: all other objects exist by now.
                    Err(Error::Api { source, .. }) if is_unknown(object.kind, &source) => {
                        applied.error = Some(Error::KindMissing(object.kind));
                        continue;
                    }
                    written => written?,
                }
                if settled {
                    done.entry("Repaired").or_default().push(format!("{display_name} was missing"));
                } else {
                    done.entry("Created").or_default().push(display_name);
                }
            }
            Step::Change(object) => {
                write(context, namespace, &object, &mut applied).await?;
                done.entry("Changed").or_default().push(display_name(object.kind, &object.name));
            }
            Step::Adopt(object) => {
                write(context, namespace, &object, &mut applied).await?;
                done.entry("Adopted").or_default().push(display_name(object.kind, &object.name));
            }
            Step::Repair(object, differences) => {
                let key = (namespace.to_owned(), object.kind, object.name.clone());
                let present = applied.objects[&(object.kind, object.name.clone())].clone();
                let who = present.managers(differences.iter().map(Difference::path)).join(", ");
                let by = if who.is_empty() { who } else { format!(" (by {who})") };
                let fields = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let what = format!("{}: {fields}{by}", display_name(object.kind, &object.name));
                match context.may_repair(&key, &differences) {
                    Repair::Yes => {}
                    Repair::Reverted => {
                        applied.overruled.push(overruled(&object, &differences));
                        continue;
                    }
                    Repair::Contested => {
                        applied.contested.push(what);
                        continue;
                    }
                }
                prune(context, namespace, &object, &present, &differences).await?;
                write(context, namespace, &object, &mut applied).await?;
                done.entry("Repaired").or_default().push(what);
                let after = &applied.objects[&(object.kind, object.name.clone())];
                let left = plan::differences(&object, after);
                if !left.is_empty() {
                    applied.overruled.push(overruled(&object, &left));
                }
                context.repaired(key, left);
            }
        }
    }
    applied.notes.extend(done.into_iter().map(|(reason, what)| EventNote {
        warning: false,
        reason: reason.to_owned(),
        action: "Apply",
        note: what.join("; "),
    }));
    if !not_owned.is_empty() {
        applied.error.get_or_insert(Error::NotOwned(not_owned));
    }
    Ok(applied)
}

/// Reads a pipeline's objects without changing any.
pub(super) async fn present(context: &Context, resource: &ClickstreamPipeline) -> Result<Objects, Error> {
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let found = found(context, &namespace, &name).await?;
    Ok(keep(&resource.uid().unwrap_or_default(), found).objects)
}

/// The objects found that the pipeline owns, unchanged.
pub(super) fn keep(uid: &str, found: Vec<Found>) -> Applied {
    let own = found.into_iter().filter(|object| object.is_owned_by(uid));
    let objects = own.map(|object| ((object.kind, object.name().to_owned()), object)).collect();
    Applied { objects, ..Applied::default() }
}

/// Like [`keep`], but sets the document's numbers of replicas; pod templates stay unchanged.
pub(super) async fn scale(
    context: &Context,
    namespace: &str,
    uid: &str,
    found: Vec<Found>,
    desired: &[Object],
) -> Result<Applied, Error> {
    let mut applied = keep(uid, found);
    let mut scaled = Vec::new();
    for object in desired {
        let key = (object.kind, object.name.clone());
        let Some(replicas) = object.manifest["spec"]["replicas"].as_i64() else { continue };
        let Some(before) = applied.objects.get(&key).map(|present| present.number("/spec/replicas")) else {
            continue;
        };
        if i64::from(before) == replicas {
            continue;
        }
        let display_name = display_name(object.kind, &object.name);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = client(context, namespace, object.kind)
            .patch(&object.name, &params, &Patch::Merge(json!({"spec": {"replicas": replicas}})))
            .await
            .map_err(api(format!("scale {display_name}")))?;
        applied.objects.insert(key, as_found(object.kind, &written)?);
        scaled.push(format!("{display_name}: {replicas} pods, were {before}"));
    }
    if !scaled.is_empty() {
        let (reason, note) = ("Changed".to_owned(), scaled.join("; "));
        applied.notes.push(EventNote { warning: false, reason, action: "Apply", note });
    }
    Ok(applied)
}

fn display_name(kind: Kind, name: &str) -> String {
    format!("{} {name}", kind.as_str())
}

fn overruled(object: &Object, left: &[Difference]) -> String {
    let fields = left.iter().map(Difference::standing).collect::<Vec<_>>().join(", ");
    format!("{}: {fields}", display_name(object.kind, &object.name))
}

fn client(context: &Context, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &kind.resource())
}

/// All objects with the pipeline's labels.
pub(super) async fn found(context: &Context, namespace: &str, name: &str) -> Result<Vec<Found>, Error> {
    let selector = objects::owned_selector(name);
    let lists = Kind::ALL.map(|kind| labelled(context, namespace, kind, &selector));
    Ok(try_join_all(lists).await?.into_iter().flatten().collect())
}

/// Adds objects without the labels that have the name of a desired object.
async fn add_unlabelled(
    context: &Context,
    namespace: &str,
    found: &mut Vec<Found>,
    desired: &[Object],
) -> Result<(), Error> {
    for object in desired {
        if found.iter().any(|found| found.kind == object.kind && found.name() == object.name) {
            continue;
        }
        let present = client(context, namespace, object.kind).get_opt(&object.name).await;
        if present.as_ref().is_err_and(|error| is_unknown(object.kind, error)) {
            continue;
        }
        let present = present.map_err(api(format!("read {} {}", object.kind.as_str(), object.name)))?;
        if let Some(present) = present {
            found.push(as_found(object.kind, &present)?);
        }
    }
    Ok(())
}

/// Whether the API server does not serve the kind.
fn is_unknown(kind: Kind, error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404) && !kind.is_built_in()
}

/// The objects of a kind with these labels.
pub(super) async fn labelled(
    context: &Context,
    namespace: &str,
    kind: Kind,
    selector: &str,
) -> Result<Vec<Found>, Error> {
    let list = client(context, namespace, kind).list(&ListParams::default().labels(selector)).await;
    if list.as_ref().is_err_and(|error| is_unknown(kind, error)) {
        return Ok(Vec::new());
    }
    let list = list.map_err(api(format!("list {}s", kind.as_str())))?;
    list.items.into_iter().map(|object| as_found(kind, &object)).collect()
}

fn as_found(kind: Kind, object: &DynamicObject) -> Result<Found, Error> {
    let mut manifest = serde_json::to_value(object)
        .map_err(|error| api(format!("read a {}", kind.as_str()))(kube::Error::SerdeError(error)))?;
    // Entries of a list have no `kind`.
    manifest["apiVersion"] = Value::from(kind.api_version());
    manifest["kind"] = Value::from(kind.as_str());
    Ok(Found { kind, manifest })
}

async fn write(
    context: &Context,
    namespace: &str,
    object: &Object,
    applied: &mut Applied,
) -> Result<(), Error> {
    let params = PatchParams::apply(MANAGER).force();
    let written = client(context, namespace, object.kind)
        .patch(&object.name, &params, &Patch::Apply(&object.manifest))
        .await
        .map_err(api(format!("apply {}", display_name(object.kind, &object.name))))?;
    tracing::info!(namespace, kind = object.kind.as_str(), name = object.name, "applied");
    applied.objects.insert((object.kind, object.name.clone()), as_found(object.kind, &written)?);
    Ok(())
}

/// Removes entries that others added to lists and selectors: server-side apply keeps them.
async fn prune(
    context: &Context,
    namespace: &str,
    object: &Object,
    present: &Found,
    differences: &[Difference],
) -> Result<(), Error> {
    let mut manifest = present.manifest.clone();
    let mut surplus: Vec<&str> = differences.iter().filter_map(Difference::surplus).collect();
    if surplus.is_empty() {
        return Ok(());
    }
    // From the end, so that the indices of the others stay valid.
    surplus.sort_by_key(|pointer| std::cmp::Reverse(numbered(pointer)));
    for pointer in surplus {
        let Some((parent, entry)) = pointer.rsplit_once('/') else { continue };
        match manifest.pointer_mut(parent) {
            Some(Value::Array(list)) => {
                if let Some(at) = entry.parse::<usize>().ok().filter(|at| *at < list.len()) {
                    list.remove(at);
                }
            }
            Some(Value::Object(fields)) => {
                fields.insert(entry.replace("~1", "/").replace("~0", "~"), Value::Null);
            }
            _ => {}
        }
    }
    // With the resource version that was compared: lists are replaced as a whole.
    let version = &present.manifest["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version}, "spec": manifest["spec"]});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    client(context, namespace, object.kind)
        .patch(&object.name, &params, &Patch::Merge(&patch))
        .await
        .map_err(api(format!("repair {}", display_name(object.kind, &object.name))))?;
    Ok(())
}

/// A sort key for pointers by position.
fn numbered(pointer: &str) -> Vec<(Option<usize>, &str)> {
    pointer.split('/').map(|part| (part.parse().ok(), part)).collect()
}

async fn delete(context: &Context, namespace: &str, kind: Kind, name: &str) -> Result<(), Error> {
    delete_by(context, namespace, kind, name, PropagationPolicy::Background).await
}

/// Deletes a workload in the foreground: it exists until its pods are gone.
pub(super) async fn delete_with_pods(
    context: &Context,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<(), Error> {
    delete_by(context, namespace, kind, name, PropagationPolicy::Foreground).await
}

async fn delete_by(
    context: &Context,
    namespace: &str,
    kind: Kind,
    name: &str,
    policy: PropagationPolicy,
) -> Result<(), Error> {
    let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    match client(context, namespace, kind).delete(name, &params).await {
        Ok(_) => {
            tracing::info!(namespace, kind = kind.as_str(), name, "deleted");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(api(format!("delete {}", display_name(kind, name)))(error)),
    }
}

#[cfg(test)]
mod tests;
