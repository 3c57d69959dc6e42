//! The ClickstreamPipeline document: types, defaults, validation.
//!
//! One document describes a pipeline: the operator, the workers and the tests read the same kind of file, so rules and
//! defaults are defined here, once. Ranges and patterns are in the schema, by which Kubernetes admits a document and
//! [`Pipeline::from_yaml`] checks a file; rules between fields are functions with their reasons. All mistakes are reported
//! at once, each with its path.
//!
//! ```
//! use weir_manifest::Pipeline;
//!
//! let shop = Pipeline::from_yaml(
//!     "apiVersion: weir.dev/v1alpha1
//! kind: ClickstreamPipeline
//! metadata: {name: shop}
//! spec:
//!   window: {size: 1m}",
//! )?;
//! assert_eq!(shop.spec.window.size.as_millis(), 60_000);
//! assert_eq!(shop.blocks_topic(), "shop.blocks");
//!
//! let error = Pipeline::from_yaml(
//!     "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: shop}, spec: {window: {size: 15s}}}",
//! );
//! assert!(error.unwrap_err().to_string().starts_with("spec.window.size: found 15s, expected a multiple"));
//! # Ok::<(), weir_manifest::SpecError>(())
//! ```

#[cfg(feature = "kube")]
mod definition;
mod document;
mod duration;
mod error;
mod parsing;
mod pattern;
mod resolved;
mod rules;
mod schema;
mod shape;
#[cfg(feature = "kube")]
mod status;
mod topic;

#[cfg(feature = "kube")]
pub use definition::definition;
#[cfg(feature = "kube")]
pub use document::ClickstreamPipeline;
pub use document::{
    API_VERSION, Autoscaling, AutoscalingMode, Compression, DeadLetterPayload, DeadLetters, DeletionPolicy,
    EventsTopic, FIRST_GENERATION, FreeForm, Gateway, GatewayService, Generator, HttpRoute, IdPolicy,
    Ingress, IpPolicy, KIND, Kafka, Limits, Management, Metadata, ObjectRef, ParentRef, Pii, Pipeline,
    PipelineSpec, Processor, Profile, Ranking, ResultsTopic, Sasl, SaslMechanism, SchemaRegistry,
    SecretKeyRef, ServiceType, State, Tls, TopPagesTopic, Topics, UserAgentPolicy, Window,
};
pub use duration::{Duration, DurationError};
pub use error::{Problem, SpecError};
pub use pattern::is_host_port;
pub use schema::json_schema;
#[cfg(feature = "kube")]
pub use status::{
    AutoscalingStatus, Contender, GenerationStatus, PipelineStatus, ProcessorStatus, TopicStatus,
};
pub use topic::{Role, TopicSpec, groups, is_group_of};
