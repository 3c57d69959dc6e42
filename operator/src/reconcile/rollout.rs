//! Rollouts without a change of the document, as after an operator upgrade: one pipeline after the other, so that a bad change reaches
//! at most one pipeline per progress deadline.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use serde_json::{Value, json};
use weir_log::ResultsProgress;
use weir_manifest::{ClickstreamPipeline, Pipeline, State};

use crate::conditions::ConditionType;
use crate::context::Context;
use crate::kafka::Connection;
use crate::object::{Found, Kind, Object};
use crate::objects::{SPEC_HASH, TEMPLATE_HASH};
use crate::plan;

/// The condition reason of objects that wait for their rollout turn.
pub(super) const PENDING: &str = "RolloutPending";

/// Takes the rollout turn if pods are about to be rolled although the document's fields about them have not changed. While another
/// pipeline holds the turn, only this one's replicas are changed, because other objects of a new operator may not fit the old pods; the
/// returned message names what it waits for. Changes of the document do not wait, nor do missing workloads or a pipeline without a
/// ready processor, which have nothing to lose.
pub(super) fn take_turn(
    context: &Context,
    resource: &ClickstreamPipeline,
    found: &[Found],
    built: &[Object],
) -> Option<String> {
    let processors = found.iter().find(|object| object.kind == Kind::StatefulSet)?;
    let serves = processors.number("/spec/replicas") == 0 || processors.number("/status/readyReplicas") > 0;
    let changed: Vec<(&Object, &Found)> =
        built.iter().filter_map(|object| Some((object, rolled(object, found)?))).collect();
    if !serves || is_incomplete(built, found) || changed.is_empty() {
        return None;
    }
    let unseen = !is_settled(resource);
    if changed.iter().any(|(object, present)| is_by_document(object, present).unwrap_or(unseen)) {
        return None;
    }
    let other = context.take_turn(resource).err()?;
    let image = |manifest| image(manifest).unwrap_or_default().to_owned();
    let new = built.iter().find(|object| object.kind == Kind::StatefulSet);
    let new = new.map(|object| image(&object.manifest)).unwrap_or_default();
    let old = image(&processors.manifest);
    let what = if new == old { "new pods follow".to_owned() } else { format!("image {new} follows") };
    Some(format!(
        "{what} when {other}, which is rolled now, is ready and has sealed a window; until then {old} stays as it is"
    ))
}

/// Whether the objects are in sync with the resource, or wait for their rollout turn.
pub(super) fn is_settled(resource: &ClickstreamPipeline) -> bool {
    synced(resource).is_some()
}

/// Whether the objects were in sync with the resource, so that an object that is missing now was deleted.
pub(super) fn is_applied(resource: &ClickstreamPipeline) -> bool {
    synced(resource).is_some_and(|condition| condition.reason != PENDING)
}

/// The ObjectsSynced condition, if it is True for the newest generation.
fn synced(resource: &ClickstreamPipeline) -> Option<&ApiCondition> {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let mut synced = conditions.filter(|condition| condition.type_ == ConditionType::ObjectsSynced.as_str());
    synced.find(|condition| {
        condition.status == "True" && condition.observed_generation == resource.metadata.generation
    })
}

fn is_workload(object: &Object) -> bool {
    matches!(object.kind, Kind::StatefulSet | Kind::Deployment)
}

fn present<'a>(object: &Object, found: &'a [Found]) -> Option<&'a Found> {
    found.iter().find(|found| found.kind == object.kind && found.name() == object.name)
}

/// Whether a workload is missing.
fn is_incomplete(built: &[Object], found: &[Found]) -> bool {
    built.iter().any(|object| is_workload(object) && present(object, found).is_none())
}

/// Whether the document's fields about an object's pods changed since they were created; `None` if an operator created them that did
/// not record the hash.
fn is_by_document(object: &Object, present: &Found) -> Option<bool> {
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][SPEC_HASH].clone();
    match hash(&present.manifest) {
        Value::Null => None,
        made => Some(made != hash(&object.manifest)),
    }
}

