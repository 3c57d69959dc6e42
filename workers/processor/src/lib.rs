//! The exactly-once loop over the log, and its two stages.
//!
//! A [`worker::Worker`] is one member of a consumer group that reads, passes records to a [`stage::Stage`], and commits the
//! stage's outputs together with the offsets read. There are two stages: [`windows::Windows`] turns events into blocks, per
//! input partition; [`results::Results`] adds up the blocks of a window. Both rebuild their state from the log. [`ending::Ending`] takes
//! the place of the first one where other settings begin a new generation, which [`takeover`] leads through.

mod clock;
mod dead_letter;
pub mod ending;
mod first_start;
mod identity;
mod idle;
mod journal;
mod pace;
pub mod results;
pub mod stage;
pub mod takeover;
pub mod windows;
pub mod worker;
