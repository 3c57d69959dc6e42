//! The exactly-once loop over Kafka or an in-memory log.
//!
//! A [`worker::Worker`] is one member of a consumer group that reads, hands records to a [`worker::Stage`], and commits what the
//! stage wrote together with the offsets it read up to. There are two stages: [`windows::Windows`] turns events into blocks,
//! one input partition at a time; [`results::Results`] adds the blocks of a window up. Both rebuild their state from the log.

mod clock;
mod dead_letter;
pub mod identity;
mod idle;
mod journal;
pub mod kafka;
pub mod log;
pub mod made_with;
pub mod memory;
mod pace;
pub mod ranges;
pub mod results;
pub mod windows;
pub mod worker;
