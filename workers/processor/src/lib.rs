//! The exactly-once loop over the log, and its two stages.
//!
//! A [`worker::Worker`] is one member of a consumer group that reads, hands records to a [`stage::Stage`], and commits what the
//! stage wrote together with the offsets it read up to. There are two stages: [`windows::Windows`] turns events into blocks,
//! one input partition at a time; [`results::Results`] adds the blocks of a window up. Both rebuild their state from the log.

mod clock;
mod dead_letter;
mod identity;
mod idle;
mod journal;
mod pace;
pub mod results;
pub mod stage;
pub mod windows;
pub mod worker;
