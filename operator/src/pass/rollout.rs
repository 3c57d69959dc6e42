//! Another image of the operator's for all pipelines: one after the other, so that a bad one reaches no more than one in each deadline.

use serde_json::Value;
use weir_spec::ClickstreamPipeline;

use crate::build::{self, Input};
use crate::context::Context;
use crate::object::{Found, Kind};

/// Takes the turn where the processors are to get another image than they run, because the operator has another. While it is another
/// pipeline's, nothing of this one is changed, as what a new operator makes need not suit the old image; what is waited for is
/// returned. What the pipeline itself says waits for nobody.
pub(super) fn take_turn(
    context: &Context,
    resource: &ClickstreamPipeline,
    found: &[Found],
    input: &Input,
) -> Option<String> {
    let seen = resource.status.as_ref().and_then(|status| status.observed_generation);
    if input.pipeline.spec.image.is_some() || seen != resource.metadata.generation {
        return None;
    }
    let built = build::objects(input);
    let wanted = built.iter().find_map(|object| image(object.kind, &object.manifest))?;
    let running = found.iter().find_map(|object| image(object.kind, &object.manifest))?;
    // A podTemplate with an image of its own says what the pipeline says.
    if wanted == running || wanted != input.image {
        return None;
    }
    let other = context.take_turn(resource).err()?;
    Some(format!(
        "image {wanted} follows when {other}, which gets it now, is ready; until then {running} stays"
    ))
}

/// The image of the processors.
fn image(kind: Kind, manifest: &Value) -> Option<&str> {
    if kind != Kind::StatefulSet {
        return None;
    }
    let containers = manifest["spec"]["template"]["spec"]["containers"].as_array()?;
    containers.iter().find(|container| container["name"] == "processor")?["image"].as_str()
}