/// The object found, if applying the desired one would roll its pods. Changes by others are repaired at once.
fn rolled<'a>(object: &Object, found: &'a [Found]) -> Option<&'a Found> {
    let present = present(object, found).filter(|_| is_workload(object))?;
    let template = Object {
        manifest: json!({"spec": {"template": object.manifest["spec"]["template"]}}),
        ..object.clone()
    };
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][TEMPLATE_HASH].clone();
    let rolls = match hash(&present.manifest) {
        // Created by an operator that did not record it.
        Value::Null => {
            plan::is_outdated(object, present) && !plan::differences(&template, present).is_empty()
        }
        made => made != hash(&object.manifest),
    };
    rolls.then_some(present)
}

/// The image of the processors.
fn image(manifest: &Value) -> Option<&str> {
    let containers = manifest["spec"]["template"]["spec"]["containers"].as_array()?;
    containers.iter().find(|container| container["name"] == "processor")?["image"].as_str()
}

/// Ends this pipeline's turn once its pods are ready and have sealed a window since. Without events no window is sealed: then ready
/// is enough after the time in which one would have been. `pipeline` is in its newest generation. Returns whether the pipeline still holds the turn.
pub(super) async fn end_turn(
    context: &Context,
    resource: &ClickstreamPipeline,
    pipeline: &Pipeline,
    connection: &Connection,
    settled: bool,
) -> bool {
    if !context.has_turn(resource) {
        return false;
    }
    if !settled {
        context.not_rolled_out(resource);
        return true;
    }
    let window = &resource.spec.window;
    let timeout = match resource.spec.state {
        State::Suspended => Duration::ZERO,
        State::Running => millis(
            2 * window.slide.as_millis()
                + window.out_of_orderness.as_millis()
                + window.idle_timeout.as_millis(),
        ),
    };
    let committed = connection.committed(pipeline.results_group(), pipeline.blocks_topic()).await;
    let sealed = committed.ok().flatten().map(|committed| {
        let emitted = committed
            .iter()
            .filter_map(|(_, metadata)| serde_json::from_str::<ResultsProgress>(metadata).ok()?.emitted);
        // No sealed window yet is a known state too.
        emitted.max().unwrap_or(i64::MIN)
    });
    !context.rolled_out(resource, sealed, timeout)
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use kube::core::error_boundary::DeserializeGuard;
    use kube::runtime::{reflector, watcher};
    use weir_manifest::{PipelineSpec, PipelineStatus};

    use super::super::server::server;
    use super::*;
    use crate::conditions::{self, Condition, ConditionStatus, ConditionType};
    use crate::object::HASH;

    fn workload(hash: &str, template: Option<&str>, labels: Value, spec: Option<&str>) -> Object {
        let annotations = json!({HASH: hash, TEMPLATE_HASH: template, SPEC_HASH: spec});
        let manifest = json!({
            "metadata": {"name": "shop", "annotations": annotations},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": labels}}},
        });
        Object { kind: Kind::StatefulSet, name: "shop".to_owned(), manifest }
    }

    #[test]
    fn removed_template_fields_roll_pods_like_added_ones() {
        let found = |object: Object| vec![Found { kind: object.kind, manifest: object.manifest }];
        let (one, two) = (json!({"a": "1"}), json!({"a": "1", "b": "2"}));
        let new = workload("new", Some("new"), one.clone(), None);
        for (old, expected) in [
            (workload("old", Some("old"), two.clone(), None), true),
            (workload("old", Some("new"), one.clone(), None), false),
            // From an operator that did not record the template's hash.
            (workload("old", None, json!({}), None), true),
            (workload("old", None, one, None), false),
        ] {
            assert_eq!(rolled(&new, &found(old.clone())).is_some(), expected, "{old:?}");
        }
    }

    /// As after an operator upgrade: a pipeline whose pods are to be rolled, while another one holds the turn.
    struct Upgrade {
        context: Context,
        resource: ClickstreamPipeline,
        built: Vec<Object>,
        found: Vec<Found>,
    }

    impl Upgrade {
        fn new() -> Self {
            let (mut context, _) = server(200, "{}");
            let (pipelines, mut writer) = reflector::store();
            let other = ClickstreamPipeline::new("other", PipelineSpec::default());
            writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(other.clone()))));
            context.pipelines = pipelines;
            assert_eq!(context.take_turn(&other), Ok(()));
            let built = workload("new", Some("new"), json!({}), Some("said"));
            let old = workload("old", Some("old"), json!({}), Some("said"));
            let mut manifest = old.manifest;
            manifest["status"] = json!({"readyReplicas": 2});
            let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
            // This generation has not been observed yet.
            resource.metadata.generation = Some(2);
            Self { context, resource, built: vec![built], found: vec![Found { kind: old.kind, manifest }] }
        }

        fn waits(&self) -> bool {
            take_turn(&self.context, &self.resource, &self.found, &self.built).is_some()
        }
    }

    #[tokio::test]
    async fn scaling_or_an_unready_pod_does_not_skip_the_turn() {
        let mut upgrade = Upgrade::new();
        assert!(upgrade.waits());
        upgrade.built[0].manifest["spec"]["replicas"] = json!(5);
        assert!(upgrade.waits(), "scaled, which is a new generation of the resource");
        upgrade.found[0].manifest["status"]["readyReplicas"] = json!(1);
        assert!(upgrade.waits(), "one pod is not ready");
    }

    #[tokio::test]
    async fn changed_documents_and_unready_pipelines_do_not_wait() {
        let mut upgrade = Upgrade::new();
        upgrade.found[0].manifest["status"] = json!({});
        assert!(!upgrade.waits(), "no pod is ready");
        let mut upgrade = Upgrade::new();
        upgrade.built[0].manifest["metadata"]["annotations"][SPEC_HASH] = json!("else");
        assert!(!upgrade.waits(), "the document says something else");
        let mut upgrade = Upgrade::new();
        upgrade.built.push(Object { name: "shop-gateway".to_owned(), ..upgrade.built[0].clone() });
        assert!(!upgrade.waits(), "a workload is missing");
        // From an operator that did not record the document's hash: the observed generation decides.
        let mut upgrade = Upgrade::new();
        upgrade.found[0].manifest["metadata"]["annotations"][SPEC_HASH] = Value::Null;
        assert!(!upgrade.waits(), "a generation that nobody has seen");
        let synced = Condition::new(ConditionType::ObjectsSynced, ConditionStatus::True, "Synced", "");
        let conditions = conditions::merged(&[], &[synced], 2, Timestamp::UNIX_EPOCH);
        upgrade.resource.status = Some(PipelineStatus { conditions, ..PipelineStatus::default() });
        assert!(upgrade.waits());
    }

    #[tokio::test]
    async fn a_turn_ends_with_a_sealed_window_or_the_timeout() {
        let (context, _) = server(200, "{}");
        let shop = ClickstreamPipeline::new("shop", PipelineSpec::default());
        let hour = Duration::from_secs(3_600);
        assert_eq!(context.take_turn(&shop), Ok(()));
        // An unknown window is no progress; the first known one is the start.
        for (sealed, over) in
            [(None, false), (Some(10), false), (None, false), (Some(10), false), (Some(20), true)]
        {
            assert_eq!(context.rolled_out(&shop, sealed, hour), over, "{sealed:?}");
        }
        assert!(!context.has_turn(&shop));
        // No window was sealed within the timeout.
        assert_eq!(context.take_turn(&shop), Ok(()));
        assert!(context.rolled_out(&shop, Some(20), Duration::ZERO) && !context.has_turn(&shop));
        // Pods that are no longer ready restart the turn.
        assert_eq!(context.take_turn(&shop), Ok(()));
        assert!(!context.rolled_out(&shop, Some(20), hour));
        context.not_rolled_out(&shop);
        assert!(!context.rolled_out(&shop, Some(30), hour) && context.rolled_out(&shop, Some(40), hour));
    }
}
