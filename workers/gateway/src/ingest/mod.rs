//! Reads a pipeline's topics from Kafka into a gateway.

mod batch;
mod sampler;
mod standings;
#[cfg(test)]
mod tests;
mod topic_reader;
mod tries;

pub use batch::Batch;
pub use standings::standing;
pub use topic_reader::{follow, needed};
