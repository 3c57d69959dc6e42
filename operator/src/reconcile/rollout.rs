//! Pods that change although their document does not, as under another operator: one pipeline after the other, so that what is bad reaches no
//! more than one in each deadline.

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

/// The reason of a condition of objects that wait for their turn.
pub(super) const PENDING: &str = "RolloutPending";

/// Takes the turn where pods are about to be rolled and the document says of them what it did when they were made, whoever has scaled them
/// since. While it is another pipeline's, nothing of this one is changed but the number of its pods, as what a new operator makes need not
/// suit the old pods; what is waited for is returned. What the pipeline itself says waits for nobody; nor do workloads that are not there,
/// or processors none of which is ready: they have nothing to lose.
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

/// Whether the objects were already what the resource says, or wait for their turn to be.
pub(super) fn is_settled(resource: &ClickstreamPipeline) -> bool {
    synced(resource).is_some()
}

/// Whether the objects were already what the resource says, so that what is missing now was taken away.
pub(super) fn is_applied(resource: &ClickstreamPipeline) -> bool {
    synced(resource).is_some_and(|condition| condition.reason != PENDING)
}

/// The condition of the objects where it is true of the resource's newest document.
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

/// Whether the document says something else of an object's pods than when they were made; `None` where an operator made them that did not
/// write what it said.
fn is_by_document(object: &Object, present: &Found) -> Option<bool> {
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][SPEC_HASH].clone();
    match hash(&present.manifest) {
        Value::Null => None,
        made => Some(made != hash(&object.manifest)),
    }
}

/// The object as it is, where its pods become others by what is made of the pipeline. What somebody changed in it is repaired at once.
fn rolled<'a>(object: &Object, found: &'a [Found]) -> Option<&'a Found> {
    let present = present(object, found).filter(|_| is_workload(object))?;
    let template = Object {
        manifest: json!({"spec": {"template": object.manifest["spec"]["template"]}}),
        ..object.clone()
    };
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][TEMPLATE_HASH].clone();
    let rolls = match hash(&present.manifest) {
        // Made by an operator that did not write it.
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

/// Gives the turn to the next, if it is this pipeline's and has come to an end: its pods are ready, and have sealed a window since. Where no
/// events come none is sealed: then ready is enough, once one would have been. Whether it still has the turn.
pub(super) async fn end_turn(
    context: &Context,
    resource: &ClickstreamPipeline,
    connection: &Connection,
    settled: bool,
) -> bool {
    if !context.has_turn(resource) {
        return false;
    }
    if !settled {
        context.not_landed(resource);
        return true;
    }
    let window = &resource.spec.window;
    let patience = match resource.spec.state {
        State::Suspended => Duration::ZERO,
        State::Running => millis(
            2 * window.slide.as_millis()
                + window.out_of_orderness.as_millis()
                + window.idle_timeout.as_millis(),
        ),
    };
    let pipeline = Pipeline::from(resource);
    let committed = connection.committed(pipeline.results_group(), pipeline.blocks_topic()).await;
    let sealed = committed.ok().flatten().map(|committed| {
        let emitted = committed
            .iter()
            .filter_map(|(_, metadata)| serde_json::from_str::<ResultsProgress>(metadata).ok()?.emitted);
        // None yet is known as well.
        emitted.max().unwrap_or(i64::MIN)
    });
    !context.landed(resource, sealed, patience)
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
    fn what_is_taken_from_a_template_rolls_as_what_is_added_does() {
        let found = |object: Object| vec![Found { kind: object.kind, manifest: object.manifest }];
        let (one, two) = (json!({"a": "1"}), json!({"a": "1", "b": "2"}));
        let new = workload("new", Some("new"), one.clone(), None);
        for (old, expected) in [
            (workload("old", Some("old"), two.clone(), None), true),
            (workload("old", Some("new"), one.clone(), None), false),
            // Of an operator that did not write what its templates were.
            (workload("old", None, json!({}), None), true),
            (workload("old", None, one, None), false),
        ] {
            assert_eq!(rolled(&new, &found(old.clone())).is_some(), expected, "{old:?}");
        }
    }

    /// As after an upgrade of the operator: a pipeline whose pods become others, and another whose turn it is.
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
            // Nobody has looked at this generation yet.
            resource.metadata.generation = Some(2);
            Self { context, resource, built: vec![built], found: vec![Found { kind: old.kind, manifest }] }
        }

        fn waits(&self) -> bool {
            take_turn(&self.context, &self.resource, &self.found, &self.built).is_some()
        }
    }

    #[tokio::test]
    async fn neither_scaling_nor_an_unready_pod_is_a_way_past_the_others() {
        let mut upgrade = Upgrade::new();
        assert!(upgrade.waits());
        upgrade.built[0].manifest["spec"]["replicas"] = json!(5);
        assert!(upgrade.waits(), "scaled, which is a new generation of the resource");
        upgrade.found[0].manifest["status"]["readyReplicas"] = json!(1);
        assert!(upgrade.waits(), "one pod is not ready");
    }

    #[tokio::test]
    async fn what_the_document_says_and_what_has_nothing_to_lose_waits_for_nobody() {
        let mut upgrade = Upgrade::new();
        upgrade.found[0].manifest["status"] = json!({});
        assert!(!upgrade.waits(), "no pod is ready");
        let mut upgrade = Upgrade::new();
        upgrade.built[0].manifest["metadata"]["annotations"][SPEC_HASH] = json!("else");
        assert!(!upgrade.waits(), "the document says something else");
        let mut upgrade = Upgrade::new();
        upgrade.built.push(Object { name: "shop-gateway".to_owned(), ..upgrade.built[0].clone() });
        assert!(!upgrade.waits(), "a workload is missing");
        // Made by an operator that did not write what the document said: as it was seen last.
        let mut upgrade = Upgrade::new();
        upgrade.found[0].manifest["metadata"]["annotations"][SPEC_HASH] = Value::Null;
        assert!(!upgrade.waits(), "a generation that nobody has seen");
        let synced = Condition::new(ConditionType::ObjectsSynced, ConditionStatus::True, "Synced", "");
        let conditions = conditions::merged(&[], &[synced], 2, Timestamp::UNIX_EPOCH);
        upgrade.resource.status = Some(PipelineStatus { conditions, ..PipelineStatus::default() });
        assert!(upgrade.waits());
    }

    #[tokio::test]
    async fn a_turn_ends_with_a_sealed_window_or_with_patience() {
        let (context, _) = server(200, "{}");
        let shop = ClickstreamPipeline::new("shop", PipelineSpec::default());
        let hour = Duration::from_secs(3_600);
        assert_eq!(context.take_turn(&shop), Ok(()));
        // What is not known now is no progress, and the first that is known is where it begins.
        for (sealed, over) in
            [(None, false), (Some(10), false), (None, false), (Some(10), false), (Some(20), true)]
        {
            assert_eq!(context.landed(&shop, sealed, hour), over, "{sealed:?}");
        }
        assert!(!context.has_turn(&shop));
        // Nothing is sealed, and it would have been by now.
        assert_eq!(context.take_turn(&shop), Ok(()));
        assert!(context.landed(&shop, Some(20), Duration::ZERO) && !context.has_turn(&shop));
        // Pods that are no longer ready begin anew.
        assert_eq!(context.take_turn(&shop), Ok(()));
        assert!(!context.landed(&shop, Some(20), hour));
        context.not_landed(&shop);
        assert!(!context.landed(&shop, Some(30), hour) && context.landed(&shop, Some(40), hour));
    }
}
