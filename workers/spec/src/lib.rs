//! The ClickstreamPipeline document: types, defaults, validation
