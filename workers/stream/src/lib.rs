//! The exactly-once loop over Kafka or an in-memory log.

pub mod kafka;
pub mod log;
pub mod memory;
