//! Pods that change although their document does not, as under another operator: one pipeline after the other, so that what is bad reaches no
//! more than one in each deadline.

use std::time::Duration;

use serde_json::{Value, json};
use weir_log::ResultsProgress;
use weir_manifest::{ClickstreamPipeline, Pipeline, State};

use super::steps;
use crate::build::{self, Input, TEMPLATE_HASH};
use crate::context::Context;
use crate::kafka::Connection;
use crate::object::{Found, Kind, Object};
use crate::plan;

/// Takes the turn where pods are about to be rolled and the document is what it was. While it is another pipeline's, nothing of this one
/// is changed, as what a new operator makes need not suit the old pods; what is waited for is returned. What the pipeline itself says
/// waits for nobody; nor do pods that are not ready or not there, which have nothing to lose.
pub(super) fn take_turn(
    context: &Context,
    resource: &ClickstreamPipeline,
    found: &[Found],
    input: &Input,
) -> Option<String> {
    if !steps::is_settled(resource) {
        return None;
    }
    let processors = found.iter().find(|object| object.kind == Kind::StatefulSet)?;
    let ready = processors.number("/status/readyReplicas") >= processors.number("/spec/replicas");
    let built = build::objects(input);
    if !ready || is_incomplete(&built, found) || !built.iter().any(|object| rolls(object, found)) {
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

/// Whether a workload is missing, or somebody else has scaled it.
fn is_incomplete(built: &[Object], found: &[Found]) -> bool {
    let replicas = |manifest: &Value| manifest["spec"]["replicas"].clone();
    built.iter().filter(|object| matches!(object.kind, Kind::StatefulSet | Kind::Deployment)).any(|object| {
        let present = found.iter().find(|found| found.kind == object.kind && found.name() == object.name);
        present.is_none_or(|present| replicas(&present.manifest) != replicas(&object.manifest))
    })
}

/// Whether an object's pods become others by what is made of the pipeline. What somebody changed in it is repaired at once.
fn rolls(object: &Object, found: &[Found]) -> bool {
    if !matches!(object.kind, Kind::StatefulSet | Kind::Deployment) {
        return false;
    }
    let present = found.iter().find(|found| found.kind == object.kind && found.name() == object.name);
    let template = Object {
        manifest: json!({"spec": {"template": object.manifest["spec"]["template"]}}),
        ..object.clone()
    };
    let hash = |manifest: &Value| manifest["metadata"]["annotations"][TEMPLATE_HASH].clone();
    present.is_some_and(|present| match hash(&present.manifest) {
        // Made by an operator that did not write it.
        Value::Null => {
            plan::is_outdated(object, present) && !plan::differences(&template, present).is_empty()
        }
        made => made != hash(&object.manifest),
    })
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
    use weir_manifest::PipelineSpec;

    use super::super::server::server;
    use super::*;

    fn workload(hash: &str, template: Option<&str>, labels: Value) -> Object {
        let manifest = json!({
            "metadata": {"name": "shop", "annotations": {build::HASH: hash, TEMPLATE_HASH: template}},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": labels}}},
        });
        Object { kind: Kind::StatefulSet, name: "shop".to_owned(), manifest }
    }

    #[test]
    fn what_is_taken_from_a_template_rolls_as_what_is_added_does() {
        let found = |object: Object| vec![Found { kind: object.kind, manifest: object.manifest }];
        let (one, two) = (json!({"a": "1"}), json!({"a": "1", "b": "2"}));
        let new = workload("new", Some("new"), one.clone());
        for (old, expected) in [
            (workload("old", Some("old"), two.clone()), true),
            (workload("old", Some("new"), one.clone()), false),
            // Of an operator that did not write what its templates were.
            (workload("old", None, json!({})), true),
            (workload("old", None, one), false),
        ] {
            assert_eq!(rolls(&new, &found(old.clone())), expected, "{old:?}");
        }
    }

    #[test]
    fn what_is_missing_or_scaled_by_others_waits_for_nobody() {
        let new = [workload("new", Some("new"), json!({}))];
        let mut present = Found { kind: new[0].kind, manifest: new[0].manifest.clone() };
        assert!(is_incomplete(&new, &[]) && !is_incomplete(&new, std::slice::from_ref(&present)));
        present.manifest["spec"]["replicas"] = json!(0);
        assert!(is_incomplete(&new, &[present]));
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
