//! Reads a pipeline's topics from Kafka into a gateway.

mod attempts;
mod batch;
mod generations;
mod progress;
mod sampler;
mod stop;
#[cfg(test)]
mod tests;
mod topic_reader;

pub use batch::Batch;
pub use progress::progress_view;
pub use topic_reader::{follow, needed};
