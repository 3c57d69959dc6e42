//! A pipeline's state in a gateway's memory.

pub mod dead_letters;
mod live;
mod pipeline;
pub mod progress;
pub mod sample;
mod sources;
pub mod windows;

pub use pipeline::{PipelineState, Records, StateLimits};
pub use sources::Source;
