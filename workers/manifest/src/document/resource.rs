//! Conversion of a custom resource to a document.

use super::{ClickstreamPipeline, Pipeline, PipelineSpec};

impl From<&ClickstreamPipeline> for Pipeline {
    /// The document of a custom resource, without Kubernetes-only metadata. Not validated.
    fn from(resource: &ClickstreamPipeline) -> Self {
        let spec: PipelineSpec = resource.spec.clone();
        let mut pipeline = Self::new(resource.metadata.name.as_deref().unwrap_or_default(), spec);
        pipeline.metadata.namespace.clone_from(&resource.metadata.namespace);
        pipeline
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_resource_is_a_document() {
        let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
        assert_eq!(Pipeline::from(&resource), Pipeline::demo());
        resource.metadata.namespace = Some("web".to_owned());
        let pipeline = Pipeline::from(&resource);
        assert_eq!(pipeline.metadata.namespace.as_deref(), Some("web"));
        assert_eq!(pipeline.validate(), Ok(()));
    }
}
