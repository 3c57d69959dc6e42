//! The parts of a pipeline, as the label [`COMPONENT_LABEL`](super::COMPONENT_LABEL) names them.

pub(super) const PROCESSOR: &str = "processor";
pub(super) const GENERATOR: &str = "generator";
pub(super) const GATEWAY: &str = "gateway";
