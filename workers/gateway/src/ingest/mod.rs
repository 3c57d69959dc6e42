//! Reads a pipeline's topics from Kafka into a gateway.

mod batch;
mod progress;
mod sampler;
#[cfg(test)]
mod tests;
mod topic_reader;
mod tries;

pub use batch::Batch;
pub use progress::progress_view;
pub use topic_reader::{follow, needed};
